//! A pod's namespace and attachments, in the dataplane's words.

use std::error::Error as _;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use cni::error::{Code, Error};
use cni::node_protocol::{self, Key, NetnsId};
use dataplane::attachment::PodLink;
use dataplane::mac::{self, Mac};
use dataplane::netns::Netns;

/// Prefix of the pod's interface names when another plugin created `CNI_IFNAME`.
pub(crate) const CHAINED_PREFIX: &str = "bm-";

/// Longest time for opening a namespace. A file system of another machine, or of a process that hangs, may take for ever.
const OPEN_DEADLINE: Duration = Duration::from_secs(5);

/// Opens a pod's namespace.
///
/// # Errors
/// [`Code::UnknownContainer`] when it is not there, [`Code::InvalidEnvironment`] when `path` is
/// no network namespace of a container, [`Code::TryAgainLater`] when its file system does not answer.
pub(crate) fn open(path: &Path) -> Result<(Netns, NetnsId), Error> {
    let error =
        |code, problem: &str| Error::new(code, format!("CNI_NETNS {}: {problem}", path.display()));
    let opened = open_in_time(path)
        .ok_or_else(|| error(Code::TryAgainLater, "no answer from its file system"))?;
    let netns = opened.map_err(|source| {
        let code = match source {
            dataplane::Error::NotNamespace { .. } => Code::InvalidEnvironment,
            _ => Code::UnknownContainer,
        };
        Error::new(code, format!("CNI_NETNS: {}", chain(&source)))
    })?;
    let identity = |netns: &Netns| {
        let (device, inode) = netns.identity().map_err(|source| wiring(&source))?;
        Ok::<_, Error>(NetnsId { device, inode })
    };
    let id = identity(&netns)?;
    let own = Netns::current().map_err(|source| wiring(&source))?;
    match id == identity(&own)? {
        true => Err(error(
            Code::InvalidEnvironment,
            "is the plugin's own network namespace",
        )),
        false => Ok((netns, id)),
    }
}

/// Opens a namespace on a thread that is left behind when it takes too long; none then.
pub(crate) fn open_in_time(path: &Path) -> Option<Result<Netns, dataplane::Error>> {
    let (sender, receiver) = mpsc::channel();
    let path = path.to_owned();
    let worker = thread::spawn(move || {
        // Nobody receives it when it comes too late.
        let _ = sender.send(Netns::open_path(&path));
    });
    let opened = receiver.recv_timeout(OPEN_DEADLINE).ok()?;
    // A process that deletes interfaces in a child has one thread.
    let _ = worker.join();
    Some(opened)
}

/// The alias of the pod's ends of `key`.
pub(crate) fn owner(key: &Key) -> String {
    format!("{}{}", dataplane::ALIAS_PREFIX, key.mark())
}

/// An attachment of the node protocol as the dataplane's `PodLink`.
///
/// # Errors
/// [`Code::Node`] when an address is no MAC address.
pub(crate) fn attachment(key: &Key, of: &node_protocol::Attachment) -> Result<PodLink, Error> {
    Ok(PodLink {
        pod_interface: of.pod_interface.clone(),
        forwarder_interface: of.forwarder_interface.clone(),
        pod_mac: mac(&of.pod_mac)?,
        forwarder_mac: mac(&of.forwarder_mac)?,
        addresses: of.addresses.clone(),
        gateways: of.gateways.clone(),
        routes: of.routes.clone(),
        mtu: of.mtu,
        alias: of.alias.clone(),
        owner: owner(key),
    })
}

fn mac(text: &str) -> Result<Mac, Error> {
    mac::parse(text).ok_or_else(|| Error::new(Code::Node, format!("{text:?} is no MAC address")))
}

/// CNI error of a dataplane error.
pub(crate) fn wiring(error: &dataplane::Error) -> Error {
    let code = match error {
        dataplane::Error::Foreign { .. } => Code::AlreadyAttached,
        error if error.is_transient() => Code::TryAgainLater,
        _ => Code::Wiring,
    };
    Error::new(code, chain(error))
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dataplane::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_stay_within_what_the_kernel_keeps() {
        for length in [1, 200, 201, 5000] {
            let key = Key {
                container_id: "c".repeat(length),
                ifname: "e".repeat(15),
                network: "n".repeat(length),
            };
            assert!(owner(&key).len() <= 255, "{length}");
        }
    }
}
