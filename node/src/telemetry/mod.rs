//! Probes and metrics of the daemon, served over HTTP by the crate `telemetry`.
//!
//! ```text
//! engine ---- vitals (heartbeat, counts) --.
//! plugins' requests -- durations ----------+--> /metrics
//! desk, installer, peers, at each scrape --'
//! heartbeat --> /livez      named checks --> /readyz
//! ```
//! Labels never name a pod, a link or a route; `docs/metrics.md` lists every metric.

mod collect;
mod metrics;
mod probes;
mod vitals;

pub use collect::{Cni, Observed};
pub use metrics::{Metrics, word_of};
pub use probes::probes;
pub use vitals::{Counts, Vitals};
