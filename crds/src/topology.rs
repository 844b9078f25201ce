//! `MicroServiceTopology`: one declared graph of Forwarders, links and Apps.

use std::{collections::BTreeMap, time::Duration};

use ipnetwork::IpNetwork;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    API_VERSION, Metadata, cidr, duration, selector::LabelSelector, status::TopologyStatus,
};

/// Topology as declared by a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MicroServiceTopology {
    /// [`API_VERSION`].
    pub api_version: String,
    /// [`MicroServiceTopology::KIND`].
    pub kind: String,
    /// Its name (a DNS label) and namespace.
    pub metadata: Metadata,
    /// Desired state.
    pub spec: MicroServiceTopologySpec,
}

/// Desired state of a topology.
#[derive(
    CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema,
)]
#[kube(
    group = "beemesh.io",
    version = "v1alpha1",
    kind = "MicroServiceTopology",
    root = "TopologyObject",
    doc = "A graph of Forwarders, links and Apps that is made a routed network.",
    namespaced,
    status = "TopologyStatus",
    shortname = "mst",
    category = "all",
    category = "beemesh"
)]
#[serde(rename_all = "camelCase")]
pub struct MicroServiceTopologySpec {
    /// Address ranges.
    #[serde(default)]
    pub addressing: Addressing,
    /// Named Forwarders; not together with `forwarder_per_node`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forwarders: Vec<ForwarderEntry>,
    /// One Forwarder on each matching node, named as the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarder_per_node: Option<ForwarderPerNode>,
    /// Shape of the links, with Forwarders in the order of their declaration.
    #[serde(default)]
    pub shape: Shape,
    /// Explicit links: they replace the shape's link between the same two Forwarders, or are added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<LinkEntry>,
    /// Routing.
    #[serde(default)]
    pub routing: Routing,
    /// Liveness detection of links.
    #[serde(default)]
    pub liveness: Liveness,
    /// Attached Apps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apps: Vec<AppEntry>,
    /// Other Kubernetes namespaces whose pods may join; `*` means all. Such a pod names the
    /// topology in its annotation `beemesh.io/topologies`: no selector reaches it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_namespaces: Vec<String>,
    /// Drained Forwarders and links, which carry traffic only without another path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
}

/// Forwarders and links that carry traffic only when nothing else can (RFC 6987, RFC 8500).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Drain {
    /// Forwarders: all their links, in both directions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forwarders: Vec<String>,
    /// Links by their ends: `A/B` means all parallel ones, `A/B#1`, `A/B#2`, ... one of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<String>,
}

/// Address ranges of a topology.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Addressing {
    /// One CIDR for each family, immutable.
    #[serde(with = "cidr")]
    #[schemars(with = "Vec<String>")]
    pub cidrs: Vec<IpNetwork>,
    /// Prefix length of one Forwarder's block, in the order of `cidrs`; chosen when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub block_prefixes: Vec<u8>,
}

/// A named Forwarder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForwarderEntry {
    /// Its name, unique among Forwarders and Apps of the topology.
    pub name: String,
    /// Node that it must be on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Labels that its node must have. With neither field it may be on any node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
}

/// One Forwarder on each node that matches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForwarderPerNode {
    /// Labels that a node must have; empty means every node.
    #[serde(default)]
    pub node_selector: BTreeMap<String, String>,
}

/// Shape of the links that `links` does not declare. Twin of the shapes in `topology`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Shape {
    /// Full mesh: a link between every two Forwarders.
    Mesh,
    /// Ring: a link from each Forwarder to the next, and from the last to the first.
    Ring,
    /// Line: a link from each Forwarder to the next.
    Line,
    /// Star: a link from the first Forwarder to every other one.
    Star,
    /// A binary tree, the first is the root.
    Tree,
    /// A square grid, row by row.
    Grid,
    /// A leaf-spine fabric, the first ones are the spines.
    Fabric,
    /// Only the declared links.
    #[default]
    Custom,
}

/// A link, written once for both directions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinkEntry {
    /// One end: a Forwarder's name.
    pub a: String,
    /// The other end.
    pub b: String,
    /// Weight from `a` to `b`, 1 or more.
    #[serde(default = "one", deserialize_with = "crate::number::weight")]
    pub weight: u32,
    /// Weight from `b` to `a` where it differs.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::number::some_weight"
    )]
    pub weight_back: Option<u32>,
    /// Type of the link.
    #[serde(default)]
    pub r#type: LinkType,
    /// MTU in bytes; computed from the underlay when absent.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::number::some_whole"
    )]
    pub mtu: Option<u32>,
}

/// Type of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LinkType {
    /// veth on one node, VXLAN between nodes.
    #[default]
    Auto,
    /// A veth pair: both ends on one node.
    Veth,
    /// A VXLAN tunnel between two nodes.
    Vxlan,
    /// An encrypted tunnel. Reserved: refused for now.
    Encrypted,
}

/// Routing settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Routing {
    /// Most next hops of one route, 1 to 256.
    #[serde(deserialize_with = "crate::number::whole")]
    pub max_paths: u32,
    /// True when flows keep their next hop while another one is lost, where the kernel supports it
    /// (resilient next-hop groups).
    pub resilient: bool,
}

/// Liveness detection of links (BFD, RFC 5880).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Liveness {
    /// Interval between two packets, such as `100ms`.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub interval: Duration,
    /// Number of lost packets after which the link counts as down (detect multiplier).
    #[serde(deserialize_with = "crate::number::whole")]
    pub multiplier: u32,
}

/// Attached App: pods by selector, pods by annotation (neither field), or an external prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppEntry {
    /// Its name, unique among Forwarders and Apps of the topology.
    pub name: String,
    /// Selector of the pods that are instances of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
    /// Hosts or networks outside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<External>,
    /// `Auto`, or the Forwarder that every instance must be on.
    #[serde(default = "auto", skip_serializing_if = "is_auto")]
    pub forwarder: String,
    /// Weight from the Forwarder to the App, 1 or more.
    #[serde(
        default = "one",
        skip_serializing_if = "is_one",
        deserialize_with = "crate::number::weight"
    )]
    pub weight: u32,
}

/// Prefixes behind a Forwarder, outside the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct External {
    /// The Forwarder that they are behind.
    pub forwarder: String,
    /// The prefixes.
    #[serde(with = "cidr")]
    #[schemars(with = "Vec<String>")]
    pub cidrs: Vec<IpNetwork>,
}

/// The least weight of a drained link: above that of any path of links that are not drained, in
/// all but the strangest topologies, and low enough that thousands of them add up.
pub const DRAINED_WEIGHT: u32 = (1 << 24) - 2;

/// Value of [`AppEntry::forwarder`] for any Forwarder.
pub const AUTO: &str = "Auto";

impl MicroServiceTopology {
    /// The `kind` in YAML.
    pub const KIND: &'static str = "MicroServiceTopology";

    /// A topology in the namespace `default`.
    pub fn new(name: impl Into<String>, spec: MicroServiceTopologySpec) -> MicroServiceTopology {
        MicroServiceTopology {
            api_version: API_VERSION.to_owned(),
            kind: Self::KIND.to_owned(),
            metadata: Metadata::named(name),
            spec,
        }
    }
}

impl From<&TopologyObject> for MicroServiceTopology {
    fn from(object: &TopologyObject) -> MicroServiceTopology {
        MicroServiceTopology {
            api_version: API_VERSION.to_owned(),
            kind: Self::KIND.to_owned(),
            metadata: Metadata::from(&object.metadata),
            spec: object.spec.clone(),
        }
    }
}

impl LinkEntry {
    /// A link with this weight in both directions.
    pub fn new(a: impl Into<String>, b: impl Into<String>, weight: u32) -> LinkEntry {
        LinkEntry {
            a: a.into(),
            b: b.into(),
            weight,
            weight_back: None,
            r#type: LinkType::Auto,
            mtu: None,
        }
    }

    /// Weight from `b` to `a`.
    pub fn weight_back(&self) -> u32 {
        self.weight_back.unwrap_or(self.weight)
    }
}

impl AppEntry {
    /// An App without selector, on any Forwarder, with weight 1.
    pub fn new(name: impl Into<String>) -> AppEntry {
        AppEntry {
            name: name.into(),
            pod_selector: None,
            external: None,
            forwarder: auto(),
            weight: 1,
        }
    }

    /// Forwarder that it must be on; `None` for any.
    pub fn pinned(&self) -> Option<&str> {
        match &self.external {
            Some(external) => Some(&external.forwarder),
            None if self.forwarder == AUTO => None,
            None => Some(&self.forwarder),
        }
    }
}

impl Default for Addressing {
    /// A private range of each family: topologies never see one another, so they may share it.
    fn default() -> Addressing {
        let v4 = IpNetwork::V4("10.80.0.0/16".parse().expect("a constant CIDR"));
        let v6 = IpNetwork::V6("fd00:80::/48".parse().expect("a constant CIDR"));
        Addressing {
            cidrs: vec![v4, v6],
            block_prefixes: Vec::new(),
        }
    }
}

impl Default for Routing {
    fn default() -> Routing {
        Routing {
            max_paths: 64,
            resilient: true,
        }
    }
}

impl Default for Liveness {
    fn default() -> Liveness {
        Liveness {
            interval: Duration::from_millis(100),
            multiplier: 3,
        }
    }
}

fn one() -> u32 {
    1
}

fn is_one(weight: &u32) -> bool {
    *weight == 1
}

fn auto() -> String {
    AUTO.to_owned()
}

fn is_auto(forwarder: &String) -> bool {
    forwarder == AUTO
}
