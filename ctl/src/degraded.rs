//! Degraded topology: without the links that its nodes report down.

use crate::tables::{Computer, all_roots};
use crds::Forwarder;
use linkstate::down_links;
use std::collections::BTreeMap;
use topology::{LinkIndex, Topology};

/// Links that are not reported up from both ends: no node uses them.
pub(crate) fn down(topology: &Topology, forwarders: &[Forwarder]) -> Vec<LinkIndex> {
    let states = forwarders.iter().flat_map(|it| {
        let states = it.status.link_states.iter();
        states.map(|state| ((it.spec.name.as_str(), state.id.as_str()), state.up))
    });
    let up: BTreeMap<(&str, &str), bool> = states.collect();
    down_links(topology, |forwarder, id| {
        let name = topology.forwarders()[forwarder.position()].as_str();
        up.get(&(name, id)).copied()
    })
}

/// Digest of each Forwarder's table without these links.
pub(crate) fn digests(
    topology: &Topology,
    forwarders: &[Forwarder],
    without: &[LinkIndex],
) -> BTreeMap<String, String> {
    let first = forwarders.first();
    let max_paths = first.map_or(1, |it| it.spec.routing.max_paths as usize);
    let computer = Computer::without(topology, max_paths, without);
    let digests = computer.compute(&all_roots(topology), |table| table.digest().to_string());
    let names = topology.forwarders().iter().cloned();
    names.zip(digests).collect()
}

/// Digests that nodes report once they route around failed parts; none without any.
pub(crate) fn around(forwarders: &[Forwarder]) -> BTreeMap<String, String> {
    let Ok(topology) = crds::topology_of(forwarders) else {
        return BTreeMap::new();
    };
    let down = down(&topology, forwarders);
    match down.is_empty() {
        true => BTreeMap::new(),
        false => digests(&topology, forwarders, &down),
    }
}
