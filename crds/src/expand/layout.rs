//! Layout of a declaration on these nodes, before addresses and VNIs are granted.

use std::collections::{BTreeMap, BTreeSet};

use ipnetwork::IpNetwork;

use super::{
    Node, blocks,
    objects::{self, Objects},
    placement::{self, LeftOut, Settled},
    vni::{self, Vnis},
};
use crate::{
    Forwarder, MicroServiceTopology, MicroServiceTopologySpec, Problem,
    attach::{Attachments, Place},
    forwarder::WireType,
    lint::{MAX_NODES, derived, lint},
    size::{self, ForwarderSizes},
    wiring::{self, Wire},
};

/// Addresses and VNIs of the Forwarders and links of one topology.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// One block of each CIDR, by the Forwarder's name.
    pub blocks: BTreeMap<String, Vec<IpNetwork>>,
    /// VNIs by link id.
    pub vnis: BTreeMap<String, u32>,
}

/// The Forwarders of a topology with their nodes, and the links between them.
#[derive(Clone, Debug)]
pub struct Layout<'a> {
    topology: &'a MicroServiceTopology,
    places: Vec<Place<'a>>,
    left_out: Vec<LeftOut<'a>>,
    wires: Vec<(Wire<'a>, WireType)>,
}

impl<'a> Layout<'a> {
    /// Lays `topology` out on `nodes`; a Forwarder that `before` knows stays where it is while its
    /// node still matches.
    ///
    /// # Errors
    /// Problems found by [`lint`], and those that depend on the nodes: no node matches, a veth between nodes.
    pub fn new(
        topology: &'a MicroServiceTopology,
        nodes: &'a [Node],
        before: &Settled<'_>,
    ) -> Result<Layout<'a>, Vec<Problem>> {
        let problems = lint(topology);
        if !problems.is_empty() {
            return Err(problems);
        }
        let (places, left_out) = placement::places(&topology.spec, nodes, before)?;
        check_nodes(&topology.spec, &places)?;
        let names: Vec<&str> = places.iter().map(|place| place.name).collect();
        let wires = wiring::wires(&topology.spec, &names);
        if topology.spec.forwarder_per_node.is_some() {
            check_expanded(topology, &names, &wires)?;
        }
        let wires = objects::resolve(wires, &places)?;
        Ok(Layout {
            topology,
            places,
            left_out,
            wires,
        })
    }

    /// The Forwarders and their nodes, in declared order.
    pub fn places(&self) -> &[Place<'a>] {
        &self.places
    }

    /// Nodes that match `forwarderPerNode` and cannot have a Forwarder, sorted.
    pub fn left_out(&self) -> &[LeftOut<'a>] {
        &self.left_out
    }

    /// The names of the Forwarders, in declared order.
    pub fn names(&self) -> Vec<&'a str> {
        self.places.iter().map(|place| place.name).collect()
    }

    /// Ids of the links that need a VNI, sorted by their ends.
    pub fn tunnels(&self) -> Vec<String> {
        let tunnels = self
            .wires
            .iter()
            .filter(|(_, wire_type)| *wire_type == WireType::Vxlan);
        tunnels.map(|(wire, _)| wire.id().to_string()).collect()
    }

    /// Estimated sizes of the Forwarder objects.
    pub fn sizes(&self) -> ForwarderSizes {
        let wires: Vec<Wire<'_>> = self.wires.iter().map(|(wire, _)| *wire).collect();
        size::forwarders(&self.topology.spec, &self.names(), &wires)
    }

    /// Memory of the Forwarders in bytes, as [`super::memory`] has it.
    pub fn memory(&self) -> usize {
        let wires: Vec<Wire<'_>> = self.wires.iter().map(|(wire, _)| *wire).collect();
        size::memory_of_all(&self.topology.spec, &self.names(), &wires)
    }

    /// Blocks for every Forwarder: those that `existing` has under its name, else the lowest free
    /// ones. What `existing` has under other names is given again only when nothing else is left.
    ///
    /// # Errors
    /// When there are not enough blocks.
    pub fn blocks(
        &self,
        existing: &BTreeMap<String, Vec<IpNetwork>>,
    ) -> Result<BTreeMap<String, Vec<IpNetwork>>, Vec<Problem>> {
        blocks::assign(&self.topology.spec.addressing, &self.names(), existing)
    }

    /// A VNI for every tunnel: that of `existing` unless it is in `taken`; else the next of `free`
    /// that is neither taken nor existing.
    pub fn vnis(
        &self,
        existing: &BTreeMap<String, u32>,
        taken: BTreeSet<u32>,
        free: impl IntoIterator<Item = u32>,
    ) -> Vnis {
        vni::assign(self.tunnels(), existing, taken, free)
    }

    /// The Forwarder objects, sorted by name, without status.
    pub fn forwarders(&self, grants: &Grants, attachments: &Attachments) -> Vec<Forwarder> {
        let ends = objects::ends(&self.wires, &self.places, &grants.vnis);
        let objects = Objects {
            topology: self.topology,
            attachments,
            blocks: &grants.blocks,
            ends,
        };
        objects.build(&self.places)
    }
}

/// Checks that need the names of Forwarders, which come from the nodes.
fn check_expanded(
    topology: &MicroServiceTopology,
    names: &[&str],
    wires: &[Wire<'_>],
) -> Result<(), Vec<Problem>> {
    let path = |_| "spec.forwarderPerNode".to_owned();
    let mut problems = derived::check(&topology.metadata.name, names, wires, path);
    problems.extend(size::check_forwarders(&topology.spec, names, wires));
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems)
    }
}

fn check_nodes(spec: &MicroServiceTopologySpec, places: &[Place<'_>]) -> Result<(), Vec<Problem>> {
    let nodes: BTreeSet<&str> = places.iter().map(|place| place.node).collect();
    if nodes.len() <= MAX_NODES {
        return Ok(());
    }
    let path = match spec.forwarder_per_node {
        Some(_) => "spec.forwarderPerNode",
        None => "spec.forwarders",
    };
    let found = nodes.len();
    let message = format!("is on {found} nodes: expected at most {MAX_NODES}");
    Err(vec![Problem::new(path, message)])
}
