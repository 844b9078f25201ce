//! Counters and histograms, and their Prometheus text format.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use cni::node_protocol::{Reply, Request};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::Heartbeat;
use super::collect::{Observations, Observed};
use super::heartbeat::SECONDS;
use ::telemetry::Process;

/// Metrics of the daemon. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: RwLock<Registry>,
    requests: Family<Answered, Histogram, Seconds>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    request: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug)]
struct Seconds;

impl MetricConstructor<Histogram> for Seconds {
    fn new_metric(&self) -> Histogram {
        Histogram::new(SECONDS)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new(&Heartbeat::default())
    }
}

impl Metrics {
    /// Metrics of an engine, with empty histograms.
    pub fn new(heartbeat: &Heartbeat) -> Metrics {
        let requests = Family::new_with_constructor(Seconds);
        let mut registry = Registry::default();
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        let help = "Version of the daemon, value 1";
        registry.register("beemesh_node_build", help, Info::new(version));
        let help =
            "Time from a change until the kernel state includes it, for all Forwarders together";
        let name = "beemesh_node_convergence_duration_seconds";
        registry.register(name, help, heartbeat.rounds());
        let help = "Duration of answers to the plugin, by request and result";
        let name = "beemesh_node_cni_request_duration_seconds";
        registry.register(name, help, requests.clone());
        registry.register_collector(Box::new(Process));
        let registry = RwLock::new(registry);
        Metrics(Arc::new(Inner { registry, requests }))
    }

    /// Sets the function whose values are read at each scrape.
    pub fn observe(&self, observe: impl Fn() -> Observed + Send + Sync + 'static) {
        let mut registry = self
            .0
            .registry
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        registry.register_collector(Box::new(Observations::new(observe)));
    }

    /// Records the answer to a plugin's request.
    pub fn answered(&self, request: &'static str, reply: &Reply, took: Duration) {
        let result = result_of(reply);
        let seconds = self.0.requests.get_or_create(&Answered { request, result });
        seconds.observe(took.as_secs_f64());
    }

    /// Metrics in the Prometheus text format (0.0.4).
    pub fn text(&self) -> String {
        ::telemetry::text(&self.0.registry)
    }
}

/// Label value of a request; an ADD is a claim and a confirm, a DEL a release.
pub fn word_of(request: &Request) -> &'static str {
    match request {
        Request::Claim(_) => "claim",
        Request::Confirm { .. } => "confirm",
        Request::Abort { .. } => "abort",
        Request::Release { .. } => "release",
        Request::Check { .. } => "check",
        Request::Collect { .. } => "collect",
        Request::Status => "status",
    }
}

fn result_of(reply: &Reply) -> &'static str {
    match reply {
        Reply::NotOurs => "not_ours",
        Reply::TryLater { .. } => "try_later",
        Reply::Refused { .. } => "refused",
        _ => "done",
    }
}

#[cfg(test)]
mod tests;
