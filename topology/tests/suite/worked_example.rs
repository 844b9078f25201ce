//! The worked example of the specification, verbatim.
//!
//! ```text
//! App2 -1- F1 --1-- F2
//!         / | \      |
//!        1  5  .     1
//!       /    \       |
//!      F3 -1- F4 ----+     App1 -1- F4
//!        \    |
//!         3   2
//!          \  |
//!            F5
//! ```

use topology::{
    AppSpec, Change, Fault, Graph, LinkIndex, LinkSpec, Spf, Table, Topology, interop, plan, stage,
};

fn example() -> Topology {
    let link = |a: &str, b: &str, weight| LinkSpec {
        a: a.into(),
        b: b.into(),
        weight,
        weight_back: weight,
    };
    let app = |name: &str, at: &str| AppSpec {
        name: name.into(),
        attachments: vec![(at.into(), 1)],
    };
    Topology::new(
        ["F1", "F2", "F3", "F4", "F5"].map(String::from).to_vec(),
        vec![
            link("F1", "F2", 1),
            link("F1", "F3", 1),
            link("F2", "F4", 1),
            link("F3", "F4", 1),
            link("F1", "F4", 5),
            link("F4", "F5", 2),
            link("F3", "F5", 3),
        ],
        vec![app("App1", "F4"), app("App2", "F1")],
    )
    .expect("the example is sound")
}

fn tables(topology: &Topology) -> Vec<Table> {
    let graph = Graph::new(topology);
    let root = |name: &String| topology.forwarder(name).expect("it is one of them");
    let table = |name| Table::new(topology, &graph, &Spf::compute(&graph, root(name)), 64);
    topology.forwarders().iter().map(table).collect()
}

/// Distance and neighbours, as `2 via F2 F3`, or `1 attached`.
fn route(topology: &Topology, from: &str, to: &str) -> Option<String> {
    let from = topology.forwarder(from).expect("a forwarder");
    let tables = tables(topology);
    let table = &tables[from.position()];
    let via = |links: &[LinkIndex]| -> String {
        let other = |link: &LinkIndex| topology.links()[link.position()].other(from);
        let mut names: Vec<&str> = links
            .iter()
            .map(|link| topology.forwarders()[other(link).position()].as_str())
            .collect();
        names.sort_unstable();
        names.join(" ")
    };
    if let Some(app) = topology.app(to) {
        let (route, links) = table.to_app(app)?;
        return Some(match route.attached {
            true => format!("{} attached", route.distance),
            false => format!("{} via {}", route.distance, via(links)),
        });
    }
    let (route, links) = table.to_forwarder(topology.forwarder(to).expect("a name"))?;
    Some(format!("{} via {}", route.distance, via(links)))
}

#[test]
fn routes_are_those_of_the_specification() {
    #[rustfmt::skip]
    let cases = [
        ("F1", "F2",   "1 via F2"),
        ("F1", "F3",   "1 via F3"),
        ("F1", "F4",   "2 via F2 F3"),
        ("F1", "F5",   "4 via F2 F3"),
        ("F1", "App1", "3 via F2 F3"),
        ("F1", "App2", "1 attached"),
        ("F5", "App2", "5 via F3 F4"),
    ];
    for (from, to, expected) in cases {
        assert_eq!(
            route(&example(), from, to).as_deref(),
            Some(expected),
            "{from} to {to}"
        );
    }
}

#[test]
fn without_a_link_the_rest_carries() {
    let topology = example();
    let lost = topology.link("F2/F4").expect("declared");
    let rest = topology.without(&[Fault::Link(lost)]);
    assert_eq!(route(&rest, "F1", "App1").as_deref(), Some("3 via F3"));
    assert_eq!(route(&rest, "F2", "App1").as_deref(), Some("4 via F1"));

    let mut graph = Graph::new(&topology);
    let change = graph.change(Change::Link {
        link: lost,
        weights: None,
    });
    assert_eq!(graph.epoch(), rest.epoch());
    for name in topology.forwarders() {
        let root = topology.forwarder(name).expect("declared");
        let mut spf = Spf::compute(&Graph::new(&topology), root);
        spf.update(&graph, &[change]);
        let full = Spf::compute(&graph, root);
        let table = |spf| Table::new(&topology, &graph, spf, 64);
        assert_eq!(table(&spf), table(&full), "from {name}");
        assert_eq!(table(&spf).digest(), table(&full).digest(), "from {name}");
    }
}

#[test]
fn last_edges_are_those_of_the_specification() {
    let topology = example();
    let graph = Graph::new(&topology);
    let root = topology.forwarder("F1").expect("declared");
    let spf = Spf::compute(&graph, root);
    let name =
        |forwarder: topology::ForwarderIndex| topology.forwarders()[forwarder.position()].clone();
    let into = |to: &str| -> Vec<String> {
        let to = topology.forwarder(to).expect("declared");
        spf.predecessors(&graph, to)
            .map(|(from, _)| name(from))
            .collect()
    };
    assert_eq!(into("F4"), ["F2", "F3"]);
    assert_eq!(into("F5"), ["F3", "F4"]);
    assert_eq!(into("F1"), [""; 0]);

    let spt = stage::spt_ecmp(&topology, &graph, &spf);
    let edges: Vec<String> = spt
        .arcs
        .iter()
        .map(|arc| format!("{}>{}", name(arc.from), name(arc.to)))
        .collect();
    assert_eq!(
        edges,
        ["F1>F2", "F1>F3", "F2>F4", "F3>F4", "F3>F5", "F4>F5"]
    );
    assert_eq!(spt.attachments.len(), 2);
    let mwt = stage::mwt(&topology, &graph, &spf);
    assert_eq!(
        mwt.forwarders,
        [Some(0), Some(1), Some(1), Some(2), Some(4)]
    );
    assert_eq!(mwt.apps, [Some(3), Some(1)]);
    assert_eq!(mwt.arcs.len(), 14);
    assert_eq!(stage::global(&topology, &graph).epoch, topology.epoch());
}

#[test]
fn a_plan_says_what_a_lost_link_changes() {
    let old = example();
    let lost = Fault::Link(old.link("F4/F2").expect("ends in either order"));
    let new = old.without(&[lost]);
    let plan = plan((&old, &tables(&old)), (&new, &tables(&new)));
    assert_eq!((plan.old_epoch, plan.new_epoch), (old.epoch(), new.epoch()));
    let from = &plan.forwarders["F1"];
    assert!(from.added.is_empty() && from.removed.is_empty());
    let changed: Vec<&str> = from.changed.keys().map(String::as_str).collect();
    assert_eq!(changed, ["App1", "F4", "F5"]);
    let (before, after) = &from.changed["App1"];
    let links = |entry: &topology::plan::Entry| -> Vec<String> {
        entry
            .next_hops
            .iter()
            .map(|hop| format!("{} {}", hop.via, hop.link))
            .collect()
    };
    assert_eq!(links(before), ["F2 F1/F2", "F3 F1/F3"]);
    assert_eq!(links(after), ["F3 F1/F3"]);

    let same = topology::plan((&old, &tables(&old)), (&old, &tables(&old)));
    assert!(same.is_empty(), "{same:?}");
}

#[test]
fn a_plan_follows_names_when_forwarders_go() {
    let old = example();
    let lost = Fault::Forwarder(old.forwarder("F3").expect("declared"));
    let new = old.without(&[lost]);
    let plan = plan((&old, &tables(&old)), (&new, &tables(&new)));
    let of = |name: &str| &plan.forwarders[name];
    assert_eq!(of("F3").removed.len(), 6, "all routes of the lost one");
    assert_eq!(of("F2").removed.keys().collect::<Vec<_>>(), ["F3"]);
    // F2 reaches F4, F5 and App1 as before, over links whose indices moved.
    assert!(of("F2").changed.is_empty(), "{:?}", of("F2").changed);
}

#[test]
fn dot_has_every_node_and_weight() {
    let topology = example();
    let dot = interop::dot(&topology, &Graph::new(&topology));
    for part in [
        "digraph",
        "label=\"F5\" shape=ellipse",
        "label=\"App1\" shape=box",
        "label=\"5\"",
    ] {
        assert!(dot.contains(part), "{part} in {dot}");
    }
}
