//! Detection of a store that was restored from a backup: its revision is lower than before.
//!
//! A watch from a revision above that of the restored store gets no event until the store reaches it, and no error. So the
//! revision is read at intervals; when it has decreased, every watch starts again with a list.

use std::time::Duration;

use ::telemetry::chain;
use crds::TopologyObject;
use kube::{Api, Client, api::ListParams};
use tokio::{sync::watch, time::sleep};

use super::{Cache, Scope, readiness::Kind};

/// Time between two looks.
const PERIOD: Duration = Duration::from_secs(20);

/// Tells `restored` whenever the revision of the store has gone back. Never returns; stop it by dropping it.
pub(super) async fn detect(
    cache: &Cache,
    client: Client,
    scope: &Scope,
    restored: watch::Sender<()>,
) {
    let api: Api<TopologyObject> = match scope.namespaces.first() {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    // Without a version: as of now, out of the store.
    let one = ListParams::default().limit(1);
    let mut revisions = Revisions::default();
    loop {
        sleep(PERIOD).await;
        revisions.note(cache.highest(Kind::Topology));
        let listed = match api.list_metadata(&one).await {
            Ok(listed) => listed,
            Err(error) => {
                tracing::debug!(error = %chain(&error), "revision of etcd not readable");
                continue;
            }
        };
        let revision = listed.metadata.resource_version;
        let Some(revision) = revision.and_then(|text| text.parse().ok()) else {
            continue;
        };
        if let Some(before) = revisions.went_back(revision) {
            tracing::warn!(
                before,
                revision,
                "etcd was restored: listing everything again"
            );
            restored.send_replace(());
        }
    }
}

/// The highest revision that was seen.
#[derive(Debug, Default)]
struct Revisions {
    highest: u64,
}

impl Revisions {
    /// Notes a revision that an object had.
    fn note(&mut self, revision: u64) {
        self.highest = self.highest.max(revision);
    }

    /// Notes the revision that the store has now; the highest one before it when that is higher.
    fn went_back(&mut self, revision: u64) -> Option<u64> {
        let before = std::mem::replace(&mut self.highest, revision);
        (revision < before).then_some(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lower_revision_is_noticed_once() {
        let mut revisions = Revisions::default();
        assert_eq!(revisions.went_back(100), None);
        assert_eq!(revisions.went_back(100), None);
        revisions.note(120);
        revisions.note(90);
        assert_eq!(revisions.went_back(110), Some(120));
        assert_eq!(revisions.went_back(111), None);
    }
}
