//! Which topologies a node concerns. Pure, and rather too many than too few.

use crds::{MicroServiceTopologySpec, Node, selector::matches_labels};

/// Whether the existence or the labels of `node` may change where Forwarders are.
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crds::topology::{ForwarderEntry, ForwarderPerNode};

    use super::*;

    fn labels(key: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(key.to_owned(), value.to_owned())])
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
