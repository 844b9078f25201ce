//! Memory of Forwarder objects where each value that they repeat is held once.

use std::collections::BTreeSet;

use super::{NODE_NAME, OBJECT, parts::end};
use crate::{ForwarderSpec, MicroServiceTopologySpec, topology::AppEntry, wiring::Wire};

/// Memory of an App that other Forwarders have too.
const POINTER: usize = 8;

/// Memory of a Forwarder in bytes, without the values that others have too ([`crate::forwarder::SharedValues`]).
pub fn memory(spec: &ForwarderSpec) -> usize {
    let links = spec.links.iter();
    let links = links.map(|it| end(&spec.name, &it.peer, NODE_NAME).held);
    OBJECT.held + POINTER * spec.apps.len() + links.sum::<usize>()
}

/// The same of all Forwarders of a declaration: equal to the sum of [`memory`] once they are there.
pub(crate) fn memory_of_all(
    spec: &MicroServiceTopologySpec,
    names: &[&str],
    wires: &[Wire<'_>],
) -> usize {
    let all: BTreeSet<&str> = names.iter().copied().collect();
    let count = |app: &AppEntry| match app.pinned() {
        None => names.len(),
        Some(forwarder) => usize::from(all.contains(forwarder)),
    };
    let apps: usize = spec.apps.iter().map(count).sum();
    let is_here = |wire: &&Wire<'_>| all.contains(wire.a) && all.contains(wire.b);
    let wires = wires.iter().filter(is_here);
    let links = wires.map(|wire| 2 * end(wire.a, wire.b, NODE_NAME).held);
    OBJECT.held * names.len() + POINTER * apps + links.sum::<usize>()
}
