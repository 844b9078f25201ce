//! `Forwarder`: one data-plane instance, derived from a topology and owned by it.

mod shared;

use std::{collections::BTreeMap, fmt, sync::Arc};

use ipnetwork::IpNetwork;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use topology::LinkId;

pub use self::shared::SharedValues;
use crate::{
    Metadata, cidr, names,
    selector::LabelSelector,
    status::{Condition, LinkCount},
    topology::{Liveness, Routing},
};

mod link_state;

pub use link_state::{LinkDirection, LinkHealth, LinkState, MAX_DETAILED, MAX_REASON};

/// Object with all that a node needs to program one Forwarder, and with the node's report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Forwarder {
    /// [`crate::API_VERSION`].
    pub api_version: String,
    /// [`Forwarder::KIND`].
    pub kind: String,
    /// Object name (see [`crate::names::object`]) and the topology's namespace.
    pub metadata: Metadata,
    /// Desired state.
    pub spec: ForwarderSpec,
    /// Status, reported by the Forwarder's node.
    #[serde(default, skip_serializing_if = "ForwarderStatus::is_empty")]
    pub status: ForwarderStatus,
}

/// Desired state of one Forwarder.
#[derive(
    CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema,
)]
#[kube(
    group = "beemesh.io",
    version = "v1alpha1",
    kind = "Forwarder",
    root = "ForwarderObject",
    doc = "One data-plane instance of a MicroServiceTopology, on one node. Derived: do not edit.",
    namespaced,
    status = "ForwarderStatus",
    shortname = "fwd",
    category = "all",
    category = "beemesh",
    selectable = ".spec.node",
    selectable = ".spec.topology"
)]
#[serde(rename_all = "camelCase")]
pub struct ForwarderSpec {
    /// Name of the topology, in the same namespace.
    pub topology: String,
    /// Name of the Forwarder in the topology.
    pub name: String,
    /// The node it is on; empty until it has one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// CIDRs of the topology, which pods route to it.
    #[serde(with = "cidr", default)]
    #[schemars(with = "Vec<String>")]
    pub cidrs: Vec<IpNetwork>,
    /// External prefixes of the topology, which pods route to it as well.
    #[serde(with = "cidr", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub external: Arc<Vec<IpNetwork>>,
    /// Its own block of each of `cidrs`; the first host address is its own.
    #[serde(with = "cidr", default)]
    #[schemars(with = "Vec<String>")]
    pub blocks: Vec<IpNetwork>,
    /// Its ends of the links, sorted by id.
    #[serde(default)]
    pub links: Vec<ForwarderLink>,
    /// The Apps that may be or are attached to it, sorted by name.
    #[serde(default)]
    pub apps: Vec<Arc<ForwarderApp>>,
    /// Other Kubernetes namespaces whose pods may join by naming the topology; `*` means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_namespaces: Arc<Vec<String>>,
    /// Routing.
    #[serde(default)]
    pub routing: Routing,
    /// Liveness detection of links.
    #[serde(default)]
    pub liveness: Liveness,
}

/// One end of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForwarderLink {
    /// The link's id: its ends in byte order, `A/B`, and `A/B#2`, ... for parallel ones.
    pub id: String,
    /// The Forwarder at the other end.
    pub peer: String,
    /// The node that `peer` is on.
    pub peer_node: String,
    /// Weight from here to `peer`.
    pub weight: u32,
    /// Weight from `peer` to here.
    pub weight_back: u32,
    /// Type of the link, resolved.
    pub r#type: WireType,
    /// The VXLAN network identifier, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vni: Option<u32>,
    /// MTU in bytes; computed from the underlay when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
}

/// Type of a link, once both ends have a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WireType {
    /// A veth pair: both ends on one node.
    Veth,
    /// A VXLAN tunnel between two nodes.
    Vxlan,
}

/// An App as one Forwarder sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForwarderApp {
    /// Its name in the topology.
    pub name: String,
    /// The pods that are instances of it; without one pods join by annotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// Weight from the Forwarder to the App.
    pub weight: u32,
    /// True when the App is pinned to this Forwarder.
    #[serde(default)]
    pub insist: bool,
    /// True when the attachment is an edge of the graph.
    #[serde(default)]
    pub attached: bool,
    /// The prefixes, where the App is external.
    #[serde(with = "cidr", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub external: Vec<IpNetwork>,
}

/// Status of a Forwarder, reported by its node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ForwarderStatus {
    /// Numbers of links: up, and in total.
    pub links: LinkCount,
    /// The same as text, such as `4/4`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub links_up: String,
    /// The table that the operator expects while all links are up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub computed: Option<Computed>,
    /// Epoch of the topology in which the programmed table became what it is. Later epochs may have the same
    /// table.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub epoch: String,
    /// Digest of the programmed table.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// Its network namespace, a name that `ip netns exec` takes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub netns: String,
    /// The pods attached to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<AttachmentStatus>,
    /// Each link as seen from here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub link_states: Vec<LinkState>,
    /// Standing facts, such as `Ready`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// A computed table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Computed {
    /// Epoch of the global topology in which the table became what it is, 16 hexadecimal digits. Later
    /// epochs may have the same table.
    pub epoch: String,
    /// Digest of the table, 16 hexadecimal digits.
    pub digest: String,
}

/// One attached pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttachmentStatus {
    /// The App that the pod is an instance of.
    pub app: String,
    /// Container id and interface, the attachment's key at the container runtime.
    pub key: String,
    /// `namespace/name` of the pod, where there is one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pod: String,
    /// Its addresses.
    #[serde(with = "cidr")]
    #[schemars(with = "Vec<String>")]
    pub addresses: Vec<IpNetwork>,
}

impl ForwarderLink {
    /// The number of the link among parallel ones: 1 for `A/B`, 2 for `A/B#2`.
    pub fn ordinal(&self) -> u32 {
        LinkId::parse(&self.id).map_or(1, |id| id.ordinal())
    }

    /// Name of the interface of this end, in the Forwarder's network namespace.
    pub fn interface(&self) -> String {
        names::link(&self.peer, self.ordinal())
    }
}

/// Kubernetes namespace and name of a topology: the address space of its Forwarders and Apps. Addresses of different topologies
/// never conflict.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopologyKey {
    /// Kubernetes namespace of the topology.
    pub namespace: String,
    /// Name of the topology.
    pub topology: String,
}

impl fmt::Display for TopologyKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.topology)
    }
}

impl Forwarder {
    /// The `kind` in YAML.
    pub const KIND: &'static str = "Forwarder";

    /// The topology that the Forwarder is of.
    pub fn topology_key(&self) -> TopologyKey {
        TopologyKey {
            namespace: self.metadata.namespace.clone(),
            topology: self.spec.topology.clone(),
        }
    }

    /// The object of a Forwarder, in the namespace of its topology, without status.
    pub fn new(namespace: &str, spec: ForwarderSpec) -> Forwarder {
        let mut metadata = Metadata::named(crate::names::object(&spec.topology, &spec.name));
        metadata.namespace = namespace.to_owned();
        metadata.labels = BTreeMap::from([(TOPOLOGY_LABEL.to_owned(), spec.topology.clone())]);
        Forwarder {
            api_version: crate::API_VERSION.to_owned(),
            kind: Forwarder::KIND.to_owned(),
            metadata,
            spec,
            status: ForwarderStatus::default(),
        }
    }
}

impl From<&ForwarderObject> for Forwarder {
    fn from(object: &ForwarderObject) -> Forwarder {
        Forwarder {
            api_version: crate::API_VERSION.to_owned(),
            kind: Forwarder::KIND.to_owned(),
            metadata: Metadata::from(&object.metadata),
            spec: object.spec.clone(),
            status: object.status.clone().unwrap_or_default(),
        }
    }
}

/// Most entries of [`ForwarderStatus::attachments`]: a node has a few hundred pods.
pub const MAX_ATTACHMENTS: usize = 4_096;
/// Longest message of a condition in characters, as of conditions of Kubernetes.
pub const MAX_MESSAGE: usize = 32_768;

/// Label of each Forwarder object with the name of its topology.
pub const TOPOLOGY_LABEL: &str = "beemesh.io/topology";

impl ForwarderStatus {
    fn is_empty(&self) -> bool {
        *self == ForwarderStatus::default()
    }
}
