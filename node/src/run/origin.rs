//! The adapters of where Forwarders are declared.

use std::io;
use std::sync::Arc;

use crate::config::{Config, Origin};
use crate::error::Error;
use crate::pods::{NoPods, Pods};
use crate::source::Source;
use crate::source::directory::Directory;

/// Both ports to an origin.
pub(super) struct Ports {
    pub(super) source: Box<dyn Source>,
    pub(super) pods: Arc<dyn Pods>,
}

/// Opens where Forwarders are declared, and who knows this node's pods.
pub(super) fn open(config: &Config) -> Result<Ports, Error> {
    match &config.origin {
        Origin::Directory(directory) => Ok(Ports {
            source: Box::new(Directory::open(directory)?),
            pods: Arc::new(NoPods),
        }),
        Origin::Kubernetes { .. } => Err(Error::Start {
            what: "the client of the API server",
            source: io::ErrorKind::Unsupported.into(),
        }),
    }
}
