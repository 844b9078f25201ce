//! Interest of topologies in nodes. Pure, and rather too much than too little.

use std::collections::BTreeMap;

use crds::{MicroServiceTopologySpec, Node, selector::matches_labels};

use crate::plan::Unfit;

/// True when the existence or the labels of `node` may change the placement of Forwarders.
pub(super) fn may_hold(spec: &MicroServiceTopologySpec, node: &Node) -> bool {
    let per_node = spec
        .forwarder_per_node
        .as_ref()
        .is_some_and(|per_node| matches_labels(&per_node.node_selector, &node.labels));
    per_node
        || spec.forwarders.iter().any(|entry| match &entry.node {
            Some(name) => *name == node.name,
            None => {
                !entry.node_selector.is_empty()
                    && matches_labels(&entry.node_selector, &node.labels)
            }
        })
}

/// Reason why no daemon can run on a node: the DaemonSet takes Linux nodes with the labels of
/// `selector`. A node without an OS label counts as Linux.
pub(super) fn no_daemon(selector: &BTreeMap<String, String>, node: &Node) -> Option<Unfit> {
    let system = node.labels.get("kubernetes.io/os").map(String::as_str);
    let is_linux = system.is_none_or(|system| system == "linux");
    let has_daemon = is_linux && matches_labels(selector, &node.labels);
    (!has_daemon).then_some(Unfit::NoDaemon)
}

#[cfg(test)]
mod tests {
    use crds::topology::{ForwarderEntry, ForwarderPerNode};

    use super::*;

    fn labels(key: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(key.to_owned(), value.to_owned())])
    }

    #[test]
    fn daemons_are_on_linux_nodes_with_the_labels_of_the_chart() {
        let node = |key: &str, value: &str| Node {
            name: "n1".to_owned(),
            labels: labels(key, value),
        };
        let (any, role) = (BTreeMap::new(), labels("role", "mesh"));
        #[rustfmt::skip]
        let cases = [
            (&any, node("kubernetes.io/os", "windows"), Some(Unfit::NoDaemon)),
            (&any, node("kubernetes.io/os", "linux"), None),
            (&any, node("zone", "a"), None),
            (&role, node("role", "mesh"), None),
            (&role, node("kubernetes.io/os", "linux"), Some(Unfit::NoDaemon)),
        ];
        for (selector, node, expected) in cases {
            assert_eq!(
                no_daemon(selector, &node),
                expected,
                "{selector:?}, {node:?}"
            );
        }
    }

    #[test]
    fn nodes_concern_those_that_name_or_select_them() {
        let named = ForwarderEntry {
            node: Some("n1".to_owned()),
            ..ForwarderEntry::default()
        };
        let selected = ForwarderEntry {
            node_selector: labels("zone", "b"),
            ..ForwarderEntry::default()
        };
        let anywhere = ForwarderEntry::default();
        let of = |entry| MicroServiceTopologySpec {
            forwarders: vec![entry],
            ..MicroServiceTopologySpec::default()
        };
        let per_node = MicroServiceTopologySpec {
            forwarder_per_node: Some(ForwarderPerNode::default()),
            ..MicroServiceTopologySpec::default()
        };
        let node = |name: &str, zone: &str| Node {
            name: name.to_owned(),
            labels: labels("zone", zone),
        };
        assert!(may_hold(&of(named.clone()), &node("n1", "a")));
        assert!(!may_hold(&of(named), &node("n2", "a")));
        assert!(may_hold(&of(selected.clone()), &node("n2", "b")));
        assert!(!may_hold(&of(selected), &node("n2", "a")));
        assert!(!may_hold(&of(anywhere), &node("n2", "a")));
        assert!(may_hold(&per_node, &node("n2", "a")));
    }
}
