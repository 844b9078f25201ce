//! What runs beside the engine and the server.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::files::renew;
use super::{standing, told};
use crate::config::{Config, Origin};
use crate::desk::Desk;
use crate::flood;
use crate::inbox::Inbox;
use crate::install::Installer;
use crate::live;
use crate::pods::Pods;
use crate::replay::replay;
use crate::server::Bound;
use crate::source::Snapshot;
use crate::source::kubernetes::Health;
use crate::telemetry::{Metrics, Vitals};
use crate::underlay;
use crate::watch::Watch;
use crate::wires::KernelWires;

/// Time between two looks for leases that nobody will release.
const HOUSEKEEPING: Duration = Duration::from_secs(5);

/// What every task may use.
#[derive(Clone)]
pub struct Shared {
    /// What the daemon was told at its start.
    pub config: Arc<Config>,
    /// Where word is left for the engine.
    pub inbox: Arc<Inbox>,
    /// Who is attached.
    pub desk: Arc<Desk<KernelWires>>,
    /// What Kubernetes says of this node's pods.
    pub pods: Arc<dyn Pods>,
    /// How the daemon gets on with the API server, where there is one.
    pub health: Option<Arc<Health>>,
    /// The desired state as the engine has it.
    pub views: watch::Receiver<Arc<Snapshot>>,
    /// Which file the plugin's socket is.
    pub bound: Bound,
    /// How the exchange of link states does; none where there is none.
    pub peers: Option<Arc<flood::Status>>,
    /// How the engine is doing.
    pub vitals: Vitals,
    /// What is counted.
    pub metrics: Metrics,
    /// Who puts the plugin where the runtime finds it.
    pub installer: Arc<Installer>,
}

/// Starts every task, a line for each; they end with the runtime.
pub(super) fn spawn(
    shared: &Shared,
    files: Watch,
    replay_due: Arc<Notify>,
    permit: watch::Receiver<bool>,
) {
    tokio::spawn(underlay::watch(Arc::clone(&shared.inbox)));
    tokio::spawn(keep_house(Arc::clone(&shared.desk)));
    tokio::spawn(renew(files, shared.config.resync));
    tokio::spawn(replay_when_due(shared.clone(), replay_due));
    if let Origin::Kubernetes { .. } = shared.config.origin {
        tokio::spawn(live::run(shared.clone()));
    }
    tokio::spawn(Arc::clone(&shared.installer).keep(permit));
    tokio::spawn(told::serve(shared.clone()));
    tokio::spawn(standing::tell_node(shared.clone()));
}

/// Collects leases that nobody will release: at once, then now and again.
async fn keep_house(desk: Arc<Desk<KernelWires>>) {
    let mut tick = tokio::time::interval(HOUSEKEEPING);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let desk = Arc::clone(&desk);
        // A panic in it is logged by the runtime's hook; the next tick tries again.
        let _ = tokio::task::spawn_blocking(move || desk.keep_house()).await;
    }
}

/// Replays the DEL queue: at once, then whenever a plugin adds to it.
async fn replay_when_due(shared: Shared, replay_due: Arc<Notify>) {
    loop {
        let Shared { config, desk, .. } = shared.clone();
        // As above.
        let _ = tokio::task::spawn_blocking(move || replay(&config.state_dir, &desk)).await;
        replay_due.notified().await;
    }
}
