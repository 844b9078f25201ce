//! Execution of plans: every write to the API server, with its preconditions.
//!
//! ```text
//! Plan -> create -> claim -> [fresh look] allocation -> fill, delete -> publish, status, events
//!            \________ answers ________/
//!                        v
//!                   observe::Cache
//! ```
//! A write whose precondition fails changes nothing, and the object is planned again.

mod error;
mod events;
mod fresh;
mod names;
mod network_attachments;
mod objects;
mod remove;
mod status;
mod steps;

use std::{future::Future, time::Duration};

use ::telemetry::chain;
use futures::{StreamExt, stream};
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::{
    Api, Client,
    core::{ApiResource, DynamicObject},
};

pub use self::{error::Error, fresh::Fresh, names::Named};
use crate::{
    observe::{Cache, Kind},
    telemetry::{Metrics, Written},
};

/// Field manager of the operator's fields.
pub const FIELD_MANAGER: &str = "beemesh-operator";

/// Timeout of one request.
const REQUEST_LIMIT: Duration = Duration::from_secs(15);
/// Number of parallel requests of one topology.
const PARALLEL: usize = 8;

/// Writes to the API server. Clones share the connection.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    cache: Cache,
    metrics: Metrics,
    replica: String,
}

impl Writer {
    /// Writer that stores answers in `cache`. `replica` is named in events.
    pub fn new(client: Client, cache: Cache, metrics: Metrics, replica: &str) -> Writer {
        Writer {
            client,
            cache,
            metrics,
            replica: replica.to_owned(),
        }
    }

    fn api(&self, kind: Kind, namespace: &str) -> Api<DynamicObject> {
        let resource = match kind {
            Kind::Topology => ApiResource::erase::<crds::TopologyObject>(&()),
            Kind::Forwarder => ApiResource::erase::<crds::ForwarderObject>(&()),
            Kind::Allocation => ApiResource::erase::<crds::AllocationObject>(&()),
            Kind::VniRange => ApiResource::erase::<crds::VniRangeObject>(&()),
            Kind::Node => ApiResource::erase::<k8s_openapi::api::core::v1::Node>(&()),
            Kind::Pod => ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&()),
            Kind::Service => ApiResource::erase::<Service>(&()),
            Kind::EndpointSlice => ApiResource::erase::<EndpointSlice>(&()),
        };
        if kind.is_namespaced() {
            Api::namespaced_with(self.client.clone(), namespace, &resource)
        } else {
            Api::all_with(self.client.clone(), &resource)
        }
    }

    /// Sends one request with a timeout, counts it, and adds the object's name to an error.
    async fn ask<T>(
        &self,
        verb: &'static str,
        kind: &'static str,
        name: &str,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Error> {
        let result = match tokio::time::timeout(REQUEST_LIMIT, request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(source)) => Err(Error::Request {
                verb,
                kind,
                name: name.to_owned(),
                source: Box::new(source),
            }),
            Err(_) => Err(Error::TimedOut {
                verb,
                kind,
                name: name.to_owned(),
                limit: REQUEST_LIMIT,
            }),
        };
        if !matches!(verb, "get" | "list") {
            let code = result.as_ref().map_or_else(Error::code, |_| Some(200));
            self.metrics.wrote(kind, verb, Written::from_code(code));
        }
        result
    }
}

/// Result of a step.
#[derive(Debug, Default)]
pub struct Done {
    /// Number of writes.
    pub written: usize,
    /// Number of writes with a failed precondition.
    pub conflicts: usize,
    /// First failure of another kind; the other writes were still tried.
    pub error: Option<Error>,
}

impl Done {
    fn count<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(answer) => {
                self.written += 1;
                return Some(answer);
            }
            Err(error) if error.is_conflict() => {
                tracing::debug!(error = %chain(&error), "write conflict, planned again");
                self.conflicts += 1;
            }
            Err(error) => {
                self.error.get_or_insert(error);
            }
        }
        None
    }

    /// Sends these requests, some in parallel; a failed one does not hold back the others.
    async fn count_all<T>(&mut self, requests: Vec<impl Future<Output = Result<T, Error>>>) {
        let mut answers = stream::iter(requests).buffer_unordered(PARALLEL);
        while let Some(answer) = answers.next().await {
            self.count(answer);
        }
    }

    /// Adds the result of another step.
    fn add(&mut self, other: Done) {
        self.written += other.written;
        self.conflicts += other.conflicts;
        self.error = self.error.take().or(other.error);
    }

    /// True without a failure and without a conflict.
    pub fn is_clean(&self) -> bool {
        self.conflicts == 0 && self.error.is_none()
    }
}
