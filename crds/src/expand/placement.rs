//! Placement of Forwarders on nodes.

use std::collections::{BTreeMap, BTreeSet};

use super::Node;
use crate::{
    MicroServiceTopologySpec, Problem,
    attach::Place,
    lint::links,
    names,
    selector::matches_labels,
    topology::{AUTO, ForwarderEntry},
};

/// The node of each Forwarder that exists, by name: what stays, stays there.
pub type Settled<'a> = BTreeMap<&'a str, &'a str>;

/// Every Forwarder in declared order, one per node in byte order of the nodes' names; and nodes without one.
///
/// # Errors
/// When no node matches a Forwarder, or a mesh has too many links.
pub(super) fn places<'a>(
    spec: &'a MicroServiceTopologySpec,
    nodes: &'a [Node],
    before: &Settled<'_>,
) -> Result<(Vec<Place<'a>>, Vec<LeftOut<'a>>), Vec<Problem>> {
    if spec.forwarder_per_node.is_some() {
        let place = |name: &'a str| Place { name, node: name };
        let matching = matching_nodes(spec, nodes)?;
        return Ok((
            matching.names.into_iter().map(place).collect(),
            matching.left_out,
        ));
    }
    let mut chooser = Chooser {
        nodes: sorted(nodes),
        load: BTreeMap::new(),
    };
    // Those that are settled count before any other is placed.
    let settled: Vec<Option<&str>> = spec
        .forwarders
        .iter()
        .map(|entry| chooser.settled(entry, before))
        .collect();
    let mut problems = Vec::new();
    let mut places = Vec::with_capacity(settled.len());
    for (index, (entry, settled)) in spec.forwarders.iter().zip(settled).enumerate() {
        match settled.or_else(|| chooser.least_loaded(entry)) {
            Some(node) => places.push(Place {
                name: &entry.name,
                node,
            }),
            None => problems.push(no_node(index, entry, nodes)),
        }
    }
    if problems.is_empty() {
        Ok((places, Vec::new()))
    } else {
        Err(problems)
    }
}

/// A node that matches `forwarderPerNode` and cannot have a Forwarder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeftOut<'a> {
    /// The node's name.
    pub node: &'a str,
    /// Reason why it names no Forwarder.
    pub reason: &'static str,
}

/// The nodes that `forwarderPerNode` means, each list sorted.
#[derive(Clone, Debug, Default)]
pub(super) struct Matching<'a> {
    /// Names of the nodes that get a Forwarder.
    pub(super) names: Vec<&'a str>,
    /// Other matching nodes, whose names are no valid Forwarder names.
    pub(super) left_out: Vec<LeftOut<'a>>,
}

/// The nodes that `forwarderPerNode` means.
///
/// # Errors
/// When a shape has too many links over so many Forwarders.
pub(super) fn matching_nodes<'a>(
    spec: &MicroServiceTopologySpec,
    nodes: &'a [Node],
) -> Result<Matching<'a>, Vec<Problem>> {
    let mut matching = Matching::default();
    let Some(per_node) = &spec.forwarder_per_node else {
        return Ok(matching);
    };
    let apps: BTreeSet<&str> = spec.apps.iter().map(|app| app.name.as_str()).collect();
    for node in sorted(nodes) {
        if !matches_labels(&per_node.node_selector, &node.labels) {
            continue;
        }
        let node = node.name.as_str();
        let reason = if apps.contains(node) {
            "its name is that of an App"
        } else if node == AUTO {
            "its name means any forwarder"
        } else if names::is_name(node) {
            matching.names.push(node);
            continue;
        } else {
            "its name is longer than 63 characters"
        };
        matching.left_out.push(LeftOut { node, reason });
    }
    match links::check_count(spec.shape, matching.names.len()) {
        None => Ok(matching),
        Some(problem) => Err(vec![problem]),
    }
}

fn sorted(nodes: &[Node]) -> Vec<&Node> {
    let mut nodes: Vec<&Node> = nodes.iter().collect();
    nodes.sort_by(|one, other| one.name.cmp(&other.name));
    nodes.dedup_by(|one, other| one.name == other.name);
    nodes
}

/// Spreads Forwarders over nodes.
struct Chooser<'a> {
    nodes: Vec<&'a Node>,
    load: BTreeMap<&'a str, usize>,
}

impl<'a> Chooser<'a> {
    /// The node that is written, or the one it was on while that still matches.
    fn settled(&mut self, entry: &'a ForwarderEntry, before: &Settled<'_>) -> Option<&'a str> {
        let node = match &entry.node {
            Some(node) => node.as_str(),
            None => {
                let before = *before.get(entry.name.as_str())?;
                let found = self
                    .nodes
                    .binary_search_by(|node| node.name.as_str().cmp(before));
                let node = self.nodes[found.ok()?];
                matches_labels(&entry.node_selector, &node.labels).then_some(&node.name)?
            }
        };
        *self.load.entry(node).or_default() += 1;
        Some(node)
    }

    /// The matching node with the fewest Forwarders of this topology, the first of equals.
    fn least_loaded(&mut self, entry: &ForwarderEntry) -> Option<&'a str> {
        let load = &mut self.load;
        let matching = self
            .nodes
            .iter()
            .filter(|n| matches_labels(&entry.node_selector, &n.labels));
        let names = matching.map(|node| node.name.as_str());
        let node = names.min_by_key(|name| load.get(name).copied().unwrap_or(0))?;
        *load.entry(node).or_default() += 1;
        Some(node)
    }
}

fn no_node(index: usize, entry: &ForwarderEntry, nodes: &[Node]) -> Problem {
    let path = format!("spec.forwarders[{index}]");
    if entry.node_selector.is_empty() {
        return Problem::new(
            path,
            format!("no node for {:?}: there are none", entry.name),
        );
    }
    let labels = entry
        .node_selector
        .iter()
        .map(|(key, value)| format!("{key}={value}"));
    let labels = labels.collect::<Vec<_>>().join(",");
    let message = format!(
        "expected a node with {labels}, found none among {} nodes",
        nodes.len()
    );
    Problem::new(format!("{path}.nodeSelector"), message)
}
