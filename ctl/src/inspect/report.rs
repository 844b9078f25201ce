//! What `inspect` prints: written on a node, read by the verbs for clusters. Names that both rely on.

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the kernel of a node holds of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Kernel {
    /// By name.
    pub(crate) namespaces: Vec<Namespace>,
    /// Namespaces that could not be looked at, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) unread: BTreeMap<String, String>,
}

/// A Forwarder's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Namespace {
    /// Its name, one that `ip netns exec` takes.
    pub(crate) netns: String,
    /// The Forwarder object that it was made for, as the daemon has noted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) object: Option<String>,
    /// Interfaces that are ours, by name.
    pub(crate) links: Vec<Link>,
    /// Its own addresses.
    pub(crate) addresses: Vec<IpNetwork>,
    /// Next hop groups that are ours, by id.
    pub(crate) groups: Vec<Group>,
    /// Routes of the main table that are not the kernel's own, by prefix.
    pub(crate) routes: Vec<Route>,
    /// What was computed here from the last known objects, and what of it the kernel does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) table: Option<Held>,
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Link {
    /// Its name.
    pub(crate) interface: String,
    /// `veth`, `vxlan`, ...
    pub(crate) kind: String,
    /// What it stands for: `TOPOLOGY/LINK`, or an attachment.
    pub(crate) alias: String,
    /// Packets can pass.
    pub(crate) up: bool,
    /// In bytes.
    pub(crate) mtu: u32,
    /// Of a VXLAN device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) vni: Option<u32>,
}

/// A next hop group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Group {
    /// Its id.
    pub(crate) id: u32,
    /// The interfaces that share the flows.
    pub(crate) interfaces: Vec<String>,
    /// Only flows of what is lost move.
    pub(crate) resilient: bool,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Route {
    /// Destination.
    pub(crate) prefix: IpNetwork,
    /// Who made it.
    pub(crate) origin: Origin,
    /// The interfaces it leads over, by name; none where that cannot be told.
    pub(crate) interfaces: Vec<String>,
}

/// Who made a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Origin {
    /// The daemon, from a table.
    Table,
    /// The CNI plugin, to a pod.
    Attachment,
    /// Somebody else.
    Foreign,
}

/// A computed table, held against the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Held {
    /// Epoch of the topology with the links that are up.
    pub(crate) epoch: String,
    /// Digest of the table computed from it.
    pub(crate) computed: String,
    /// Digest of the table that the kernel holds.
    pub(crate) kernel: String,
    /// What differs, by prefix.
    pub(crate) differences: Vec<Differing>,
}

/// A prefix that the kernel sends elsewhere than was computed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Differing {
    /// Destination.
    pub(crate) prefix: IpNetwork,
    /// The Forwarder or external App that has the prefix; empty for a prefix of nobody.
    pub(crate) to: String,
    /// Next hops as `PEER by LINK`; empty for no route.
    pub(crate) expected: Vec<String>,
    /// The same of the kernel; an interface that is no link under its own name.
    pub(crate) found: Vec<String>,
}

/// The leases of a node.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Leases {
    /// By what the runtime calls them.
    pub(crate) leases: Vec<node::leases::Lease>,
    /// Places in the journal that cannot be read.
    pub(crate) damaged: usize,
}

/// What of ours a node holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Census {
    /// How many of each kind there are.
    pub(crate) counts: BTreeMap<String, u64>,
    /// What nobody needs.
    pub(crate) leaks: Vec<Leak>,
    /// Why leaks of some kinds cannot be told from what is needed.
    pub(crate) unknown: Vec<String>,
}

/// One thing that nobody needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Leak {
    /// What it is.
    pub(crate) kind: Kind,
    /// Its name.
    pub(crate) name: String,
    /// The namespace that it is in.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) netns: String,
    /// Why nobody needs it.
    pub(crate) why: String,
    /// Whether there are two proofs of that.
    pub(crate) removable: bool,
}

/// Kinds of things that a node holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
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
    pub(crate) fn as_str(self) -> &'static str {
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
pub(crate) struct Collected {
    /// Nothing was changed.
    pub(crate) dry_run: bool,
    /// What was removed, or would be.
    pub(crate) removed: Vec<Leak>,
    /// What has but one proof against it, or could not be removed: in `why`.
    pub(crate) kept: Vec<Leak>,
    /// Why leaks of some kinds cannot be told from what is needed.
    pub(crate) unknown: Vec<String>,
}

/// What came of pinging.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Pinged {
    /// By destination, in the order asked.
    pub(crate) to: Vec<PingedOne>,
}

/// What came of pinging one address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PingedOne {
    /// The address.
    pub(crate) address: std::net::IpAddr,
    /// Requests.
    pub(crate) sent: u64,
    /// Requests that were answered.
    pub(crate) received: u64,
    /// Mean round trip in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mean_ms: Option<f64>,
    /// What the sender's own kernel refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refused: Option<String>,
}

/// The ways that flows took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Traced {
    /// One for each flow.
    pub(crate) flows: Vec<Flow>,
}

/// The way of one flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Flow {
    /// Source port.
    pub(crate) source_port: u16,
    /// What each router answered with, in order; none: it stayed silent.
    pub(crate) hops: Vec<Option<std::net::IpAddr>>,
    /// Whether it arrived.
    pub(crate) reached: bool,
}
