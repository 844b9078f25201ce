//! Attachment and detachment of running pods: pods whose labels change, pods whose topology appears
//! or changes later, and pods that the plugin passed through while the daemon was unreachable.
//!
//! ```text
//! pods, leases, catalog -> plan -> steps -> rounds: find the namespace, run the plugin | leave
//!                                           |-> network-status, known.json, events
//! ```
//! The daemon runs the plugin itself, for one topology at a time, so that pod links have one code
//! path.

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

/// Debounce interval: changes within it are handled in one round.
const PAUSE: Duration = Duration::from_millis(100);

/// Reconciles this node's pods for ever.
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
        // A panic in it is logged by the runtime's hook; the state is learnt again.
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

/// Interval between two rounds without an event.
const REST: Duration = Duration::from_secs(30);
