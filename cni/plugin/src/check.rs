//! CHECK: compares the result, the kernel and the node's lease.

use std::path::Path;
use std::time::{Duration, Instant};

use cni::error::{Code, Error};
use cni::node_protocol::{Attachment, Reply, Request};
use cni::request::Container;
use cni::result;
use dataplane::attachment::{pod_interfaces, verify};
use dataplane::mac;
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
            compare_macs(&netns, &leased, previous, &sandbox, &mut found)?;
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

/// The MAC address may be another plugin's wish: what `prevResult` says of it has to be so in the kernel, not in the lease.
fn compare_macs(
    netns: &Netns,
    leased: &[Attachment],
    previous: &serde_json::Value,
    sandbox: &str,
    found: &mut Vec<String>,
) -> Result<(), Error> {
    let present = pod_interfaces(netns).map_err(|error| pod::wiring(&error))?;
    for name in leased.iter().map(|attachment| &attachment.pod_interface) {
        let wanted = result::mac(previous, name, sandbox);
        let now = present.iter().find(|interface| interface.name == *name);
        let (Some(wanted), Some(now)) = (wanted, now) else {
            continue;
        };
        if mac::parse(wanted) != Some(now.mac) {
            let now = mac::format(now.mac);
            found.push(format!(
                "prevResult: {name} has mac {wanted}, the kernel {now}"
            ));
        }
    }
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
    let present = pod_interfaces(netns).map_err(|error| pod::wiring(&error))?;
    let owned = present.iter().filter(|interface| interface.alias == owner);
    let mut found: Vec<_> = owned
        .map(|interface| format!("pod: {} exists without a lease", interface.name))
        .collect();
    for name in result::interfaces_in(previous, sandbox) {
        let could_be_ours = name == container.key.ifname || name.starts_with(pod::CHAINED_PREFIX);
        if could_be_ours && !present.iter().any(|interface| interface.name == name) {
            found.push(format!("pod: no interface {name}, and no lease"));
        }
    }
    Ok(found)
}
