//! Peers of this node, from the desired state. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::objects::Snapshot;

/// Nodes that share a topology with this one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Membership {
    /// Internal addresses of each peer, by node name.
    pub(super) peers: BTreeMap<String, Vec<IpAddr>>,
    /// Internal addresses of this node.
    pub(super) own: Vec<IpAddr>,
}

impl Membership {
    /// Membership of the node called `node`.
    pub(super) fn new(node: &str, snapshot: &Snapshot) -> Membership {
        let forwarders = || snapshot.forwarders.values();
        let here: BTreeSet<_> = forwarders()
            .filter(|forwarder| forwarder.spec.node == node)
            .map(|forwarder| forwarder.topology_key())
            .collect();
        let peers = forwarders()
            .filter(|forwarder| {
                let on = &forwarder.spec.node;
                on != node && !on.is_empty() && here.contains(&forwarder.topology_key())
            })
            .map(|forwarder| forwarder.spec.node.clone());
        let addresses = |name: &str| {
            let object = snapshot.nodes.get(name);
            object.map_or_else(Vec::new, |object| object.internal_addresses().collect())
        };
        Membership {
            peers: peers
                .collect::<BTreeSet<_>>()
                .into_iter()
                .map(|name| (name.clone(), addresses(&name)))
                .collect(),
            own: addresses(node),
        }
    }

    /// True when `address` belongs to a peer.
    pub(super) fn has_address(&self, address: IpAddr) -> bool {
        self.peers.values().flatten().any(|known| *known == address)
    }
}
#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crds::{Instances, Node, NodeObject};

    use super::*;

    #[test]
    fn peers_are_the_nodes_of_topologies_that_are_here() {
        let text = "\
apiVersion: beemesh.io/v1alpha1
kind: MicroServiceTopology
metadata: {name: NAME}
spec:
  forwarders: [{name: a, node: A}, {name: b, node: B}]
  links: [{a: a, b: b}]
";
        let mut snapshot = Snapshot::default();
        for (name, a, b) in [
            ("one", "n1", "n2"),
            ("two", "n2", "n3"),
            ("three", "n1", "n4"),
        ] {
            let text = text.replace("NAME", name);
            let text = text.replace("node: A", &format!("node: {a}"));
            let text = text.replace("node: B", &format!("node: {b}"));
            let declared = crds::read("test", text.as_bytes()).unwrap();
            let nodes: Vec<Node> = ["n1", "n2", "n3", "n4"].map(Node::from).into();
            let made = crds::expand(&declared[0], &nodes, &[], &Instances::new()).unwrap();
            let made = made.into_iter().map(Arc::new);
            let named = made.map(|forwarder| (forwarder.metadata.name.clone(), forwarder));
            snapshot.forwarders.extend(named);
        }
        let addresses = ["192.0.2.2".parse().unwrap(), "2001:db8::2".parse().unwrap()];
        let object = Arc::new(NodeObject::new("n2", &addresses));
        snapshot.nodes.insert("n2".to_owned(), object);

        let peers = |node: &str| Membership::new(node, &snapshot).peers;
        let expected = [
            ("n2".to_owned(), addresses.to_vec()),
            ("n4".to_owned(), vec![]),
        ];
        assert_eq!(peers("n1"), expected.into());
        assert_eq!(Vec::from_iter(peers("n2").into_keys()), ["n1", "n3"]);
        assert!(peers("n9").is_empty());
    }
}
