//! Names that the kernel and Kubernetes use: no two may be the same.

use std::collections::BTreeMap;

use crate::{Problem, names, wiring::Wire};

/// Names of the objects and interfaces of a topology's Forwarders. `path` gives the field that names the Forwarder at a position.
pub(crate) fn check(
    topology: &str,
    forwarders: &[&str],
    wires: &[Wire<'_>],
    path: impl Fn(usize) -> String,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut objects = BTreeMap::new();
    let mut positions = BTreeMap::new();
    for (index, forwarder) in forwarders.iter().enumerate() {
        positions.insert(*forwarder, index);
        let object = names::object(topology, forwarder);
        if let Some(other) = objects.insert(object.clone(), forwarder) {
            let message = format!("makes the object name {object:?}, as {other:?} does");
            problems.push(Problem::new(path(index), message));
        }
    }
    for (peer, message) in shared_interfaces(wires, names::link) {
        if let Some(index) = positions.get(peer) {
            problems.push(Problem::new(path(*index), message));
        }
    }
    problems
}

/// Peers whose link has the interface name of another link at the same Forwarder.
fn shared_interfaces<'a>(
    wires: &[Wire<'a>],
    interface: impl Fn(&str, u32) -> String,
) -> Vec<(&'a str, String)> {
    let mut shared = Vec::new();
    let mut links = BTreeMap::new();
    for wire in wires {
        for (end, peer) in [(wire.a, wire.b), (wire.b, wire.a)] {
            let name = interface(peer, wire.ordinal);
            if let Some(other) = links.insert((end, name.clone()), wire.id()) {
                let here = format!("interface {name:?} of link {} at {end:?}", wire.id());
                let message = format!("{here} has the same name as that of link {other}");
                shared.push((peer, format!("{message}: expected another name")));
            }
        }
    }
    shared
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MicroServiceTopologySpec, topology::Shape, wiring};

    #[test]
    fn a_shared_interface_name_is_a_problem_of_the_later_link() {
        let spec = MicroServiceTopologySpec {
            shape: Shape::Star,
            ..MicroServiceTopologySpec::default()
        };
        let wires = wiring::wires(&spec, &["hub", "x1", "x2", "y"]);
        let first_letter = |peer: &str, _| peer[..1].to_owned();
        let found = shared_interfaces(&wires, first_letter);
        let message = "interface \"x\" of link hub/x2 at \"hub\" has the same name as that of link hub/x1: expected another name";
        assert_eq!(found, [("x2", message.to_owned())]);
        assert_eq!(shared_interfaces(&wires, names::link), []);
    }

    #[test]
    fn a_shared_object_name_is_a_problem_of_the_later_forwarder() {
        let (plain, hashed) = ("F1", names::object("t", "F1"));
        let hashed = hashed.trim_start_matches("t.");
        let path = |index| format!("forwarders[{index}]");
        let found = check("t", &[plain, hashed], &[], path);
        let message = format!("makes the object name \"t.{hashed}\", as \"F1\" does");
        assert_eq!(found, [Problem::new("forwarders[1]", message)]);
    }
}
