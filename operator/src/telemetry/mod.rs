//! What the operator tells of itself: logs, metrics, probes.
//!
//! ```text
//! events, spans --> logs (level changeable while running) --> stderr
//! controllers, writes, requests --> metrics --+
//! caches, at each scrape -------------------->+--> /metrics
//! heartbeat, named checks --> probes -----------> /livez /readyz /healthz
//! ```
//! Labels never name a pod or a route; `docs/metrics.md` lists every metric.

mod collect;
mod logs;
mod metrics;
mod probes;
mod web;

pub use self::{
    collect::{Observed, ObservedTopology},
    logs::{LogError, LogFormat, Logs, trace_id},
    metrics::{Metrics, Written},
    probes::{Check, Probes},
    web::router,
};
