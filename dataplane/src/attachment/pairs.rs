//! Finding what is wired when nobody remembers having wired it.

use std::{collections::BTreeSet, net::IpAddr};

use super::{
    link::{self, Seen},
    verify::addresses,
};
use crate::{ATTACHMENT_PREFIX, Error, mac::Mac, netlink::Socket, netns::Netns};

/// A veth pair from a pod to a Forwarder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// Interface in the pod's namespace.
    pub pod_interface: String,
    /// Its alias.
    pub pod_alias: String,
    /// Its address.
    pub pod_mac: Mac,
    /// All IP addresses of it, also such as the kernel made.
    pub addresses: BTreeSet<IpAddr>,
    /// Interface in the Forwarder's namespace.
    pub forwarder_interface: String,
    /// Its alias.
    pub forwarder_alias: String,
    /// Its address.
    pub forwarder_mac: Mac,
}

/// The pairs between two namespaces of which both ends carry our mark, and the Forwarder's the name of an
/// attachment.
///
/// # Errors
/// When one of the namespaces cannot be read.
pub fn pairs(pod: &Netns, forwarder: &Netns) -> Result<Vec<Pair>, Error> {
    let mut pod = Socket::open_in(pod)?;
    let ours = |socket: &mut Socket| {
        let mut links = link::list(socket)?;
        links.retain(Seen::is_marked);
        Ok::<_, Error>(links)
    };
    let near = ours(&mut pod)?;
    if near.is_empty() {
        return Ok(Vec::new());
    }
    let far = ours(&mut Socket::open_in(forwarder)?)?;
    let mut pairs = Vec::new();
    for seen in near {
        let is_its_peer = |other: &&Seen| {
            (other.peer_index, other.index) == (seen.index, seen.peer_index)
                && other.name.starts_with(ATTACHMENT_PREFIX)
        };
        if let Some(other) = far.iter().find(is_its_peer) {
            pairs.push(Pair {
                addresses: addresses(&mut pod, seen.index)?,
                pod_interface: seen.name,
                pod_alias: seen.alias,
                pod_mac: seen.mac,
                forwarder_interface: other.name.clone(),
                forwarder_alias: other.alias.clone(),
                forwarder_mac: other.mac,
            });
        }
    }
    Ok(pairs)
}
