//! CHECK: the result, the kernel and the node's lease say the same.

use std::path::Path;
use std::time::{Duration, Instant};

use cni::agent::{Attachment, Reply, Request};
use cni::error::{Code, Error};
use cni::request::Container;
use cni::result;
use dataplane::attachment::{pod_interfaces, verify};
use dataplane::netns::Netns;

use crate::node::{Node, unexpected};
use crate::pod;

const DEADLINE: Duration = Duration::from_secs(10);

/// Compares; the error names every difference.
pub(crate) fn check(container: &Container) -> Result<(), Error> {
    let (config, key) = (&container.config, &container.key);
    let Some(previous) = config
        .prev_result
        .as_ref()
        .filter(|previous| previous.is_object())
    else {
        return Err(Error::new(
            Code::InvalidConfig,
            "CHECK needs prevResult, an object",
        ));
    };
    let path = container.netns.as_deref().unwrap_or(Path::new(""));
    let (netns, _) = pod::open(path)?;
    let sandbox = path.display().to_string();
    let mut node = Node::connect(&config.socket()?, Instant::now() + DEADLINE)?;
    let found = match node.ask(&Request::Check { key: key.clone() })? {
        Reply::Lease(leased) => {
            let mut found = result::differences(previous, &leased, &sandbox);
            for attachment in &leased {
                compare(container, &netns, attachment, &mut found)?;
            }
            found
        }
        Reply::NoLease => without_lease(container, &netns, previous, &sandbox)?,
        reply => return Err(unexpected(&reply)),
    };
    match found.as_slice() {
        [] => Ok(()),
        found => Err(Error::new(Code::Differs, found.join("; "))),
    }
}

fn compare(
    container: &Container,
    netns: &Netns,
    leased: &Attachment,
    found: &mut Vec<String>,
) -> Result<(), Error> {
    let forwarder = match Netns::open_path(Path::new(&leased.forwarder_netns)) {
        Ok(forwarder) => forwarder,
        Err(error) => {
            found.push(format!(
                "forwarder {}: {}",
                leased.forwarder,
                pod::chain(&error)
            ));
            return Ok(());
        }
    };
    let attachment = pod::attachment(&container.key, leased)?;
    found.extend(verify(netns, &forwarder, &attachment).map_err(|error| pod::wiring(&error))?);
    Ok(())
}

/// Right for a pod that is not ours: then neither the kernel nor the result has anything of us.
fn without_lease(
    container: &Container,
    netns: &Netns,
    previous: &serde_json::Value,
    sandbox: &str,
) -> Result<Vec<String>, Error> {
    let owner = pod::owner(&container.key);
    let present = pod_interfaces(netns, &owner).map_err(|error| pod::wiring(&error))?;
    let owned = present.iter().filter(|(_, is_owned)| *is_owned);
    let mut found: Vec<_> = owned
        .map(|(name, _)| format!("pod: {name} is there without a lease"))
        .collect();
    for name in result::interfaces_in(previous, sandbox) {
        let could_be_ours = name == owner.interface || name.starts_with(&owner.interface_prefix);
        if could_be_ours && !present.iter().any(|(present, _)| present == name) {
            found.push(format!("pod: no interface {name}, and no lease"));
        }
    }
    Ok(found)
}
