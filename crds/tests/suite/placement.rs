//! Placement of Forwarders, and checks that need the nodes.

use std::collections::BTreeMap;

use crds::{Forwarder, Instances, Layout, MicroServiceTopology, Node, Problem, Settled};

fn topology(spec: &str) -> MicroServiceTopology {
    let head = "apiVersion: beemesh.io/v1alpha1\nkind: MicroServiceTopology\nmetadata: {name: t}\n";
    let text = format!("{head}spec: {spec}");
    let read = crds::load("f", text.as_bytes());
    read.unwrap_or_else(|problems| panic!("{problems:#?}"))
        .remove(0)
}

fn node(name: &str, zone: &str) -> Node {
    Node {
        labels: BTreeMap::from([("zone".to_owned(), zone.to_owned())]),
        ..Node::from(name)
    }
}

fn expand(
    spec: &str,
    nodes: &[Node],
    previous: &[Forwarder],
) -> Result<Vec<Forwarder>, Vec<Problem>> {
    crds::expand(&topology(spec), nodes, previous, &Instances::new())
}

/// `name@node` of each.
fn places(forwarders: &[Forwarder]) -> Vec<String> {
    forwarders
        .iter()
        .map(|f| format!("{}@{}", f.spec.name, f.spec.node))
        .collect()
}

#[test]
fn forwarders_go_to_the_matching_node_with_the_fewest() {
    let nodes = [node("n1", "a"), node("n2", "b"), node("n3", "b")];
    #[rustfmt::skip]
    let cases = [
        ("{forwarders: [{name: x}, {name: y}, {name: z}, {name: q}]}", "q@n1 x@n1 y@n2 z@n3"),
        ("{forwarders: [{name: x, node: n1}, {name: y}, {name: z}]}", "x@n1 y@n2 z@n3"),
        ("{forwarders: [{name: x}, {name: y, node: n1}]}", "x@n2 y@n1"),
        ("{forwarders: [{name: x, nodeSelector: {zone: b}}, {name: y, nodeSelector: {zone: b}}]}", "x@n2 y@n3"),
        ("{forwarders: [{name: x, node: elsewhere}]}", "x@elsewhere"),
        ("{forwarderPerNode: {}}", "n1@n1 n2@n2 n3@n3"),
        ("{forwarderPerNode: {nodeSelector: {zone: b}}}", "n2@n2 n3@n3"),
        ("{forwarderPerNode: {nodeSelector: {zone: q}}}", ""),
    ];
    for (spec, expected) in cases {
        let forwarders = expand(spec, &nodes, &[]).expect(spec);
        assert_eq!(places(&forwarders).join(" "), expected, "{spec}");
    }
}

#[test]
fn a_forwarder_moves_only_when_its_node_no_longer_matches() {
    let spec = "{forwarders: [{name: x, nodeSelector: {zone: b}}]}";
    let before = expand(spec, &[node("n2", "b")], &[]).expect("forwarders");
    let more = [node("n1", "b"), node("n2", "b")];
    assert_eq!(
        places(&expand(spec, &more, &before).expect("forwarders")),
        ["x@n2"]
    );
    let moved = [node("n1", "b"), node("n2", "a")];
    assert_eq!(
        places(&expand(spec, &moved, &before).expect("forwarders")),
        ["x@n1"]
    );
    let gone = [node("n1", "b")];
    assert_eq!(
        places(&expand(spec, &gone, &before).expect("forwarders")),
        ["x@n1"]
    );
}

#[test]
fn what_the_nodes_cannot_give_is_a_problem_with_its_place() {
    let two = [node("n1", "a"), node("n2", "a")];
    #[rustfmt::skip]
    let cases = [
        ("{forwarders: [{name: x}]}", &[][..], "spec.forwarders[0]", "no node"),
        ("{forwarders: [{name: x, nodeSelector: {zone: b}}]}", &two[..],
            "spec.forwarders[0].nodeSelector", "expected a node with zone=b"),
        ("{forwarders: [{name: x}, {name: y}], links: [{a: x, b: y, type: Veth}]}", &two[..],
            "spec.links", "link x/y cannot be Veth: x is on n1, y on n2"),
        ("{forwarders: [{name: x}, {name: y}], links: [{a: x, b: y, type: Vxlan}]}", &two[..1],
            "spec.links", "link x/y cannot be Vxlan"),
    ];
    for (spec, nodes, path, message) in cases {
        let problems = expand(spec, nodes, &[]).expect_err(spec);
        assert_eq!(problems.len(), 1, "{spec}: {problems:?}");
        assert_eq!(problems[0].path, path, "{spec}");
        assert!(
            problems[0].message.contains(message),
            "{spec}: {}",
            problems[0]
        );
    }
}

#[test]
fn a_node_that_can_name_no_forwarder_is_left_out() {
    let long = "a-node-whose-name.is-longer-than.sixty-three-characters.example.com";
    let nodes = ["n1", long, "n2", "n3"].map(Node::from);
    let topology = topology("{forwarderPerNode: {}, shape: Mesh, apps: [{name: n2}]}");
    let layout = Layout::new(&topology, &nodes, &Settled::new()).expect("a layout");
    assert_eq!(layout.names(), ["n1", "n3"]);
    assert_eq!(layout.tunnels(), ["n1/n3"]);
    let left_out = layout
        .left_out()
        .iter()
        .map(|left| (left.node, left.reason));
    let expected = [
        (long, "its name is longer than 63 characters"),
        ("n2", "its name is that of an App"),
    ];
    assert_eq!(left_out.collect::<Vec<_>>(), expected);
    let graph = crds::to_topology_on(&topology, &nodes, &Instances::new()).expect("a graph");
    assert_eq!(graph.forwarders(), ["n1", "n3"]);
}

#[test]
fn links_and_apps_of_nodes_that_are_not_there_wait_for_them() {
    let spec = "{forwarderPerNode: {}, links: [{a: n1, b: n2}, {a: n1, b: n9}], \
                apps: [{name: x, forwarder: n9}, {name: y}]}";
    let two = [node("n1", "a"), node("n2", "a")];
    let forwarders = expand(spec, &two, &[]).expect("forwarders");
    let links: Vec<&str> = forwarders[0]
        .spec
        .links
        .iter()
        .map(|link| link.id.as_str())
        .collect();
    assert_eq!(links, ["n1/n2"]);
    let declared = crds::to_topology_on(&topology(spec), &two, &Instances::new());
    assert_eq!(
        declared,
        Ok(crds::topology_of(&forwarders).expect("a graph"))
    );
    let named = crds::to_topology(&topology(spec), &Instances::new()).expect_err("no nodes");
    assert_eq!(named[0].path, "spec.forwarderPerNode");
}

#[test]
fn instances_of_auto_apps_are_attached_in_canonical_order() {
    let topology = topology(
        "{forwarders: [{name: c}, {name: a}, {name: b}], apps: [{name: x}, {name: y, forwarder: b}]}",
    );
    for (count, expected) in [(0, ""), (1, "a"), (2, "ab"), (3, "abc"), (7, "abc")] {
        let instances = Instances::from([("x".to_owned(), count)]);
        let forwarders = crds::expand(&topology, &[Node::from("n")], &[], &instances);
        let forwarders = forwarders.expect("forwarders");
        let has = |forwarder: &&Forwarder, name: &str| {
            forwarder
                .spec
                .apps
                .iter()
                .any(|app| app.name == name && app.attached)
        };
        let on = |name| {
            let on = forwarders.iter().filter(|forwarder| has(forwarder, name));
            on.map(|forwarder| forwarder.spec.name.as_str())
                .collect::<String>()
        };
        assert_eq!(on("x"), expected, "{count} instances");
        assert_eq!(on("y"), "b");
        let listed = |forwarder: &Forwarder| forwarder.spec.apps.iter().any(|app| app.name == "x");
        assert!(forwarders.iter().all(listed), "a pod may join anywhere");
    }
}

#[test]
fn a_family_that_is_added_moves_no_block_of_the_other() {
    let spec = |forwarders: &str, cidrs: &str| {
        format!("{{forwarders: [{forwarders}], addressing: {{cidrs: [{cidrs}]}}}}")
    };
    let nodes = [node("n", "a")];
    let blocks = |forwarders: &[Forwarder]| -> Vec<String> {
        let blocks = forwarders.iter().flat_map(|f| &f.spec.blocks);
        blocks.map(ToString::to_string).collect()
    };
    let both = spec("{name: x}, {name: y}", "10.80.0.0/16");
    let before = expand(&both, &nodes, &[]).expect(&both);
    let one = spec("{name: y}", "\"fd00:80::/48\", 10.80.0.0/16");
    let after = expand(&one, &nodes, &before).expect(&one);
    assert_eq!(blocks(&before), ["10.80.0.0/24", "10.80.1.0/24"]);
    assert_eq!(blocks(&after), ["fd00:80::/64", "10.80.1.0/24"]);
}
