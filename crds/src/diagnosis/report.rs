//! Answers of `beemesh-node inspect` as JSON: written by the node, read by the command.

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Kernel state of beemesh on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Kernel {
    /// By name.
    pub namespaces: Vec<Namespace>,
    /// Namespaces that could not be observed, with the reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unread: BTreeMap<String, String>,
}

/// A Forwarder's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Namespace {
    /// Its name, one that `ip netns exec` takes.
    pub netns: String,
    /// Forwarder object of the namespace, from the daemon's registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Interfaces that are ours, by name.
    pub links: Vec<Link>,
    /// Its own addresses.
    pub addresses: Vec<IpNetwork>,
    /// Next hop groups that are ours, by id.
    pub groups: Vec<Group>,
    /// Routes of the main table that are not the kernel's own, by prefix.
    pub routes: Vec<Route>,
    /// Table computed from the cached objects, and its differences from the kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<Held>,
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Link {
    /// Its name.
    pub interface: String,
    /// `veth`, `vxlan`, ...
    pub kind: String,
    /// Link or attachment: `TOPOLOGY/LINK`, or the attachment's key.
    pub alias: String,
    /// True when packets can pass.
    pub up: bool,
    /// In bytes.
    pub mtu: u32,
    /// Of a VXLAN device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vni: Option<u32>,
}

/// A next hop group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Group {
    /// Its id.
    pub id: u32,
    /// The interfaces that share the flows.
    pub interfaces: Vec<String>,
    /// True for a resilient group: only flows of a lost next hop move.
    pub resilient: bool,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Destination.
    pub prefix: IpNetwork,
    /// Creator.
    pub origin: Origin,
    /// Interfaces of the next hops, by name; empty where they are unknown.
    pub interfaces: Vec<String>,
}

/// Creator of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The daemon, from a table.
    Table,
    /// The daemon: fallback for a prefix of the topology.
    Unreachable,
    /// The CNI plugin, to a pod.
    Attachment,
    /// Another program.
    Foreign,
}

/// Comparison of a computed table with the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Held {
    /// Epoch of the topology with the links that are up.
    pub epoch: String,
    /// Digest of the table computed from it.
    pub computed: String,
    /// Digest of the table that the kernel holds.
    pub kernel: String,
    /// Differences, by prefix.
    pub differences: Vec<Differing>,
}

/// Prefix whose next hops in the kernel differ from the computed ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Differing {
    /// Destination.
    pub prefix: IpNetwork,
    /// Forwarder or external App of the prefix; empty for an unassigned prefix.
    pub to: String,
    /// Next hops as `PEER by LINK`; empty for no route.
    pub expected: Vec<String>,
    /// Next hops in the kernel; an interface that is no link under its own name.
    pub found: Vec<String>,
}

/// The leases of a node: of its lease journal the fields `leases` and `damaged` as the node prints them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Leases<L = Lease> {
    /// In the order of their keys.
    pub leases: Vec<L>,
    /// Number of unreadable ranges in the journal.
    pub damaged: usize,
}

/// One lease, without the wiring that only its node needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// Its identity at the runtime.
    pub key: LeaseKey,
    /// The pod as `NAMESPACE/NAME`.
    pub pod: String,
}

/// Identity of an attachment (CNI specification 1.1.0, section 2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeaseKey {
    /// Name of the network configuration.
    pub network: String,
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_IFNAME`.
    pub ifname: String,
}

/// Objects of beemesh on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Census {
    /// Numbers of objects, by kind.
    pub counts: BTreeMap<String, u64>,
    /// Orphaned objects.
    pub leaks: Vec<Leak>,
    /// Reasons why orphans of some kinds cannot be identified.
    pub unknown: Vec<String>,
}

/// Orphaned object, which nothing needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Leak {
    /// Kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Network namespace of the object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub netns: String,
    /// Reason why it is orphaned.
    pub why: String,
    /// True when two proofs agree, so that `gc` may remove it.
    pub removable: bool,
}

/// Kinds of objects on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A Forwarder's namespace.
    Namespace,
    /// A link to another Forwarder.
    Link,
    /// The Forwarder's end of an attachment.
    Attachment,
    /// The pod's end of one.
    PodInterface,
    /// A next hop or a group of them.
    NextHop,
    /// A lease.
    Lease,
    /// A record in the queue of DELs.
    QueueFile,
    /// A report of another node's links.
    LinkState,
    /// A temporary or damaged file.
    StrayFile,
    /// A socket without a listener.
    Socket,
}

impl Kind {
    /// Name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::Link => "link",
            Self::Attachment => "attachment",
            Self::PodInterface => "pod-interface",
            Self::NextHop => "next-hop",
            Self::Lease => "lease",
            Self::QueueFile => "queue-file",
            Self::LinkState => "link-state",
            Self::StrayFile => "stray-file",
            Self::Socket => "socket",
        }
    }
}

/// Result of `gc`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Collected {
    /// True when nothing was changed.
    pub dry_run: bool,
    /// Removed objects; in a dry run, those that would be removed.
    pub removed: Vec<Leak>,
    /// Kept objects, with a single proof or a failed removal: the reason is in `why`.
    pub kept: Vec<Leak>,
    /// Reasons why orphans of some kinds cannot be identified.
    pub unknown: Vec<String>,
}

/// Result of a ping.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pinged {
    /// By destination, in the order asked.
    pub to: Vec<PingedOne>,
}

/// Result of pinging one address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PingedOne {
    /// The address.
    pub address: std::net::IpAddr,
    /// Number of requests.
    pub sent: u64,
    /// Number of answered requests.
    pub received: u64,
    /// Mean round trip in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_ms: Option<f64>,
    /// Error of the sender's own kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// Paths of flows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Traced {
    /// One for each flow.
    pub flows: Vec<Flow>,
}

/// Path of one flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Flow {
    /// Source port.
    pub source_port: u16,
    /// Answering address of each router, in order; `None` for a silent one.
    pub hops: Vec<Option<std::net::IpAddr>>,
    /// True when the flow arrived.
    pub reached: bool,
}
