//! Logs, metrics and probes of the operator.
//!
//! ```text
//! events, spans --> logs (level changeable while running) --> stderr
//! controllers, writes, requests --> metrics --+
//! caches, at each scrape -------------------->+--> /metrics
//! heartbeat, named checks --> probes ----------> /livez /readyz /healthz
//! ```
//! Labels never name a pod or a route; `docs/metrics.md` lists every metric.

mod collect;
mod heartbeat;
mod logs;
mod metrics;

pub use self::{
    collect::{Observed, ObservedTopology},
    heartbeat::Heartbeat,
    logs::{LogError, LogFormat, Logs, trace_id},
    metrics::{Metrics, Written},
};
