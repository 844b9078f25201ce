//! Wiring one pod to its Forwarder: a veth pair, host routes, permanent neighbours, no bridge.
//!
//! ```text
//! pod's namespace                              Forwarder's namespace
//!  eth0  10.80.1.2/32  == veth ==  app3f2a..   route 10.80.1.2 dev app3f2a..
//!  routes -> 169.254.1.1 onlink                neighbour 10.80.1.2 -> pod's MAC, permanent
//!  neighbour 169.254.1.1 -> app's MAC, permanent
//! ```
//! Nobody asks who has an address: both ends know each other's MAC from the start.
//!
//! Marks: both ends are in the interface group [`LINK_GROUP`](crate::LINK_GROUP) from their first
//! moment; the alias follows. What carries neither is never deleted.

mod link;
mod pairs;
mod unwire;
mod verify;
mod wire;

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::mac::Mac;

pub use pairs::{Pair, pairs};
pub use unwire::{pod_interfaces, unwire, unwire_pod};
pub use verify::verify;
pub use wire::wire;

/// One pod wired to one Forwarder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
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
    /// What the pod reaches through the gateway of the same family.
    pub routes: Vec<IpNetwork>,
    /// Of both ends, in bytes.
    pub mtu: u32,
    /// Alias of the Forwarder's end; begins with [`ALIAS_PREFIX`](crate::ALIAS_PREFIX).
    pub alias: String,
    /// Who may delete the pod's end.
    pub owner: Owner,
}

/// To whom a pod's end belongs, told by its alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Alias of the pod's end; begins with [`ALIAS_PREFIX`](crate::ALIAS_PREFIX).
    pub alias: String,
    /// Names under which an end without alias (its maker was killed) is the owner's: this one ...
    pub interface: String,
    /// ... and all that begin with this.
    pub interface_prefix: String,
}

impl Attachment {
    /// The gateway of the same family as `of`.
    fn gateway(&self, of: &IpNetwork) -> Option<IpAddr> {
        let mut gateways = self.gateways.iter().copied();
        gateways.find(|gateway| gateway.is_ipv4() == of.is_ipv4())
    }
}
