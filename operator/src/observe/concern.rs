//! Which topologies a node or a pod concerns. Pure, and rather too many than too few.

use crds::{MicroServiceTopology, MicroServiceTopologySpec, Node, selector::matches_labels};

use crate::plan::Pod;

/// Annotation of a pod: names of the topologies it joins, separated by commas.
pub(super) const TOPOLOGIES: &str = "beemesh.io/topologies";

/// Whether `pod` is, or asks to be, an instance of an App of `topology`.
pub(super) fn may_join(topology: &MicroServiceTopology, pod: &Pod) -> bool {
    let spec = &topology.spec;
    let is_allowed = pod.namespace == topology.metadata.namespace
        || spec
            .allowed_namespaces
            .iter()
            .any(|namespace| namespace == "*" || *namespace == pod.namespace);
    if !is_allowed {
        return false;
    }
    let annotated = pod.annotations.get(TOPOLOGIES).is_some_and(|names| {
        names
            .split(',')
            .any(|name| name.trim() == topology.metadata.name)
    });
    annotated
        || spec
            .apps
            .iter()
            .filter_map(|app| app.pod_selector.as_ref())
            .any(|selector| selector.matches(&pod.labels))
}

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

    use crds::{
        LabelSelector,
        topology::{AppEntry, ForwarderEntry, ForwarderPerNode},
    };

    use super::*;

    fn labels(key: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(key.to_owned(), value.to_owned())])
    }

    #[test]
    fn pods_join_by_selector_or_annotation_where_they_may() {
        let mut app = AppEntry::new("web");
        app.pod_selector = Some(LabelSelector {
            match_labels: labels("app", "web"),
            ..LabelSelector::default()
        });
        let spec = MicroServiceTopologySpec {
            apps: vec![app],
            allowed_namespaces: vec!["guests".to_owned()],
            ..MicroServiceTopologySpec::default()
        };
        let topology = MicroServiceTopology::new("iot", spec);
        #[rustfmt::skip]
        let cases = [
            // namespace  app    topologies    joins
            ("default",  "web", "",           true),
            ("default",  "db",  "",           false),
            ("default",  "db",  "other, iot", true),
            ("default",  "db",  "iot2",       false),
            ("guests",   "web", "",           true),
            ("others",   "web", "iot",        false),
        ];
        for (namespace, app, topologies, expected) in cases {
            let pod = Pod {
                namespace: namespace.to_owned(),
                labels: labels("app", app),
                annotations: labels(TOPOLOGIES, topologies),
                ..Pod::default()
            };
            assert_eq!(
                may_join(&topology, &pod),
                expected,
                "{namespace} {app} {topologies}"
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
