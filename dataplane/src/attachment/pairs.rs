//! Discovery of veth pairs between pods and Forwarders that no lease records.

use std::{collections::BTreeSet, net::IpAddr};

use ipnetwork::IpNetwork;

use super::{
    link::{self, Seen},
    verify::{addresses, routes_of},
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
    /// Destinations of the pod's routes over it; default routes are left out.
    pub routes: BTreeSet<IpNetwork>,
    /// The larger one of both ends, in bytes.
    pub mtu: u32,
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
    let mut socket = Socket::open_in(pod)?;
    let ours = |socket: &mut Socket| {
        let mut links = link::list(socket)?;
        links.retain(Seen::is_marked);
        Ok::<_, Error>(links)
    };
    let near = ours(&mut socket)?;
    if near.is_empty() {
        return Ok(Vec::new());
    }
    let mut other = Socket::open_in(forwarder)?;
    let far = ours(&mut other)?;
    // What a pod may choose within its own namespace proves nothing: its end has to be here.
    let far_number = link::number(&mut socket, forwarder)?;
    let near_number = link::number(&mut other, pod)?;
    let (Some(_), Some(_)) = (far_number, near_number) else {
        return Ok(Vec::new());
    };
    let mut pairs = Vec::new();
    for seen in near {
        let is_its_peer = |other: &&Seen| {
            (other.peer_index, other.index) == (seen.index, seen.peer_index)
                && (seen.peer_netns, other.peer_netns) == (far_number, near_number)
                && other.name.starts_with(ATTACHMENT_PREFIX)
        };
        if let Some(other) = far.iter().find(is_its_peer) {
            pairs.push(Pair {
                addresses: addresses(&mut socket, seen.index)?,
                routes: routes(&mut socket, seen.index)?,
                mtu: seen.mtu.max(other.mtu),
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

fn routes(socket: &mut Socket, index: u32) -> Result<BTreeSet<IpNetwork>, Error> {
    let mut routes = routes_of(socket, index, true)?;
    routes.extend(routes_of(socket, index, false)?);
    Ok(routes)
}
