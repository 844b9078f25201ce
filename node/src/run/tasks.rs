//! What runs beside the engine and the server.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::desk::Desk;
use crate::replay::replay;
use crate::wires::KernelWires;

/// Time between two looks for leases that nobody will release.
const HOUSEKEEPING: Duration = Duration::from_secs(5);

/// Collects leases that nobody will release: at once, then now and again.
pub(super) async fn keep_house(desk: Arc<Desk<KernelWires>>) {
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
pub(super) async fn replay_when_due(
    state_dir: PathBuf,
    desk: Arc<Desk<KernelWires>>,
    replay_due: Arc<Notify>,
) {
    loop {
        let (state_dir, desk) = (state_dir.clone(), Arc::clone(&desk));
        // As above.
        let _ = tokio::task::spawn_blocking(move || replay(&state_dir, &desk)).await;
        replay_due.notified().await;
    }
}
