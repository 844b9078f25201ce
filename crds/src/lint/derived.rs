//! Names that the kernel and Kubernetes will see: no two may be the same.

use std::collections::BTreeMap;

use super::Problems;
use crate::{MicroServiceTopology, expand::wiring, names};

pub(super) fn check(topology: &MicroServiceTopology, problems: &mut Problems) {
    let mut objects = BTreeMap::new();
    for (index, forwarder) in topology.spec.forwarders.iter().enumerate() {
        let object = names::object(&topology.metadata.name, &forwarder.name);
        if let Some(other) = objects.insert(object.clone(), &forwarder.name) {
            let message = format!("makes the object name {object:?}, as {other:?} does");
            problems.push(format!("spec.forwarders[{index}].name"), message);
        }
    }
    let forwarders: Vec<&str> = topology
        .spec
        .forwarders
        .iter()
        .map(|f| f.name.as_str())
        .collect();
    let mut interfaces = BTreeMap::new();
    for link in wiring::wires(&topology.spec, &forwarders) {
        for (end, peer) in [(link.a, link.b), (link.b, link.a)] {
            let interface = names::link(peer, link.ordinal);
            let other = interfaces.insert((end, interface.clone()), (peer, link.ordinal));
            if let Some((other, ordinal)) = other {
                let here = format!("interface {interface:?} of {end:?} to {peer:?}");
                let there = format!("link {ordinal} to {other:?}");
                let message = format!("{here} has the same name as {there}: rename one of them");
                problems.push("spec.forwarders", message);
            }
        }
    }
}
