//! What the daemon tells of itself: probes and metrics, over HTTP.
//!
//! ```text
//! engine ---- vitals (heartbeat, counts) --.
//! plugins' questions -- times -------------+--> /metrics
//! desk, installer, peers, at each scrape --'
//! heartbeat --> /livez      named checks --> /readyz
//! ```
//! Labels never name a pod, a link or a route; `docs/metrics.md` lists every metric.

mod collect;
mod metrics;
mod probes;
mod server;
mod vitals;

pub use collect::{Cni, Observed};
pub use metrics::{Metrics, word_of};
pub use probes::probes;
pub use server::Server;
pub use vitals::{Counts, Vitals};
