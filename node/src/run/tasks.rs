//! Background tasks beside the engine and the server.

use std::sync::Arc;
use std::time::Duration;

use ::telemetry::{Backoff, Failures};
use tokio::sync::{Notify, watch};

use super::files::renew;
use super::probes::{self, Observations};
use crate::attach::pod_links::KernelPodWiring;
use crate::attach::replay::replay;
use crate::attach::service::AttachService;
use crate::config::{Config, Origin};
use crate::host::file_watch::Watch;
use crate::host::underlay;
use crate::hotplug;
use crate::install::Installer;
use crate::install::node_lifecycle::OwnNode;
use crate::mailbox::Mailbox;
use crate::objects::Snapshot;
use crate::objects::pods::Pods;

/// Interval of garbage collection of leases, and first pause before a failed replay is retried.
const HOUSEKEEPING: Duration = Duration::from_secs(5);
/// Longest pause before a failed replay is retried.
const LONGEST: Duration = Duration::from_secs(60);

/// Background tasks before their start.
pub(super) struct Tasks {
    pub(super) config: Arc<Config>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) service: Arc<AttachService<KernelPodWiring>>,
    pub(super) pods: Arc<dyn Pods>,
    pub(super) installer: Arc<Installer>,
    /// File watches.
    pub(super) files: Watch,
    /// Notified when the plugin has queued a DEL.
    pub(super) replay_due: Arc<Notify>,
    /// True when the plugin may be installed.
    pub(super) permit: watch::Receiver<bool>,
    pub(super) observations: Observations,
    /// The desired state as the engine has it.
    pub(super) views: watch::Receiver<Arc<Snapshot>>,
}

impl Tasks {
    /// Starts all tasks, one a line; they end with the runtime.
    pub(super) fn spawn(self) {
        let Tasks {
            config, service, ..
        } = self;
        let probes = probes::probes(&self.observations);
        let name = config.name.clone();
        tokio::spawn(underlay::watch(name, self.mailbox, self.views));
        tokio::spawn(collect_garbage(Arc::clone(&service)));
        tokio::spawn(renew(self.files, config.resync));
        let (state_dir, replaying) = (config.state_dir.clone(), Arc::clone(&service));
        let replay = move || replay(&state_dir, &replaying);
        tokio::spawn(replay_when_due(replay, self.replay_due));
        if let Origin::Kubernetes { kubeconfig } = &config.origin {
            let own_node = OwnNode {
                kubeconfig: kubeconfig.clone(),
                name: config.name.clone(),
                startup_taint: config.startup_taint.clone(),
                probes: probes.clone(),
                installer: Arc::clone(&self.installer),
            };
            tokio::spawn(own_node.run());
            tokio::spawn(hotplug::run(Arc::clone(&config), service, self.pods));
        }
        tokio::spawn(self.installer.keep(self.permit));
        tokio::spawn(probes::serve(self.observations, probes));
    }
}

/// Garbage collection of leases: at once, then at intervals.
async fn collect_garbage(service: Arc<AttachService<KernelPodWiring>>) {
    let mut tick = tokio::time::interval(HOUSEKEEPING);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut known = Failures::default();
    loop {
        tick.tick().await;
        let service = Arc::clone(&service);
        // The panic is logged by the runtime's hook; the next tick retries.
        let failures = tokio::task::spawn_blocking(move || service.collect_garbage()).await;
        known.replace(failures.unwrap_or_default(), "lease not freed, retried");
    }
}

/// Replays the DEL queue: at once, then whenever a plugin adds to it, and again after a while where `replay` was not done.
async fn replay_when_due(
    replay: impl Fn() -> Failures + Clone + Send + 'static,
    replay_due: Arc<Notify>,
) {
    let mut known = Failures::default();
    let mut pauses = Backoff::new(HOUSEKEEPING, LONGEST);
    loop {
        let failures = tokio::task::spawn_blocking(replay.clone()).await;
        let failures = failures.unwrap_or_else(|panic| Failures::from([panic.to_string()]));
        known.replace(failures, "DEL not replayed, retried");
        if known.is_empty() {
            pauses.succeeded();
            replay_due.notified().await;
        } else {
            let _ = tokio::time::timeout(pauses.failed(), replay_due.notified()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_replay_that_was_not_done_is_tried_again_by_itself() {
        let (count, due) = (Arc::new(AtomicUsize::new(0)), Arc::<Notify>::default());
        let counted = Arc::clone(&count);
        let replay = move || match counted.fetch_add(1, Ordering::Relaxed) {
            1 => Failures::default(),
            _ => Failures::from(["on purpose".to_owned()]),
        };
        let task = tokio::spawn(replay_when_due(replay, Arc::clone(&due)));
        let reaches = async |expected| {
            let reached = async {
                while count.load(Ordering::Relaxed) < expected {
                    tokio::time::sleep(HOUSEKEEPING).await;
                }
            };
            let reached = tokio::time::timeout(100 * HOUSEKEEPING, reached);
            reached.await.expect("tried again");
        };
        reaches(2).await;
        tokio::time::sleep(100 * HOUSEKEEPING).await;
        assert_eq!(count.load(Ordering::Relaxed), 2, "done, and nothing is new");
        due.notify_one();
        reaches(3).await;
        task.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_replay_that_fails_for_ever_is_logged_once_and_tried_ever_more_rarely() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let file = Arc::new(std::fs::File::create(&path).unwrap());
        let log = tracing_subscriber::fmt().with_writer(file).finish();
        let _log = tracing::subscriber::set_default(log);
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let replay = move || {
            counted.fetch_add(1, Ordering::Relaxed);
            Failures::from(["full", "read-only", "full"].map(str::to_owned))
        };
        let task = tokio::spawn(replay_when_due(replay, Arc::default()));
        tokio::time::sleep(LONGEST * 10).await;
        task.abort();
        // 0, 5, 15, 35 and 75 s, then each minute.
        let tries = count.load(Ordering::Relaxed);
        assert!((2..=14).contains(&tries), "{tries} tries in ten minutes");
        let lines = std::fs::read_to_string(path).unwrap();
        assert_eq!(lines.lines().count(), 2, "{lines}");
    }
}
