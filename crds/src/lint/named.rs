//! Names of the topology, its Forwarders and Apps.

use std::collections::BTreeMap;

use super::{Lint, Problems, labels, message};
use crate::{MicroServiceTopology, names, topology::AUTO};

pub(super) fn check_metadata(topology: &MicroServiceTopology, problems: &mut Problems) {
    let metadata = &topology.metadata;
    for (path, name) in [
        ("metadata.name", &metadata.name),
        ("metadata.namespace", &metadata.namespace),
    ] {
        if !names::is_dns_label(name) {
            problems.push(path, format!("{}, found {name:?}", message::DNS_LABEL));
        }
    }
    labels::check("metadata.labels", &metadata.labels, problems);
    for key in metadata.annotations.keys() {
        labels::check_key(&format!("metadata.annotations.{key}"), key, problems);
    }
}

pub(super) fn check(lint: &Lint<'_>, problems: &mut Problems) {
    let spec = lint.spec;
    match (&spec.forwarder_per_node, spec.forwarders.is_empty()) {
        (None, true) => {
            problems.push("spec.forwarders", message::NO_FORWARDERS);
        }
        (Some(_), false) => {
            problems.push("spec.forwarderPerNode", message::BOTH_FORWARDERS);
        }
        (Some(per_node), true) => {
            let path = "spec.forwarderPerNode.nodeSelector";
            labels::check(path, &per_node.node_selector, problems);
        }
        (None, false) => {}
    }
    let mut seen = Seen::default();
    for (index, forwarder) in spec.forwarders.iter().enumerate() {
        let path = format!("spec.forwarders[{index}]");
        if forwarder.name == AUTO {
            problems.push(format!("{path}.name"), message::NAMED_AUTO);
        }
        seen.check(format!("{path}.name"), &forwarder.name, problems);
        if let Some(node) = &forwarder.node {
            problems.node(format!("{path}.node"), node);
            if !forwarder.node_selector.is_empty() {
                let path = format!("{path}.nodeSelector");
                problems.push(path, message::NODE_AND_SELECTOR);
            }
        }
        labels::check(
            &format!("{path}.nodeSelector"),
            &forwarder.node_selector,
            problems,
        );
    }
    for (index, app) in spec.apps.iter().enumerate() {
        seen.check(format!("spec.apps[{index}].name"), &app.name, problems);
    }
}

/// Names so far, each with where it was first.
#[derive(Default)]
struct Seen<'a> {
    names: BTreeMap<&'a str, String>,
}

impl<'a> Seen<'a> {
    fn check(&mut self, path: String, name: &'a str, problems: &mut Problems) {
        if !names::is_name(name) {
            let expected = "letters, digits, '-', '_' and '.', with a letter or digit at both ends";
            let message = format!("expected {expected}, at most 63 characters, found {name:?}");
            return problems.push(path, message);
        }
        if let Some(first) = self.names.get(name) {
            let message = format!("duplicate name {name:?}: expected another than that of {first}");
            return problems.push(path, message);
        }
        self.names.insert(name, path);
    }
}
