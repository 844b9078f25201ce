//! The graph of a declaration, and of the objects made from it: one and the same.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
};

use topology::{AppSpec, LinkSpec, Topology, TopologyError};

use super::{Node, placement};
use crate::{
    Forwarder, MicroServiceTopology, Problem,
    attach::{Attachments, Instances},
    lint::lint,
    size,
    topology::AppEntry,
    wiring,
};

/// The graph of a declaration whose Forwarders are named.
///
/// # Errors
/// What [`lint`] finds; and when there is one Forwarder per node: that depends on the nodes.
pub fn to_topology(
    topology: &MicroServiceTopology,
    instances: &Instances,
) -> Result<Topology, Vec<Problem>> {
    if topology.spec.forwarder_per_node.is_some() {
        let message = "expected named forwarders: how many there are depends on the nodes";
        return Err(vec![Problem::new("spec.forwarderPerNode", message)]);
    }
    to_topology_on(topology, &[], instances)
}

/// The graph of a declaration on these nodes, which matter only to `forwarderPerNode`.
///
/// # Errors
/// What [`lint`] finds, and a mesh of too many nodes.
pub fn to_topology_on(
    topology: &MicroServiceTopology,
    nodes: &[Node],
    instances: &Instances,
) -> Result<Topology, Vec<Problem>> {
    let names = names(topology, nodes)?;
    let attachments = Attachments::of_instances(topology, names.iter().copied(), instances);
    graph(topology, names, &attachments)
}

/// The graph of a declaration on these nodes with these attachments, as in a cluster.
///
/// # Errors
/// As [`to_topology_on`].
pub fn to_topology_with(
    topology: &MicroServiceTopology,
    nodes: &[Node],
    attachments: &Attachments,
) -> Result<Topology, Vec<Problem>> {
    graph(topology, names(topology, nodes)?, attachments)
}

/// The Forwarders of a declaration that is right, in declared order.
fn names<'a>(
    topology: &'a MicroServiceTopology,
    nodes: &'a [Node],
) -> Result<Vec<&'a str>, Vec<Problem>> {
    let problems = lint(topology);
    if !problems.is_empty() {
        return Err(problems);
    }
    let spec = &topology.spec;
    match spec.forwarder_per_node {
        Some(_) => Ok(placement::matching_nodes(spec, nodes)?.names),
        None => Ok(spec
            .forwarders
            .iter()
            .map(|entry| entry.name.as_str())
            .collect()),
    }
}

/// Memory in bytes of the Forwarders that a declaration asks for on these nodes, which matter only to
/// `forwarderPerNode`: the sum of [`crate::size::memory`] over them. 0 when the declaration is rejected.
pub fn memory(topology: &MicroServiceTopology, nodes: &[Node]) -> usize {
    let Ok(names) = names(topology, nodes) else {
        return 0;
    };
    let wires = wiring::wires(&topology.spec, &names);
    size::memory_of_all(&topology.spec, &names, &wires)
}

fn graph(
    topology: &MicroServiceTopology,
    names: Vec<&str>,
    attachments: &Attachments,
) -> Result<Topology, Vec<Problem>> {
    let spec = &topology.spec;
    let sorted: BTreeSet<&str> = names.iter().copied().collect();
    let wires = wiring::wires(spec, &names).into_iter();
    let links = wires.filter(|wire| sorted.contains(wire.a) && sorted.contains(wire.b));
    let links = links
        .map(|wire| link(wire.a, wire.b, wire.weight, wire.weight_back))
        .collect();
    // An App on a node that is not there is listed by no Forwarder either.
    let apps = spec
        .apps
        .iter()
        .filter(|app| app.pinned().is_none_or(|f| sorted.contains(f)));
    let apps = apps
        .map(|app| app_spec(app, &sorted, attachments))
        .collect();
    let forwarders = names.into_iter().map(str::to_owned).collect();
    Topology::new(forwarders, links, apps)
        .map_err(|error| vec![Problem::new("spec", error.to_string())])
}

/// The graph of Forwarder objects of one topology: the same epoch as that of its declaration.
/// A link to a Forwarder that is not among them is left out.
///
/// # Errors
/// When two objects have the same name, or a weight is 0.
pub fn topology_of(forwarders: &[impl Borrow<Forwarder>]) -> Result<Topology, TopologyError> {
    let specs = || forwarders.iter().map(|forwarder| &forwarder.borrow().spec);
    let names: BTreeSet<&str> = specs().map(|spec| spec.name.as_str()).collect();
    let mut links = Vec::new();
    let mut apps: BTreeMap<&str, Vec<(String, u32)>> = BTreeMap::new();
    for spec in specs() {
        // Each link is in the objects of both its ends.
        for end in spec.links.iter().filter(|end| spec.name < end.peer) {
            if names.contains(end.peer.as_str()) {
                let link = link(&spec.name, &end.peer, end.weight, end.weight_back);
                links.push((end.ordinal(), link));
            }
        }
        for app in &spec.apps {
            let attachments = apps.entry(&app.name).or_default();
            attachments.extend(app.attached.then(|| (spec.name.clone(), app.weight)));
        }
    }
    links.sort_by_key(|(ordinal, _)| *ordinal);
    let links = links.into_iter().map(|(_, link)| link).collect();
    let apps = apps.into_iter().map(|(name, attachments)| AppSpec {
        name: name.to_owned(),
        attachments,
    });
    let names = specs().map(|spec| spec.name.clone()).collect();
    Topology::new(names, links, apps.collect())
}

/// True when `app` is attached to `forwarder`, one of its possible Forwarders; an external App
/// always is.
pub(super) fn is_attached(app: &AppEntry, forwarder: &str, attachments: &Attachments) -> bool {
    app.external.is_some() || attachments.is_edge(&app.name, forwarder)
}

fn app_spec(app: &AppEntry, sorted: &BTreeSet<&str>, attachments: &Attachments) -> AppSpec {
    let has = |name: &&&str| {
        app.pinned().is_none_or(|pinned| pinned == **name) && is_attached(app, name, attachments)
    };
    let on = sorted.iter().filter(has);
    AppSpec {
        name: app.name.clone(),
        attachments: on.map(|name| ((*name).to_owned(), app.weight)).collect(),
    }
}

fn link(a: &str, b: &str, weight: u32, weight_back: u32) -> LinkSpec {
    LinkSpec {
        a: a.to_owned(),
        b: b.to_owned(),
        weight,
        weight_back,
    }
}
