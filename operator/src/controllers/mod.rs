//! Controllers: one queue each, bounded concurrency, backoff by object.
//!
//! ```text
//! queues of observe::Cache -> applier (bounded, one at a time for each object)
//!     topology  (1x): observed -> plan -> steps -> status, events
//!     forwarder (1x): status.computed
//!     names     (8x): Services and EndpointSlices of Apps
//!     network attachments (8x): NetworkAttachmentDefinitions on request
//!     sweep     (1x): what has lost its topology
//! ```
pub mod forwarder;
pub mod names;
pub mod network_attachments;
mod retry;
pub mod sweep;
pub mod topology;

use std::time::Duration;

use thiserror::Error;

use crate::{
    apply,
    observe::{Cache, Key, TopologyKey},
    telemetry::Metrics,
};

/// What every controller works with.
#[derive(Clone)]
pub struct Context {
    /// What is observed.
    pub cache: Cache,
    /// Where writes go.
    pub writer: apply::Writer,
    /// Where figures go.
    pub metrics: Metrics,
    /// Time between two looks at an object that nothing happened to.
    pub resync: Duration,
}

/// Why an object could not be brought to where it should be, this time.
#[derive(Debug, Error)]
pub enum Error {
    /// The API server did not do as it was asked.
    #[error(transparent)]
    Apply(#[from] apply::Error),
    /// A bug: this object is tried again later, all others go on.
    #[error("panicked: {0}")]
    Panicked(#[from] tokio::task::JoinError),
}

/// Namespace and name of a topology as the queues give it.
fn key_of(object: &TopologyKey) -> Key {
    let metadata = &object.metadata;
    Key {
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
    }
}

impl Error {
    fn reason(&self) -> &'static str {
        match self {
            Error::Apply(error) => error.reason(),
            Error::Panicked(_) => "Panicked",
        }
    }
}
