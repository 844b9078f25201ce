use std::collections::BTreeMap;

use topology::{AppSpec, ForwarderIndex, Graph, LinkSpec, Spf, Table, Topology};

use super::*;

fn link(a: &str, b: &str, weight: u32) -> LinkSpec {
    LinkSpec {
        a: a.to_owned(),
        b: b.to_owned(),
        weight,
        weight_back: weight,
    }
}

/// a = b (twice, weights 1 and 2), b - c; an App on c.
fn topology() -> Topology {
    let forwarders = ["a", "b", "c"].map(str::to_owned).to_vec();
    let links = vec![link("a", "b", 1), link("a", "b", 2), link("b", "c", 3)];
    let app = AppSpec {
        name: "app".to_owned(),
        attachments: vec![("c".to_owned(), 1)],
    };
    Topology::new(forwarders, links, vec![app]).expect("a sound topology")
}

fn graph(topology: &Topology, stage: Stage) -> GraphReport {
    let graph = Graph::new(topology);
    let spf = (stage != Stage::Global).then(|| Spf::compute(&graph, ForwarderIndex(0)));
    let order: Vec<ForwarderIndex> = (0..3).map(ForwarderIndex).collect();
    let seen = Seen {
        name: "t",
        topology,
        graph: &graph,
        spf: spf.as_ref(),
        stage,
        order: &order,
        nodes: &BTreeMap::from([("b", "n1")]),
    };
    seen.report()
}

#[test]
fn each_stage_adds_to_the_one_before() {
    let topology = topology();
    let stages = [Stage::Global, Stage::Mwt, Stage::Spt].map(|stage| graph(&topology, stage));
    let counts = stages.each_ref().map(|report| {
        let root = report.root.as_deref();
        (
            root,
            report.links.len(),
            report.distances.len(),
            report.tree.len(),
        )
    });
    let expected = [(None, 3, 0, 0), (Some("a"), 2, 4, 0), (Some("a"), 3, 4, 3)];
    assert_eq!(counts, expected);
    let to_app = Edge {
        from: "c".to_owned(),
        to: "app".to_owned(),
        link: None,
    };
    assert_eq!(stages[2].tree.last(), Some(&to_app));
    assert_eq!(stages[0].nodes[1].node.as_deref(), Some("n1"));
}

#[test]
fn a_table_names_next_hops_and_what_is_attached() {
    let topology = topology();
    let graph = Graph::new(&topology);
    let of = |root| {
        let spf = Spf::compute(&graph, ForwarderIndex(root));
        table(&topology, &Table::new(&topology, &graph, &spf, 64))
    };
    let json = serde_json::to_value(&of(0)["app"]).expect("plain data");
    let hop = serde_json::json!({"via": "b", "link": "a/b"});
    let expected = serde_json::json!({"distance": 5, "attached": false, "nextHops": [hop]});
    assert_eq!(json, expected);
    assert!(of(2)["app"].attached);
    assert!(!of(2).contains_key("c"), "no route to itself");
}
