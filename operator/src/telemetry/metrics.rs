//! Counters and histograms, and the text that Prometheus reads.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock, RwLockWriteGuard, atomic::AtomicU64},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ::telemetry::Process;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{
        counter::Counter,
        family::{Family, MetricConstructor},
        gauge::Gauge,
        histogram::Histogram,
        info::Info,
    },
    registry::Registry,
};

use super::collect::{Observations, Observed};

/// All metrics of the operator. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: RwLock<Registry>,
    reconciles: Family<Kind, Histogram, Seconds>,
    reconcile_errors: Family<KindReason, Counter>,
    last_reconcile: Family<Kind, Gauge<f64, AtomicU64>>,
    computations: Histogram,
    writes: Family<Write, Counter>,
    watch_restarts: Family<Kind, Counter>,
    requests: Family<Request, Counter>,
    request_seconds: Family<Route, Histogram, Seconds>,
}

/// Result of a write to the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Written {
    /// Done.
    Ok,
    /// Another one was first (409): the plan is made again.
    Conflict,
    /// The role of the operator does not allow it (403).
    Forbidden,
    /// The API server has something against it (other 4xx).
    Refused,
    /// Unknown result (5xx, time limit, no connection).
    Failed,
}

impl Written {
    /// From the status code of an answer; `None` when there was no answer.
    pub fn from_code(code: Option<u16>) -> Written {
        match code {
            Some(200..400) => Written::Ok,
            Some(409) => Written::Conflict,
            Some(403) => Written::Forbidden,
            Some(400..500) => Written::Refused,
            Some(_) | None => Written::Failed,
        }
    }
}

impl EncodeLabelValue for Written {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        let word = match self {
            Written::Ok => "ok",
            Written::Conflict => "conflict",
            Written::Forbidden => "forbidden",
            Written::Refused => "refused",
            Written::Failed => "failed",
        };
        EncodeLabelValue::encode(&word, encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindReason {
    kind: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Write {
    kind: &'static str,
    verb: &'static str,
    result: Written,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    method: String,
    path: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    method: String,
    path: String,
    code: u16,
}

/// Upper bounds of durations: from a plan without writes to one of many thousands.
const SECONDS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];

#[derive(Clone, Debug)]
struct Seconds;

impl MetricConstructor<Histogram> for Seconds {
    fn new_metric(&self) -> Histogram {
        Histogram::new(SECONDS)
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// Metrics that have counted nothing yet.
    pub fn new() -> Metrics {
        let inner = Inner {
            registry: RwLock::default(),
            reconciles: Family::new_with_constructor(Seconds),
            reconcile_errors: Family::default(),
            last_reconcile: Family::default(),
            computations: Histogram::new(SECONDS),
            writes: Family::default(),
            watch_restarts: Family::default(),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(Seconds),
        };
        inner.register();
        Metrics(Arc::new(inner))
    }

    /// Sets the function whose values are read at each scrape.
    pub fn observe(&self, observe: impl Fn() -> Observed + Send + Sync + 'static) {
        let observations = Observations::new(observe);
        self.0.write().register_collector(Box::new(observations));
    }

    /// One reconcile of an object of `kind` ended; `Err` is one CamelCase word of a fixed set.
    pub fn reconciled(&self, kind: &'static str, took: Duration, result: Result<(), &'static str>) {
        let kind = Kind { kind };
        let seconds = self.0.reconciles.get_or_create(&kind);
        seconds.observe(took.as_secs_f64());
        drop(seconds);
        match result {
            Ok(()) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                let last = self.0.last_reconcile.get_or_create(&kind);
                last.set(now.unwrap_or_default().as_secs_f64());
            }
            Err(reason) => {
                let kind = kind.kind;
                let labels = KindReason { kind, reason };
                self.0.reconcile_errors.get_or_create(&labels).inc();
            }
        }
    }

    /// The tables of one topology were computed.
    pub fn computed(&self, took: Duration) {
        self.0.computations.observe(took.as_secs_f64());
    }

    /// A write to the API server ended; `verb` is `create`, `apply`, `delete` and the like.
    pub fn wrote(&self, kind: &'static str, verb: &'static str, result: Written) {
        let labels = Write { kind, verb, result };
        self.0.writes.get_or_create(&labels).inc();
    }

    /// A watch had to be started again.
    pub fn watch_restarted(&self, kind: &'static str) {
        let labels = Kind { kind };
        self.0.watch_restarts.get_or_create(&labels).inc();
    }

    /// A request to the REST API was answered; `path` is the route, never the path itself.
    pub fn requested(&self, method: &str, path: &str, code: u16, took: Duration) {
        let (method, path) = (method.to_owned(), path.to_owned());
        let route = Route {
            method: method.clone(),
            path: path.clone(),
        };
        let seconds = self.0.request_seconds.get_or_create(&route);
        seconds.observe(took.as_secs_f64());
        let request = Request { method, path, code };
        self.0.requests.get_or_create(&request).inc();
    }

    /// All of it in the text format of Prometheus (0.0.4).
    pub fn text(&self) -> String {
        ::telemetry::text(&self.0.registry)
    }
}

impl Inner {
    /// A full stop is added to each help text.
    fn register(&self) {
        let mut registry = self.write();
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        let help = "Version of the operator, value 1";
        registry.register("beemesh_build", help, Info::new(version));
        let help = "Duration of reconciles, by kind of object";
        let name = "beemesh_reconcile_duration_seconds";
        registry.register(name, help, self.reconciles.clone());
        let help = "Reconciles that failed, by kind of object and reason";
        let name = "beemesh_reconcile_errors";
        registry.register(name, help, self.reconcile_errors.clone());
        let help =
            "Time of the last successful reconcile, in seconds since 1970, by kind of object";
        let name = "beemesh_last_successful_reconcile_timestamp_seconds";
        registry.register(name, help, self.last_reconcile.clone());
        let help = "Duration of the computation of all tables of one topology";
        let name = "beemesh_computation_duration_seconds";
        registry.register(name, help, self.computations.clone());
        let help = "Writes to the API server, by kind of object, verb and result";
        registry.register("beemesh_api_writes", help, self.writes.clone());
        let help = "Watches that had to be started again, by kind of object";
        let name = "beemesh_watch_restarts";
        registry.register(name, help, self.watch_restarts.clone());
        let help = "Requests to the REST API, by method, route and status code";
        registry.register("beemesh_http_requests", help, self.requests.clone());
        let help = "Duration of answers of the REST API, by method and route";
        let name = "beemesh_http_request_duration_seconds";
        registry.register(name, help, self.request_seconds.clone());
        registry.register_collector(Box::new(Process));
    }

    fn write(&self) -> RwLockWriteGuard<'_, Registry> {
        self.registry
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
