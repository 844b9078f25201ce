//! Detection of a store that was restored from a backup: its revision is lower than before.
//!
//! A watch from a revision above that of the restored store gets no event until the store reaches it, and no error.
//! So the revision is read at intervals, and when a watch has failed: a restored etcd comes with a restarted API
//! server. When it has decreased, every watch starts again with a list.

use std::{
    fmt::Debug,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use kube::{
    Api,
    api::{ListParams, ObjectMeta},
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::{Notify, watch},
    time::sleep,
};

/// Time after a failure in which other watches fail as well.
const GATHER: Duration = Duration::from_secs(2);

/// Revisions that the store has had.
#[derive(Debug, Default)]
pub struct Revisions {
    highest: AtomicU64,
    failed: Notify,
    restored: watch::Sender<()>,
}

impl Revisions {
    /// Notes the revision of an object out of a watch.
    pub fn note(&self, metadata: &ObjectMeta) {
        let version = metadata.resource_version.as_deref();
        let revision = version.and_then(|text| text.parse().ok()).unwrap_or(0);
        self.highest.fetch_max(revision, Ordering::Relaxed);
    }

    /// Notes that a watch has failed: the store may be another one.
    pub fn failed(&self) {
        self.failed.notify_one();
    }

    /// Changes whenever the revision has decreased.
    pub fn restored(&self) -> watch::Receiver<()> {
        self.restored.subscribe()
    }

    /// Reads the revision through `api`, with a list of what `few` selects, every `period`. Never returns.
    ///
    /// `few` names no version: the answer is as of now, out of the store.
    pub async fn detect<K>(&self, api: Api<K>, few: ListParams, period: Duration)
    where
        K: Clone + DeserializeOwned + Debug,
    {
        loop {
            // Watches note newer ones while the request is under way.
            let before = self.highest.load(Ordering::Relaxed);
            match api.list_metadata(&few).await {
                Ok(list) => {
                    let revision = list.metadata.resource_version;
                    let revision = revision.and_then(|text| text.parse().ok());
                    self.compare(before, revision.unwrap_or(before));
                }
                Err(error) => tracing::debug!(%error, "revision of etcd not readable"),
            }
            tokio::select! {
                () = sleep(period) => {}
                () = self.failed.notified() => sleep(GATHER).await,
            }
        }
    }

    /// Compares a revision with the highest one `before` it was read.
    fn compare(&self, before: u64, revision: u64) {
        if revision >= before {
            self.highest.fetch_max(revision, Ordering::Relaxed);
            return;
        }
        tracing::warn!(
            before,
            revision,
            "etcd was restored: listing everything again"
        );
        self.highest.store(revision, Ordering::Relaxed);
        self.restored.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lower_revision_is_noticed_once() {
        let revisions = Revisions::default();
        let mut restored = revisions.restored();
        let mut is_noticed = |before, revision| {
            revisions.compare(before, revision);
            restored.has_changed().is_ok_and(|is_new| is_new) && {
                restored.mark_unchanged();
                true
            }
        };
        assert!(!is_noticed(0, 100));
        assert!(!is_noticed(100, 100));
        let newest = ObjectMeta {
            resource_version: Some("120".to_owned()),
            ..ObjectMeta::default()
        };
        revisions.note(&newest);
        assert!(!is_noticed(100, 110), "it was under way");
        assert!(is_noticed(120, 110));
        assert!(!is_noticed(110, 111));
    }
}
