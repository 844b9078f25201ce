//! Metrics, probes and trace ids of the operator.
//!
//! ```text
//! controllers, writes, requests --> metrics --+
//! caches, at each scrape -------------------->+--> /metrics
//! heartbeat, named checks --> probes ----------> /livez /readyz /healthz
//! ```
//! Labels never name a pod or a route; `docs/metrics.md` lists every metric.

mod collect;
mod metrics;
mod trace;

pub use self::{
    collect::{Observed, ObservedTopology},
    metrics::{Metrics, Written},
    trace::trace_id,
};
