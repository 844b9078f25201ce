//! What the operator tells of itself: logs, metrics, probes.
//!
//! ```text
//! events, spans --> logs (level changeable while running) --> stderr
//! controllers, writes, requests --> metrics --+
//! caches, at each scrape -------------------->+--> /metrics
//! heart, named checks --> probes ---------------> /livez /readyz /healthz
//! ```
//! Labels never name a pod or a route; `docs/metrics.md` lists every metric.

mod collect;
mod heart;
mod logs;
mod metrics;

pub use self::{
    collect::{Observed, ObservedTopology},
    heart::Heart,
    logs::{LogError, LogFormat, Logs, trace_id},
    metrics::{Metrics, Written},
};
