//! Answers of `beemesh-node inspect` as JSON: written by the node, read by the command.

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the kernel of a node holds of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Kernel {
    /// By name.
    pub namespaces: Vec<Namespace>,
    /// Namespaces that could not be looked at, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unread: BTreeMap<String, String>,
}

/// A Forwarder's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Namespace {
    /// Its name, one that `ip netns exec` takes.
    pub netns: String,
    /// The Forwarder object that it was made for, as the daemon has noted it.
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
    /// What was computed here from the last known objects, and what of it the kernel does not hold.
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
    /// What it stands for: `TOPOLOGY/LINK`, or an attachment.
    pub alias: String,
    /// Packets can pass.
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
    /// Only flows of what is lost move.
    pub resilient: bool,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Destination.
    pub prefix: IpNetwork,
    /// Who made it.
    pub origin: Origin,
    /// The interfaces it leads over, by name; none where that cannot be told.
    pub interfaces: Vec<String>,
}

/// Who made a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The daemon, from a table.
    Table,
    /// The daemon: a prefix of the topology, where nothing longer leads.
    Unreachable,
    /// The CNI plugin, to a pod.
    Attachment,
    /// Somebody else.
    Foreign,
}

/// A computed table, held against the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Held {
    /// Epoch of the topology with the links that are up.
    pub epoch: String,
    /// Digest of the table computed from it.
    pub computed: String,
    /// Digest of the table that the kernel holds.
    pub kernel: String,
    /// What differs, by prefix.
    pub differences: Vec<Differing>,
}

/// A prefix that the kernel sends elsewhere than was computed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Differing {
    /// Destination.
    pub prefix: IpNetwork,
    /// The Forwarder or external App that has the prefix; empty for a prefix of nobody.
    pub to: String,
    /// Next hops as `PEER by LINK`; empty for no route.
    pub expected: Vec<String>,
    /// The same of the kernel; an interface that is no link under its own name.
    pub found: Vec<String>,
}

/// The leases of a node: of its lease journal the fields `leases` and `damaged` as the node prints them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Leases<L = Lease> {
    /// In the order of their keys.
    pub leases: Vec<L>,
    /// Places in the journal that cannot be read.
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

/// What of ours a node holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Census {
    /// How many of each kind there are.
    pub counts: BTreeMap<String, u64>,
    /// What nobody needs.
    pub leaks: Vec<Leak>,
    /// Why leaks of some kinds cannot be told from what is needed.
    pub unknown: Vec<String>,
}

/// One thing that nobody needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Leak {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The namespace that it is in.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub netns: String,
    /// Why nobody needs it.
    pub why: String,
    /// Whether there are two proofs of that.
    pub removable: bool,
}

/// Kinds of things that a node holds.
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
    /// A socket that nobody serves.
    Socket,
}

impl Kind {
    /// As in JSON.
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

/// What `gc` came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Collected {
    /// Nothing was changed.
    pub dry_run: bool,
    /// What was removed, or would be.
    pub removed: Vec<Leak>,
    /// What has but one proof against it, or could not be removed: in `why`.
    pub kept: Vec<Leak>,
    /// Why leaks of some kinds cannot be told from what is needed.
    pub unknown: Vec<String>,
}

/// What came of pinging.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pinged {
    /// By destination, in the order asked.
    pub to: Vec<PingedOne>,
}

/// What came of pinging one address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PingedOne {
    /// The address.
    pub address: std::net::IpAddr,
    /// Requests.
    pub sent: u64,
    /// Requests that were answered.
    pub received: u64,
    /// Mean round trip in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_ms: Option<f64>,
    /// What the sender's own kernel refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// The ways that flows took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Traced {
    /// One for each flow.
    pub flows: Vec<Flow>,
}

/// The way of one flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Flow {
    /// Source port.
    pub source_port: u16,
    /// What each router answered with, in order; none: it stayed silent.
    pub hops: Vec<Option<std::net::IpAddr>>,
    /// Whether it arrived.
    pub reached: bool,
}
