//! Expansion of a declaration into Forwarder objects. Pure, and stable with respect to existing objects.
//!
//! ```text
//! declaration, nodes, where Forwarders are -> Layout --+-- places ---> attach::assign -> Attachments
//!                                                      +-- tunnels --> vnis   \
//!                                                      +-- blocks ----------> Grants
//!                                                      +-- forwarders(Grants, Attachments)
//! declaration, nodes, Attachments ---- to_topology_with ---- the same epoch ---- topology_of
//! ```
//! A [`Layout`] needs no grants. Addresses and VNIs, which must be unique,
//! are passed in as [`Grants`]: [`expand`] chooses them for the lab, which has a single
//! allocator; the operator persists them first ([`crate::AllocationSpec`]) and then calls
//! [`expand_with`], or [`Layout::forwarders`] when it needs the steps between.

mod blocks;
mod graph;
mod layout;
mod objects;
mod placement;
mod vni;

use std::collections::{BTreeMap, BTreeSet};

pub use self::{
    graph::{memory, to_topology, to_topology_on, to_topology_with, topology_of},
    layout::{Grants, Layout},
    placement::{LeftOut, Settled},
    vni::{FIRST_VNI, LAST_VNI, Vnis},
};
use crate::{
    Forwarder, MicroServiceTopology, NodeObject, Problem,
    attach::{Attachments, Instances},
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

/// The Forwarder objects of `topology`, sorted by name, for a single allocator of addresses.
///
/// `nodes` are those that exist. `previous` are the Forwarder objects that exist, of every
/// topology: those of this one keep their node, blocks and VNIs, and no VNI is used twice.
/// `instances` says how many instances of an App with `forwarder: Auto` there are; one by default.
///
/// # Errors
/// Problems found by [`crate::lint()`], and those that depend on the nodes: no node matches, a veth between nodes.
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
    let own: BTreeMap<&str, &Forwarder> = previous
        .iter()
        .filter(|forwarder| is_of(forwarder, topology))
        .map(|forwarder| (forwarder.spec.name.as_str(), forwarder))
        .collect();
    let before = own.iter().map(|(name, f)| (*name, f.spec.node.as_str()));
    let layout = Layout::new(topology, nodes, &before.collect())?;
    let grants = Grants {
        blocks: layout.blocks(&blocks_of(&own))?,
        vnis: free_vnis(&layout, &own, previous)?,
    };
    let attachments = Attachments::of_instances(topology, layout.names(), instances);
    Ok(layout.forwarders(&grants, &attachments))
}

/// The Forwarder objects of `topology`, sorted by name, with their grants and attachments.
///
/// `before` says where Forwarders are now. A Forwarder that is granted no blocks has none, a tunnel
/// without VNI has none: see [`Expansion`].
///
/// # Errors
/// As [`Layout::new`].
pub fn expand_with(
    topology: &MicroServiceTopology,
    nodes: &[Node],
    before: &Settled<'_>,
    grants: &Grants,
    attachments: &Attachments,
) -> Result<Expansion, Vec<Problem>> {
    let layout = Layout::new(topology, nodes, before)?;
    let (mut blocks_missing, mut vnis_missing) = (layout.names(), layout.tunnels());
    blocks_missing.retain(|name| !grants.blocks.contains_key(*name));
    vnis_missing.retain(|id| !grants.vnis.contains_key(id));
    Ok(Expansion {
        blocks_missing: blocks_missing.into_iter().map(str::to_owned).collect(),
        vnis_missing,
        forwarders: layout.forwarders(grants, attachments),
    })
}

/// Result of [`expand_with`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expansion {
    /// The Forwarders, sorted by name.
    pub forwarders: Vec<Forwarder>,
    /// Names of those without blocks, in declared order.
    pub blocks_missing: Vec<String>,
    /// Ids of the links without the VNI that they need, sorted.
    pub vnis_missing: Vec<String>,
}

fn is_of(forwarder: &Forwarder, topology: &MicroServiceTopology) -> bool {
    forwarder.metadata.namespace == topology.metadata.namespace
        && forwarder.spec.topology == topology.metadata.name
}

fn blocks_of(own: &BTreeMap<&str, &Forwarder>) -> BTreeMap<String, Vec<ipnetwork::IpNetwork>> {
    let blocks = own
        .iter()
        .map(|(name, forwarder)| ((*name).to_owned(), forwarder.spec.blocks.clone()));
    blocks.collect()
}

/// Unused VNIs, the lowest first.
///
/// # Errors
/// When all are in use.
fn free_vnis(
    layout: &Layout<'_>,
    own: &BTreeMap<&str, &Forwarder>,
    everyone: &[Forwarder],
) -> Result<BTreeMap<String, u32>, Vec<Problem>> {
    let is_own = |forwarder: &&Forwarder| {
        own.get(forwarder.spec.name.as_str())
            .is_some_and(|own| std::ptr::eq(*own, *forwarder))
    };
    let foreign = everyone.iter().filter(|forwarder| !is_own(forwarder));
    let taken: BTreeSet<u32> = foreign
        .flat_map(vni::identified)
        .map(|(_, vni)| vni)
        .collect();
    let existing = own.values().flat_map(|f| vni::identified(f));
    let existing = existing.map(|(id, vni)| (id.to_owned(), vni)).collect();
    let vnis = layout.vnis(&existing, taken, FIRST_VNI..=LAST_VNI);
    match vnis.missing.first() {
        None => Ok(vnis.given),
        Some(id) => Err(vec![Problem::new(
            "spec.links",
            format!("no VNI is left for link {id}"),
        )]),
    }
}
