//! GC and STATUS: verbs on a network, not on a container.

use std::time::{Duration, Instant};

use cni::config::Config;
use cni::error::{Code, Error};
use cni::known::Known;
use cni::node_protocol::{Key, Reply, Request};

use crate::log;
use crate::node::{Failure, Node, unexpected};

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

/// Says whether an ADD could be answered, if only of a pod that is not ours: a runtime takes a
/// failure for a node without network, and nothing starts there any more.
pub(crate) fn status(config: &Config) -> Result<(), Error> {
    let unavailable = |reason| Err(Error::new(Code::NotAvailable, reason));
    let reason = match ask_status(config) {
        Ok(Reply::Status {
            ready: true,
            degraded,
        }) => {
            // Some pods are degraded: events and conditions report them as well.
            degraded.into_iter().for_each(log);
            return Ok(());
        }
        Ok(Reply::Status {
            ready: false,
            degraded,
        }) => degraded.unwrap_or_else(|| "the node is not ready".to_owned()),
        Ok(reply) => return Err(unexpected(&reply)),
        Err(Failure::Answer(error)) => return unavailable(error.details),
        Err(Failure::Silence(error)) => error.details,
    };
    let is_delegate = config.topology()?.is_some();
    if is_delegate || Known::read(&config.state_dir()?).is_err() {
        return unavailable(reason);
    }
    log(format!(
        "{reason}; pods that are known not to be ours pass through"
    ));
    Ok(())
}

fn ask_status(config: &Config) -> Result<Reply, Failure> {
    let mut node = Node::connect(&config.socket()?, Instant::now() + DEADLINE)?;
    node.ask(&Request::Status)
}
