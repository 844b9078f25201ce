//! From a declaration to Forwarder objects. Pure, and stable against what was there before.
//!
//! ```text
//! names and nodes (placement) -> links (wiring) -> blocks, VNIs -> Forwarder objects
//!          |                          |
//!          +--------- graph ----------+-> topology::Topology
//! ```

mod blocks;
mod graph;
mod placement;
mod vni;
pub(crate) mod wiring;

use std::collections::BTreeMap;

use ipnetwork::IpNetwork;

pub use self::{
    graph::{to_topology, to_topology_on, topology_of},
    vni::{FIRST_VNI, LAST_VNI},
};
use self::{placement::Place, wiring::Wire};
use crate::{
    Forwarder, ForwarderSpec, MicroServiceTopology, NodeObject, Problem,
    forwarder::{ForwarderApp, ForwarderLink, WireType},
    lint::lint,
    topology::{AppEntry, LinkType},
};

/// A node that Forwarders may be placed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The node's name.
    pub name: String,
    /// The node's labels.
    pub labels: BTreeMap<String, String>,
}

impl From<&str> for Node {
    fn from(name: &str) -> Node {
        Node {
            name: name.to_owned(),
            labels: BTreeMap::new(),
        }
    }
}

impl From<&NodeObject> for Node {
    fn from(node: &NodeObject) -> Node {
        Node {
            name: node.metadata.name.clone(),
            labels: node.metadata.labels.clone(),
        }
    }
}

/// How many instances each App has, where it is not one.
pub type Instances = BTreeMap<String, u32>;

/// The Forwarder objects of `topology`, sorted by name.
///
/// `nodes` are those that exist. `previous` are the Forwarder objects that exist, of every
/// topology: those of this one keep their node, blocks and VNIs, and no VNI is used twice.
/// `instances` says how many instances of an App with `forwarder: Auto` there are; one by default.
///
/// # Errors
/// What [`lint`] finds, and what only the nodes tell: no node matches, a veth between nodes.
///
/// # Guarantees
/// Equal arguments give equal objects. Blocks never overlap; a Forwarder that stays keeps its
/// blocks; no VNI that is in `previous` is given to another link.
pub fn expand(
    topology: &MicroServiceTopology,
    nodes: &[Node],
    previous: &[Forwarder],
    instances: &Instances,
) -> Result<Vec<Forwarder>, Vec<Problem>> {
    let problems = lint(topology);
    if !problems.is_empty() {
        return Err(problems);
    }
    let own: BTreeMap<&str, &Forwarder> = previous
        .iter()
        .filter(|forwarder| is_of(forwarder, topology))
        .map(|forwarder| (forwarder.spec.name.as_str(), forwarder))
        .collect();
    let places = placement::places(&topology.spec, nodes, &own)?;
    let names: Vec<&str> = places.iter().map(|place| place.name).collect();
    let wires = resolve(wiring::wires(&topology.spec, &names), &places)?;
    let blocks = blocks::assign(&topology.spec.addressing, &names, &own)?;
    let vnis = vni::assign(&wires, &own, previous)?;
    let objects = Objects {
        topology,
        instances,
        blocks,
        ends: ends(&wires, &places, &vnis),
    };
    Ok(objects.build(&places))
}

fn is_of(forwarder: &Forwarder, topology: &MicroServiceTopology) -> bool {
    forwarder.metadata.namespace == topology.metadata.namespace
        && forwarder.spec.topology == topology.metadata.name
}

/// Settles what each link is made of.
fn resolve<'a>(
    wires: Vec<Wire<'a>>,
    places: &[Place<'a>],
) -> Result<Vec<(Wire<'a>, WireType)>, Vec<Problem>> {
    let nodes = nodes(places);
    let mut problems = Vec::new();
    let mut resolved = Vec::with_capacity(wires.len());
    for wire in wires {
        // One Forwarder per node: a link to a node that is not there waits for it.
        let (Some(a), Some(b)) = (nodes.get(wire.a), nodes.get(wire.b)) else {
            continue;
        };
        let natural = if a == b {
            WireType::Veth
        } else {
            WireType::Vxlan
        };
        let is_possible = match wire.r#type {
            LinkType::Auto => true,
            LinkType::Veth => natural == WireType::Veth,
            LinkType::Vxlan => natural == WireType::Vxlan,
            LinkType::Encrypted => false,
        };
        if !is_possible {
            let wanted = format!("link {} cannot be {:?}", wire.id(), wire.r#type);
            let message = format!("{wanted}: {} is on {a}, {} on {b}", wire.a, wire.b);
            problems.push(Problem::new("spec.links", message));
        }
        resolved.push((wire, natural));
    }
    if problems.is_empty() {
        Ok(resolved)
    } else {
        Err(problems)
    }
}

fn nodes<'a, 'p>(places: &'p [Place<'a>]) -> BTreeMap<&'a str, &'p str> {
    places
        .iter()
        .map(|place| (place.name, place.node.as_str()))
        .collect()
}

/// The links of each Forwarder as seen from it, sorted by id.
fn ends<'a>(
    wires: &[(Wire<'a>, WireType)],
    places: &[Place<'a>],
    vnis: &BTreeMap<String, u32>,
) -> BTreeMap<&'a str, Vec<ForwarderLink>> {
    let nodes = nodes(places);
    let mut ends: BTreeMap<&str, Vec<ForwarderLink>> = BTreeMap::new();
    for (wire, wire_type) in wires {
        let id = wire.id();
        let end = |peer: &str, weight, weight_back| ForwarderLink {
            peer: peer.to_owned(),
            peer_node: nodes[peer].to_owned(),
            weight,
            weight_back,
            r#type: *wire_type,
            vni: vnis.get(&id).copied(),
            mtu: wire.mtu,
            id: id.clone(),
        };
        ends.entry(wire.a)
            .or_default()
            .push(end(wire.b, wire.weight, wire.weight_back));
        ends.entry(wire.b)
            .or_default()
            .push(end(wire.a, wire.weight_back, wire.weight));
    }
    ends.values_mut()
        .for_each(|links| links.sort_by(|one, other| one.id.cmp(&other.id)));
    ends
}

/// What the objects are put together from.
struct Objects<'a> {
    topology: &'a MicroServiceTopology,
    instances: &'a Instances,
    blocks: BTreeMap<String, Vec<IpNetwork>>,
    ends: BTreeMap<&'a str, Vec<ForwarderLink>>,
}

impl Objects<'_> {
    fn build(mut self, places: &[Place<'_>]) -> Vec<Forwarder> {
        let spec = &self.topology.spec;
        let mut places: Vec<&Place<'_>> = places.iter().collect();
        places.sort_by_key(|place| place.name);
        let mut apps: Vec<&AppEntry> = spec.apps.iter().collect();
        apps.sort_by(|one, other| one.name.cmp(&other.name));
        let mut external: Vec<IpNetwork> = apps
            .iter()
            .filter_map(|app| app.external.as_ref())
            .flat_map(|e| e.cidrs.clone())
            .collect();
        external.sort();
        let forwarder = |(position, place): (usize, &Place<'_>)| {
            let spec = ForwarderSpec {
                topology: self.topology.metadata.name.clone(),
                name: place.name.to_owned(),
                node: place.node.clone(),
                cidrs: spec.addressing.cidrs.clone(),
                external: external.clone(),
                blocks: self.blocks.remove(place.name).unwrap_or_default(),
                links: self.ends.remove(place.name).unwrap_or_default(),
                apps: attached(self.topology, &apps, place.name, position, self.instances),
                routing: spec.routing.clone(),
                liveness: spec.liveness.clone(),
            };
            Forwarder::new(&self.topology.metadata.namespace, spec)
        };
        places.into_iter().enumerate().map(forwarder).collect()
    }
}

/// The Apps that the Forwarder at `position` of the canonical order may have or has.
fn attached(
    topology: &MicroServiceTopology,
    apps: &[&AppEntry],
    forwarder: &str,
    position: usize,
    instances: &Instances,
) -> Vec<ForwarderApp> {
    let apps = apps
        .iter()
        .filter(|app| app.pinned().is_none_or(|pinned| pinned == forwarder));
    let seen = |app: &&AppEntry| ForwarderApp {
        name: app.name.clone(),
        selector: app.pod_selector.clone(),
        weight: app.weight,
        insist: app.pinned().is_some(),
        attached: graph::is_attached(app, position, instances),
        external: app
            .external
            .as_ref()
            .map(|external| external.cidrs.clone())
            .unwrap_or_default(),
        allowed_namespaces: topology.spec.allowed_namespaces.clone(),
    };
    apps.map(seen).collect()
}
