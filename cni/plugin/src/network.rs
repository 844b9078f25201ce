//! GC and STATUS: what is about a network, not a container.

use std::time::{Duration, Instant};

use cni::agent::{Key, Reply, Request};
use cni::config::Config;
use cni::error::{Code, Error};

use crate::log;
use crate::node::{Node, unexpected};

const DEADLINE: Duration = Duration::from_secs(10);

/// Frees every attachment of this network that the runtime no longer has.
pub(crate) fn collect(config: &Config) -> Result<(), Error> {
    let network = config.name.clone();
    let valid = config.valid_attachments()?.into_iter();
    let valid = valid
        .map(|(container_id, ifname)| Key {
            container_id,
            ifname,
            network: network.clone(),
        })
        .collect();
    let mut node = Node::connect(&config.socket()?, Instant::now() + DEADLINE)?;
    match node.ask(&Request::Collect { network, valid })? {
        Reply::Released(freed) => {
            if !freed.is_empty() {
                log(format!("freed {} attachments", freed.len()));
            }
            Ok(())
        }
        reply => Err(unexpected(&reply)),
    }
}

/// Says whether an ADD could be answered.
pub(crate) fn status(config: &Config) -> Result<(), Error> {
    let unavailable = |error: Error| Error::new(Code::NotAvailable, error.details);
    let mut node =
        Node::connect(&config.socket()?, Instant::now() + DEADLINE).map_err(unavailable)?;
    match node.ask(&Request::Status).map_err(unavailable)? {
        Reply::Status {
            ready: true,
            degraded: None,
        } => Ok(()),
        Reply::Status {
            ready: false,
            degraded,
        } => {
            let reason = degraded.unwrap_or_else(|| "the node is not ready".to_owned());
            Err(Error::new(Code::NotAvailable, reason))
        }
        Reply::Status {
            ready: true,
            degraded: Some(reason),
        } => Err(Error::new(Code::LimitedConnectivity, reason)),
        reply => Err(unexpected(&reply)),
    }
}
