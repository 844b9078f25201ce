//! Degraded topology: without the links that its nodes report down.

use crate::tables::Computer;
use crds::Forwarder;
use linkstate::down_links;
use std::collections::BTreeMap;
use topology::{Epoch, LinkIndex, Topology};

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

/// All tables of the topology without these links.
pub(crate) fn computer<'a>(
    topology: &'a Topology,
    forwarders: &[Forwarder],
    without: &[LinkIndex],
) -> Computer<'a> {
    let first = forwarders.first();
    let max_paths = first.map_or(1, |it| it.spec.routing.max_paths as usize);
    Computer::without(topology, max_paths, without)
}

/// Epoch that all nodes report once they route around failed parts; `None` without any.
pub(crate) fn epoch(forwarders: &[Forwarder]) -> Option<Epoch> {
    let topology = crds::topology_of(forwarders).ok()?;
    let down = down(&topology, forwarders);
    (!down.is_empty()).then(|| computer(&topology, forwarders, &down).epoch())
}
