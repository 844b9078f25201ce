//! Background tasks beside the engine and the server.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

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
use crate::objects::pods::Pods;

/// Interval of garbage collection of leases.
const HOUSEKEEPING: Duration = Duration::from_secs(5);

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
}

impl Tasks {
    /// Starts all tasks, one a line; they end with the runtime.
    pub(super) fn spawn(self) {
        let Tasks {
            config, service, ..
        } = self;
        let probes = probes::probes(&self.observations);
        tokio::spawn(underlay::watch(self.mailbox));
        tokio::spawn(collect_garbage(Arc::clone(&service)));
        tokio::spawn(renew(self.files, config.resync));
        let (state_dir, replaying) = (config.state_dir.clone(), Arc::clone(&service));
        tokio::spawn(replay_when_due(state_dir, replaying, self.replay_due));
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
    loop {
        tick.tick().await;
        let service = Arc::clone(&service);
        // The panic is logged by the runtime's hook; the next tick retries.
        let _ = tokio::task::spawn_blocking(move || service.collect_garbage()).await;
    }
}

/// Replays the DEL queue: at once, then whenever a plugin adds to it.
async fn replay_when_due(
    state_dir: PathBuf,
    service: Arc<AttachService<KernelPodWiring>>,
    replay_due: Arc<Notify>,
) {
    loop {
        let (state_dir, service) = (state_dir.clone(), Arc::clone(&service));
        // As above.
        let _ = tokio::task::spawn_blocking(move || replay(&state_dir, &service)).await;
        replay_due.notified().await;
    }
}
