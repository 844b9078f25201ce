//! Controllers: one queue each, bounded concurrency, backoff by object.
//!
//! ```text
//! queues of observe::Cache -> applier (bounded, one at a time for each object)
//!     topology  (8x): observed -> plan -> steps -> status, events
//!     forwarder (8x): status.computed
//!     names     (8x): Services and EndpointSlices of Apps
//!     network attachments (8x): NetworkAttachmentDefinitions on request
//!     sweep     (1x): objects without their topology
//! ```
mod driver;
pub mod forwarder;
pub mod names;
pub mod network_attachments;
mod retry;
pub mod sweep;
pub mod topology;
mod working_memory;

use std::time::Duration;

use thiserror::Error;

pub use self::working_memory::WorkingMemory;
use crate::{apply, observe::Cache, telemetry::Metrics};

/// Dependencies of every controller.
#[derive(Clone)]
pub struct Context {
    /// Observed objects.
    pub cache: Cache,
    /// Writer to the API server.
    pub writer: apply::Writer,
    /// Room for plans.
    pub memory: WorkingMemory,
    /// Metrics.
    pub metrics: Metrics,
    /// Interval between two reconciles of an unchanged object.
    pub resync: Duration,
}

/// Error of one reconcile.
#[derive(Debug, Error)]
pub enum Error {
    /// The API server did not do as it was asked.
    #[error(transparent)]
    Apply(#[from] apply::Error),
    /// A bug: this object is tried again later, all others go on.
    #[error("panicked: {0}")]
    Panicked(#[from] tokio::task::JoinError),
}

impl Error {
    fn reason(&self) -> &'static str {
        match self {
            // Every existing object is reconciled again.
            Error::Apply(error) if error.is_conflict() => "Conflict",
            Error::Apply(error) => error.reason(),
            Error::Panicked(_) => "Panicked",
        }
    }
}
