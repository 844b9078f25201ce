//! The topologies in `examples/` are right, and have the properties that their comments claim.

use std::{collections::BTreeMap, fs, path::Path};

use crds::{Instances, MicroServiceTopology, Node, forwarder::WireType, names};
use topology::{Graph, Spf, Topology};

fn example(name: &str) -> MicroServiceTopology {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples")
        .join(name);
    let text = fs::read(path).expect("an example");
    match crds::load(name, text.as_slice()) {
        Ok(topologies) => topologies.into_iter().next().expect("a topology"),
        Err(problems) => panic!("{problems:#?}"),
    }
}

fn graph(name: &str) -> Topology {
    crds::to_topology(&example(name), &Instances::new()).expect("a graph")
}

/// Distance, and ids of the links out of `from`, to a Forwarder.
fn route(topology: &Topology, from: &str, to: &str) -> (Option<u64>, Vec<String>) {
    let [from, to] = [from, to].map(|name| topology.forwarder(name).expect("a forwarder"));
    let spf = Spf::compute(&Graph::new(topology), from);
    let links = spf
        .next_hops(to)
        .map(|link| topology.link_id(link))
        .collect();
    (spf.distance(to), links)
}

const ALL: [&str; 6] = [
    "iot.yaml",
    "worked.yaml",
    "ring.yaml",
    "fabric.yaml",
    "grid.yaml",
    "external.yaml",
];

#[test]
fn every_example_is_linted_expanded_and_the_same_graph_afterwards() {
    let nodes: Vec<Node> = ["n1", "n2", "n3"].map(Node::from).into();
    for name in ALL {
        let topology = example(name);
        assert_eq!(format!("{}.yaml", topology.metadata.name), name);
        let forwarders = crds::expand(&topology, &nodes, &[], &Instances::new()).expect(name);
        assert_eq!(forwarders.len(), topology.spec.forwarders.len(), "{name}");
        assert!(
            forwarders
                .iter()
                .all(|f| names::is_dns_subdomain(&f.metadata.name)),
            "{name}"
        );
        let again = crds::topology_of(&forwarders).expect(name);
        assert_eq!(again.epoch(), graph(name).epoch(), "{name}");
    }
}

#[test]
fn the_demo_has_both_kinds_of_links_and_an_equal_split() {
    let topology = graph("iot.yaml");
    let (distance, links) = route(&topology, "plant-a", "cloud-b");
    assert_eq!(distance, Some(3));
    assert_eq!(links, ["north/plant-a", "plant-a/plant-b"]);
    let nodes: Vec<Node> = ["n1", "n2", "n3"].map(Node::from).into();
    let expanded = crds::expand(&example("iot.yaml"), &nodes, &[], &Instances::new());
    let forwarders = expanded.expect("forwarders");
    let mut kinds = BTreeMap::new();
    for link in forwarders
        .iter()
        .flat_map(|forwarder| &forwarder.spec.links)
    {
        *kinds.entry(link.r#type == WireType::Vxlan).or_insert(0) += 1;
        assert_eq!(
            link.r#type == WireType::Vxlan,
            link.vni.is_some(),
            "{}",
            link.id
        );
    }
    // Two ends each: plant-a/plant-b, cloud-a/cloud-b and north/south are on one node.
    assert_eq!(kinds, BTreeMap::from([(false, 6), (true, 10)]));
}

#[test]
fn the_worked_example_has_the_distances_of_its_drawing() {
    let topology = graph("worked.yaml");
    for (to, distance) in [("F2", 1), ("F3", 1), ("F4", 2), ("F5", 4)] {
        assert_eq!(route(&topology, "F1", to).0, Some(distance), "{to}");
    }
    assert_eq!(route(&topology, "F1", "F4").1, ["F1/F2", "F1/F3"]);
    assert_eq!(route(&topology, "F1", "F5").1, ["F1/F2", "F1/F3"]);
    assert_eq!(route(&topology, "F5", "F1").1, ["F3/F5", "F4/F5"]);
}

#[test]
fn shapes_give_the_paths_that_the_comments_count() {
    let fabric = route(&graph("fabric.yaml"), "leaf-1", "leaf-8");
    assert_eq!((fabric.0, fabric.1.len()), (Some(2), 4));
    let grid = route(&graph("grid.yaml"), "a1", "c3");
    assert_eq!(
        (grid.0, grid.1),
        (Some(4), vec!["a1/a2".to_owned(), "a1/b1".to_owned()])
    );
    let ring = graph("ring.yaml");
    assert_eq!(route(&ring, "athens", "berlin").0, Some(1));
    assert_eq!(route(&ring, "berlin", "athens").0, Some(4));
    let external = route(&graph("external.yaml"), "edge-a", "edge-b");
    assert_eq!((external.0, external.1.len()), (Some(2), 2));
}
