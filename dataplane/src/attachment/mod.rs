//! Wiring one pod to its Forwarder: a veth pair, host routes, preset neighbours, no bridge.
//!
//! ```text
//! pod's namespace                              Forwarder's namespace
//!  eth0  10.80.1.2/32  == veth ==  app3f2a..   route 10.80.1.2 dev app3f2a..
//!  routes -> 169.254.1.1 onlink                neighbour 10.80.1.2 -> pod's MAC
//!  neighbour 169.254.1.1 -> app's MAC, permanent
//! ```
//! Both ends have each other's MAC address from the start, so the first packet needs no resolution. The Forwarder's entry is
//! not permanent: the pod announces a change of its MAC address (`arp_notify`, `ndisc_notify`), and ARP and neighbour discovery
//! work in both directions when an entry is lost.
//!
//! Marks: both ends are in the interface group [`LINK_GROUP`](crate::LINK_GROUP) from their creation; the alias follows. An
//! interface without either is never deleted, and an alias of another owner is never deleted on behalf of this one.

mod link;
mod pairs;
mod unwire;
mod verify;
mod wire;

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::mac::Mac;

pub use pairs::{Pair, pairs};
pub use unwire::{PodInterface, pod_interfaces, unwire, unwire_pod, unwire_unowned};
pub use verify::verify;
pub use wire::{restore, wire};

/// One pod wired to one Forwarder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodLink {
    /// Interface in the pod's namespace.
    pub pod_interface: String,
    /// Interface in the Forwarder's namespace.
    pub forwarder_interface: String,
    /// Address of the pod's end.
    pub pod_mac: Mac,
    /// Address of the Forwarder's end.
    pub forwarder_mac: Mac,
    /// The pod's addresses; the prefix length is taken for /32 or /128.
    pub addresses: Vec<IpNetwork>,
    /// The pod's gateways, at most one of a family.
    pub gateways: Vec<IpAddr>,
    /// Destinations that the pod reaches through the gateway of the same family.
    pub routes: Vec<IpNetwork>,
    /// Of both ends, in bytes.
    pub mtu: u32,
    /// Alias of the Forwarder's end; begins with [`ALIAS_PREFIX`](crate::ALIAS_PREFIX).
    pub alias: String,
    /// Alias of the pod's end: network, container and interface of the CNI call that owns it; begins with
    /// [`ALIAS_PREFIX`](crate::ALIAS_PREFIX).
    pub owner: String,
}

impl PodLink {
    /// The gateway of the same family as `of`.
    fn gateway(&self, of: &IpNetwork) -> Option<IpAddr> {
        let mut gateways = self.gateways.iter().copied();
        gateways.find(|gateway| gateway.is_ipv4() == of.is_ipv4())
    }
}
