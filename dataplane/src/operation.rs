//! Operations that change the observed state into the desired one.

use std::{borrow::Cow, collections::BTreeSet, fmt, net::IpAddr};

use ipnetwork::IpNetwork;

use crate::{
    Error,
    mac::Mac,
    observed::Rule,
    state::{Balance, Link},
};

/// One change in one namespace. The order of the variants is the order in which kinds of changes are applied
/// (routing keeps the order in which it was planned).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Make the namespace and bring `lo` up.
    CreateNamespace,
    /// Write one of [`crate::SETTINGS`], or a setting of one interface.
    WriteSetting {
        /// Path below `/proc/sys/net`.
        path: Cow<'static, str>,
        /// Value to write.
        value: &'static str,
    },
    /// Delete an own interface that differs in an immutable property, or is unwanted.
    DeleteLink {
        /// Interface name.
        name: String,
    },
    /// Make an interface (for a veth, both ends) and bring it up. One that is there and the same is adopted.
    CreateLink {
        /// Interface name.
        name: String,
        /// Desired link.
        link: Link,
    },
    /// Change MAC, MTU and alias of an own interface.
    ChangeLink {
        /// Interface name.
        name: String,
        /// Desired link.
        link: Link,
    },
    /// Add a routing rule that every namespace begins with.
    AddRule(Rule),
    /// Bring up the Forwarder's end of an attachment.
    EnableLink {
        /// Interface name.
        name: String,
    },
    /// Add an address to `lo`.
    AddAddress(IpNetwork),
    /// Add a pods' gateway to the Forwarder's end of an attachment.
    AddGateway {
        /// Interface name.
        link: String,
        /// The gateway.
        address: IpAddr,
    },
    /// Make or change a permanent neighbour.
    SetNeighbour {
        /// Interface name.
        link: String,
        /// Its address.
        address: IpAddr,
        /// Its link-layer address.
        mac: Mac,
    },
    /// Make a VXLAN forwarding entry the only one of its MAC.
    SetForwarding {
        /// Interface name.
        link: String,
        /// Inner destination.
        mac: Mac,
        /// Underlay address.
        remote: IpAddr,
    },
    /// Delete a VXLAN forwarding entry.
    DeleteForwarding {
        /// Interface name.
        link: String,
        /// Inner destination.
        mac: Mac,
        /// Underlay address.
        remote: IpAddr,
    },
    /// Make or change a nexthop object.
    SetNexthop {
        /// Its id.
        id: u32,
        /// Interface name.
        link: String,
        /// Address of the peer on that link.
        gateway: IpAddr,
    },
    /// Make or change a group, atomically.
    SetGroup {
        /// Its id.
        id: u32,
        /// Ids of its members, at least one.
        members: BTreeSet<u32>,
        /// Balance of flows over the members.
        balance: Balance,
    },
    /// Make a route or lead it elsewhere, atomically.
    SetRoute {
        /// Destination.
        prefix: IpNetwork,
        /// Id of the group.
        group: u32,
        /// True when an own route was observed. Otherwise, a route that appears meanwhile is not overwritten.
        replace: bool,
    },
    /// Make a route out of one interface, or lead it there.
    SetDeviceRoute {
        /// Destination.
        prefix: IpNetwork,
        /// Interface name.
        link: String,
    },
    /// Make the route to a pod, as the CNI plugin does, or lead it there again.
    SetPodRoute {
        /// Address of the pod.
        address: IpAddr,
        /// Interface name.
        link: String,
        /// True when a route of an attachment was observed. Otherwise, a foreign route is not overwritten.
        replace: bool,
    },
    /// Make a route that leads nowhere, or lead one nowhere.
    SetUnreachable {
        /// Destination.
        prefix: IpNetwork,
        /// As in [`Operation::SetRoute`].
        replace: bool,
    },
    /// Delete an own route.
    DeleteRoute(IpNetwork),
    /// Delete an own group or nexthop that no route uses.
    DeleteNexthop(u32),
    /// Delete an own permanent neighbour.
    DeleteNeighbour {
        /// Interface name.
        link: String,
        /// Its address.
        address: IpAddr,
    },
    /// Delete an own address from `lo`.
    DeleteAddress(IpNetwork),
    /// Delete the namespace and all that is in it.
    DeleteNamespace,
}

impl fmt::Display for Operation {
    /// Names the object, for errors: `route 10.0.0.0/24`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateNamespace | Self::DeleteNamespace => write!(f, "network namespace"),
            Self::WriteSetting { path, .. } => write!(f, "setting net/{path}"),
            Self::DeleteLink { name }
            | Self::CreateLink { name, .. }
            | Self::EnableLink { name }
            | Self::ChangeLink { name, .. } => write!(f, "link {name}"),
            Self::AddRule(rule) => {
                let family = if rule.is_ipv4 { "IPv4" } else { "IPv6" };
                write!(f, "{family} rule of table {}", rule.table)
            }
            Self::AddGateway { link, address } => write!(f, "address {address} on {link}"),
            Self::AddAddress(address) | Self::DeleteAddress(address) => {
                write!(f, "address {address}")
            }
            Self::SetNeighbour { link, address, .. } | Self::DeleteNeighbour { link, address } => {
                write!(f, "neighbour {address} on {link}")
            }
            Self::SetForwarding { link, remote, .. }
            | Self::DeleteForwarding { link, remote, .. } => {
                write!(f, "forwarding entry to {remote} on {link}")
            }
            Self::SetNexthop { id, link, .. } => write!(f, "nexthop {id} on {link}"),
            Self::SetGroup { id, .. } => write!(f, "nexthop group {id}"),
            Self::SetRoute { prefix, .. }
            | Self::SetDeviceRoute { prefix, .. }
            | Self::SetUnreachable { prefix, .. }
            | Self::DeleteRoute(prefix) => write!(f, "route {prefix}"),
            Self::SetPodRoute { address, .. } => write!(f, "route to pod {address}"),
            Self::DeleteNexthop(id) => write!(f, "nexthop {id}"),
        }
    }
}

/// An operation that failed.
#[derive(Debug, thiserror::Error)]
#[error("{netns}: {operation}")]
pub struct Failure {
    /// Namespace.
    pub netns: String,
    /// Operation.
    pub operation: String,
    /// Reason.
    pub source: Error,
}
