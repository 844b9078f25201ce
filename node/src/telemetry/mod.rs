//! Probes and metrics of the daemon, served over HTTP by the crate `telemetry`.
//!
//! ```text
//! engine ---- heartbeat (heartbeat, counts) --.
//! plugins' requests -- durations ----------+--> /metrics
//! service, installer, peers, at each scrape --'
//! heartbeat --> /livez      named checks --> /readyz
//! ```
//! Labels never name a pod, a link or a route; `docs/metrics.md` lists every metric.

mod collect;
mod heartbeat;
mod metrics;
mod probes;

pub use collect::{Cni, Observed};
pub use heartbeat::{Counts, Heartbeat};
pub use metrics::{Metrics, word_of};
pub use probes::probes;
