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

use crate::attach::pod_links::KernelPodWiring;
use crate::attach::service::AttachService;
use crate::config::Config;
use crate::objects::pods::Pods;

mod cache;
mod network_status;
pub mod plan;
mod plugin;
pub mod processes;
mod reconciler;

pub use plugin::Plugin;
pub use reconciler::{Places, Reconciler};

/// Changes of this time are looked at together.
const PAUSE: Duration = Duration::from_millis(100);

/// Looks after this node's pods for ever.
pub async fn run(
    config: Arc<Config>,
    service: Arc<AttachService<KernelPodWiring>>,
    pods: Arc<dyn Pods>,
) {
    let places = Places {
        host_proc: config.host_proc.clone(),
        netns: PathBuf::from("/run/netns"),
        state_dir: config.state_dir.clone(),
    };
    let make = || {
        let plugin = Plugin::of(&config);
        let (service, pods) = (Arc::clone(&service), Arc::clone(&pods));
        Reconciler::new(service, pods, places.clone(), Box::new(plugin))
    };
    let mut rounds = make();
    let mut news = service.news();
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
