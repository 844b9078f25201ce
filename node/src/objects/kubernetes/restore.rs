//! Detection of a store that was restored from a backup: its revision is lower than before.
//!
//! A watch that goes on from a revision which the store is yet to reach gets no event until then, and no error. So
//! the revision is asked for from time to time, and when a watch has failed: a restored store comes with an API
//! server that was started again. The question is about the own Node alone, one key of the store.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::api::{ListParams, ObjectMeta};
use kube::{Api, Client};
use telemetry::jittered;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::Shared;
use super::health::{Backoff, chain};

/// Time between two questions.
const PERIOD: Duration = Duration::from_secs(120);
/// Time after a failure in which others fail as well.
const GATHER: Duration = Duration::from_secs(2);

/// Revisions that the store has had.
#[derive(Debug, Default)]
pub(super) struct Revisions {
    highest: AtomicU64,
    doubt: Notify,
}

impl Revisions {
    /// Notes the revision of an object that a watch told of.
    pub(super) fn note(&self, metadata: &ObjectMeta) {
        let version = metadata.resource_version.as_deref();
        let revision = version.and_then(|text| text.parse().ok()).unwrap_or(0);
        self.highest.fetch_max(revision, Ordering::Relaxed);
    }

    /// Notes that a watch has failed: perhaps the store is another one.
    pub(super) fn doubt(&self) {
        self.doubt.notify_one();
    }

    /// Notes a revision that the store was asked for when `before` was the highest. Whether it has gone back.
    fn went_back(&self, before: u64, revision: u64) -> bool {
        if revision < before {
            self.highest.store(revision, Ordering::Relaxed);
            return true;
        }
        self.highest.fetch_max(revision, Ordering::Relaxed);
        false
    }
}

/// Tells `restored` whenever the revision of the store has gone back. Never returns; stop it by dropping it.
pub(super) async fn detect(shared: &Shared, client: Client, restored: &Notify) {
    let api: Api<Node> = Api::all(client);
    // Without a version: as of now, out of the store.
    let own = ListParams::default()
        .fields(&format!("metadata.name={}", shared.node))
        .limit(1);
    let mut backoff = Backoff::default();
    loop {
        // Watches tell of newer ones while the answer is under way.
        let before = shared.revisions.highest.load(Ordering::Relaxed);
        let listed = match api.list_metadata(&own).await {
            Ok(listed) => listed,
            Err(error) => {
                tracing::debug!(error = %chain(&error), "failed to ask for the revision of the store");
                sleep(backoff.next() + shared.pace.alone()).await;
                continue;
            }
        };
        let revision = listed.metadata.resource_version;
        let revision = revision.and_then(|text| text.parse().ok());
        let revision = revision.unwrap_or(before);
        if shared.revisions.went_back(before, revision) {
            tracing::warn!(
                before,
                revision,
                "the store of the API server was restored: listing everything again"
            );
            restored.notify_one();
        }
        tokio::select! {
            () = sleep(jittered(PERIOD)) => {}
            () = shared.revisions.doubt.notified() => sleep(jittered(GATHER)).await,
        }
    }
}
