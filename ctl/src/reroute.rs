//! A topology without the links that its nodes report down: what they route by while these are.

use crate::tables::Computer;
use crds::Forwarder;
use std::collections::BTreeMap;
use topology::{Epoch, LinkIndex, Topology};

/// Links that are not reported up from both ends: no node uses them.
pub(crate) fn down(topology: &Topology, forwarders: &[Forwarder]) -> Vec<LinkIndex> {
    let mut up: BTreeMap<&str, usize> = BTreeMap::new();
    for state in forwarders.iter().flat_map(|it| &it.status.link_states) {
        *up.entry(&state.id).or_default() += usize::from(state.up);
    }
    let links = (0..topology.links().len() as u32).map(LinkIndex);
    let is_up = |link: &LinkIndex| up.get(topology.link_id(*link).as_str()).copied() >= Some(2);
    links.filter(|link| !is_up(link)).collect()
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

/// The epoch that all nodes report once they route around what is down; `None` where nothing is.
pub(crate) fn epoch(forwarders: &[Forwarder]) -> Option<Epoch> {
    let topology = crds::topology_of(forwarders).ok()?;
    let down = down(&topology, forwarders);
    (!down.is_empty()).then(|| computer(&topology, forwarders, &down).epoch())
}
