//! Degraded topology: as its nodes use it, with links that they report suspect or down.

use crate::tables::{Computer, all_roots};
use crds::{
    Forwarder,
    forwarder::{LinkHealth, LinkState},
};
use linkstate::{Impaired, State};
use std::collections::BTreeMap;
use topology::{Change, Topology};

/// Links that are not reported up from both ends.
pub(crate) fn impaired(topology: &Topology, forwarders: &[Forwarder]) -> Impaired {
    let states = forwarders.iter().flat_map(|it| {
        let states = it.status.link_states.iter();
        states.map(|state| ((it.spec.name.as_str(), state.id.as_str()), state))
    });
    let states: BTreeMap<(&str, &str), &LinkState> = states.collect();
    Impaired::reported(topology, |forwarder, id| {
        let name = topology.forwarders()[forwarder.position()].as_str();
        let reported = states.get(&(name, id))?;
        Some(match reported.health() {
            LinkHealth::Up => State::Up,
            LinkHealth::Suspect => State::Suspect,
            LinkHealth::Down => State::Down,
        })
    })
}

/// Digest of each Forwarder's table in the graph with these changes.
pub(crate) fn digests(
    topology: &Topology,
    forwarders: &[Forwarder],
    changes: &[Change],
) -> BTreeMap<String, String> {
    let first = forwarders.first();
    let max_paths = first.map_or(1, |it| it.spec.routing.max_paths as usize);
    let computer = Computer::with(topology, max_paths, changes);
    let digests = computer.compute(&all_roots(topology), |table| table.digest().to_string());
    let names = topology.forwarders().iter().cloned();
    names.zip(digests).collect()
}

/// Digests that nodes report once they route around failed parts; none without any.
pub(crate) fn around(forwarders: &[Forwarder]) -> BTreeMap<String, String> {
    let Ok(topology) = crds::topology_of(forwarders) else {
        return BTreeMap::new();
    };
    let impaired = impaired(&topology, forwarders);
    match impaired.is_empty() {
        true => BTreeMap::new(),
        false => digests(&topology, forwarders, &impaired.changes(&topology)),
    }
}
