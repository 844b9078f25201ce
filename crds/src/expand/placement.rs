//! Which Forwarders there are, and on which node each is.

use std::collections::BTreeMap;

use super::Node;
use crate::{
    Forwarder, MicroServiceTopologySpec, Problem, names, selector::matches_labels,
    topology::ForwarderEntry,
};

/// A Forwarder and its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place<'a> {
    /// The Forwarder's name in the topology.
    pub name: &'a str,
    /// The node it is on.
    pub node: &'a str,
}

impl<'a> From<&'a Forwarder> for Place<'a> {
    fn from(forwarder: &'a Forwarder) -> Place<'a> {
        let spec = &forwarder.spec;
        Place {
            name: &spec.name,
            node: &spec.node,
        }
    }
}

/// The node of each Forwarder that exists, by name: what stays, stays there.
pub type Settled<'a> = BTreeMap<&'a str, &'a str>;

/// Every Forwarder in declared order; one per node in byte order of the nodes' names.
///
/// # Errors
/// When no node matches a Forwarder, or a node's name is no name for a Forwarder.
pub(super) fn places<'a>(
    spec: &'a MicroServiceTopologySpec,
    nodes: &'a [Node],
    before: &Settled<'_>,
) -> Result<Vec<Place<'a>>, Vec<Problem>> {
    if spec.forwarder_per_node.is_some() {
        let place = |name: &'a str| Place { name, node: name };
        return Ok(matching_nodes(spec, nodes)?
            .into_iter()
            .map(place)
            .collect());
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
        Ok(places)
    } else {
        Err(problems)
    }
}

/// The names of the nodes that `forwarderPerNode` means, sorted.
///
/// # Errors
/// When a node's name is too long for a Forwarder, or is that of an App.
pub(super) fn matching_nodes<'a>(
    spec: &MicroServiceTopologySpec,
    nodes: &'a [Node],
) -> Result<Vec<&'a str>, Vec<Problem>> {
    let Some(per_node) = &spec.forwarder_per_node else {
        return Ok(Vec::new());
    };
    let matching = sorted(nodes).into_iter();
    let matching = matching.filter(|node| matches_labels(&per_node.node_selector, &node.labels));
    let names: Vec<&str> = matching.map(|node| node.name.as_str()).collect();
    let is_wrong =
        |name: &&&str| !names::is_name(name) || spec.apps.iter().any(|app| app.name == **name);
    let problem = |name: &&str| {
        let message = format!("node {name:?} cannot name a forwarder: too long, or an App's name");
        Problem::new("spec.forwarderPerNode", message)
    };
    let problems: Vec<Problem> = names.iter().filter(is_wrong).map(problem).collect();
    if problems.is_empty() {
        Ok(names)
    } else {
        Err(problems)
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
