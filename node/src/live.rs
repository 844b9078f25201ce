//! Attaching and detaching pods that run already: those that gain or lose what makes them an App's,
//! those whose topology comes or changes later, and those that the plugin let pass while nobody
//! answered it.
//!
//! ```text
//! pods, leases, catalog -> plan -> steps -> rounds: find the namespace, run the plugin | leave
//!                                           |-> network-status, known.json, events
//! ```
//! The daemon runs the plugin itself, for one topology at a time, so that wiring has one code path.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cni::agent::Key;

use crate::run::Shared;

mod known;
mod network_status;
pub mod plan;
mod plugin;
pub mod processes;
mod rounds;

pub use plugin::Plugin;
pub use rounds::{Places, Rounds};

/// The name of the network configuration under which the daemon runs the plugin.
pub const NETWORK: &str = "beemesh-live";

/// Before the uid of a pod in the container id of what the daemon attached by itself.
const CONTAINER: &str = "live-";

/// Changes of this time are looked at together.
const PAUSE: Duration = Duration::from_millis(100);

/// Whether the daemon attached this by itself, not the runtime.
pub fn is_key(key: &Key) -> bool {
    key.network == NETWORK && key.container_id.starts_with(CONTAINER)
}

/// What the daemon attaches by itself to the pod with this uid, by this interface.
pub fn key(uid: &str, interface: &str) -> Key {
    Key {
        container_id: format!("{CONTAINER}{uid}"),
        ifname: interface.to_owned(),
        network: NETWORK.to_owned(),
    }
}

/// Looks after this node's pods for ever.
pub async fn run(shared: Shared) {
    let config = &shared.config;
    let places = Places {
        host_proc: config.host_proc.clone(),
        netns: PathBuf::from("/run/netns"),
        state_dir: config.state_dir.clone(),
    };
    let make = || {
        let plugin = Plugin::of(config);
        let (desk, pods) = (Arc::clone(&shared.desk), Arc::clone(&shared.pods));
        Rounds::new(desk, pods, places.clone(), Box::new(plugin))
    };
    let mut rounds = make();
    let mut news = shared.desk.news();
    loop {
        news.mark_unchanged();
        let turned = tokio::task::spawn_blocking(move || {
            let next = rounds.turn(Instant::now());
            (rounds, next)
        });
        let next;
        // A panic in it is logged by the runtime's hook; what was remembered is learnt anew.
        (rounds, next) = turned.await.unwrap_or_else(|_| (make(), None));
        tokio::time::sleep(PAUSE).await;
        let pause = next.map(|next| next.saturating_duration_since(Instant::now()));
        let rest = tokio::time::sleep(pause.unwrap_or(REST));
        tokio::select! {
            _ = news.changed() => {}
            () = rest => {}
        }
    }
}

/// Time between two looks when nothing happens.
const REST: Duration = Duration::from_secs(30);
