//! Declarations: what is refused, and that order does not matter.

use topology::{
    AppSpec, Fault, LinkSpec, Topology, TopologyError,
    generate::{Kind, generate},
    hash::SplitMix64,
    interop,
};

fn names(names: &str) -> Vec<String> {
    names.split_whitespace().map(String::from).collect()
}

fn link(a: &str, b: &str, weight: u32, weight_back: u32) -> LinkSpec {
    LinkSpec {
        a: a.into(),
        b: b.into(),
        weight,
        weight_back,
    }
}

fn app(name: &str, attachments: &[(&str, u32)]) -> AppSpec {
    let attachments = attachments
        .iter()
        .map(|(at, weight)| (String::from(*at), *weight));
    AppSpec {
        name: name.into(),
        attachments: attachments.collect(),
    }
}

#[test]
fn what_is_wrong_is_told() {
    #[rustfmt::skip]
    let cases = [
        (names("a a"), vec![], vec![], "name \"a\" is used twice"),
        (names("a"), vec![], vec![app("a", &[])], "name \"a\" is used twice"),
        (names("a"), vec![], vec![app("x", &[]), app("x", &[])], "name \"x\" is used twice"),
        (names("a/b"), vec![], vec![], "name \"a/b\" is empty or holds one of `/`, `#`"),
        (names("a"), vec![], vec![app("", &[])], "name \"\" is empty or holds one of `/`, `#`"),
        (names("a b"), vec![link("a", "c", 1, 1)], vec![], "link 0 ends at unknown forwarder \"c\""),
        (names("a"), vec![link("a", "a", 1, 1)], vec![], "link 0 joins forwarder \"a\" to itself"),
        (names("a b"), vec![link("b", "a", 1, 0)], vec![],
            "link 0 between \"b\" and \"a\" has weight 0, expected at least 1"),
        (names("a"), vec![], vec![app("x", &[("b", 1)])], "app \"x\" is attached to unknown forwarder \"b\""),
        (names("a"), vec![], vec![app("x", &[("a", 0)])],
            "app \"x\" has weight 0 on forwarder \"a\", expected at least 1"),
    ];
    for (forwarders, links, apps, expected) in cases {
        let error = Topology::new(forwarders, links, apps).expect_err(expected);
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn any_order_is_the_same_topology() {
    let once = Topology::new(
        names("b a c"),
        vec![link("b", "a", 1, 2), link("b", "c", 3, 4)],
        vec![
            app("y", &[("c", 1), ("a", 2)]),
            app("x", &[("b", 7), ("b", 5)]),
        ],
    );
    let again = Topology::new(
        names("c b a"),
        vec![link("c", "b", 4, 3), link("a", "b", 2, 1)],
        vec![app("x", &[("b", 5)]), app("y", &[("a", 2), ("c", 1)])],
    );
    assert_eq!(once, again);
    let (once, again) = (once.unwrap(), again.unwrap());
    assert_eq!(once.epoch(), again.epoch());
    assert_eq!(once.forwarders(), ["a", "b", "c"]);
    let first = &once.links()[0];
    assert_eq!((first.weight, first.weight_back), (2, 1), "seen from a");
}

#[test]
fn shuffled_declarations_have_one_epoch() {
    for seed in 0..200 {
        let mut numbers = SplitMix64::new(seed);
        let mut graph = generate(Kind::Random, 2 + seed as usize % 20, seed);
        let plain = graph.clone().into_topology().unwrap();
        shuffle(&mut graph.forwarders, &mut numbers);
        shuffle(&mut graph.links, &mut numbers);
        for link in &mut graph.links {
            if numbers.below(2) == 1 {
                std::mem::swap(&mut link.a, &mut link.b);
            }
        }
        let shuffled = graph.into_topology().unwrap();
        assert_eq!(plain, shuffled, "seed {seed}");
        assert_eq!(plain.epoch(), shuffled.epoch(), "seed {seed}");
    }
}

fn shuffle<T>(items: &mut [T], numbers: &mut SplitMix64) {
    for last in (1..items.len()).rev() {
        items.swap(last, numbers.below(last as u64 + 1) as usize);
    }
}

#[test]
fn every_part_counts_in_the_epoch() {
    let make = |forwarders, links, apps| {
        Topology::new(names(forwarders), links, apps)
            .unwrap()
            .epoch()
    };
    let epochs = [
        make("", vec![], vec![]),
        make("a", vec![], vec![]),
        make("a b", vec![], vec![]),
        make("a", vec![], vec![app("b", &[])]),
        make("a", vec![], vec![app("b", &[("a", 1)])]),
        make("a", vec![], vec![app("b", &[("a", 2)])]),
        make("a b", vec![link("a", "b", 1, 1)], vec![]),
        make("a b", vec![link("a", "b", 1, 2)], vec![]),
        make("a b", vec![link("a", "b", 2, 1)], vec![]),
        make(
            "a b",
            vec![link("a", "b", 1, 1), link("a", "b", 1, 1)],
            vec![],
        ),
    ];
    for (position, epoch) in epochs.iter().enumerate() {
        assert!(!epochs[..position].contains(epoch), "{position}");
    }
    // Written down: an epoch must not change with a version of beemesh.
    assert_eq!(epochs[6].to_string(), EPOCH_OF_ONE_LINK);
}

const EPOCH_OF_ONE_LINK: &str = "a7dd5c265c02c4f5";

#[test]
fn links_are_found_by_their_ids() {
    let links = vec![
        link("b", "a", 1, 1),
        link("a", "b", 2, 2),
        link("b", "c", 1, 1),
    ];
    let topology = Topology::new(names("a b c"), links, vec![]).unwrap();
    for (id, canonical) in [
        ("a/b", Some("a/b")),
        ("b/a", Some("a/b")),
        ("a/b#1", Some("a/b")),
        ("b/a#2", Some("a/b#2")),
        ("c/b", Some("b/c")),
        ("a/b#3", None),
        ("a/c", None),
        ("a/x", None),
        ("a", None),
        ("a/b#x", None),
    ] {
        let found = topology.link(id).map(|link| topology.link_id(link));
        assert_eq!(found.as_deref(), canonical, "{id}");
    }
    let (a, b) = (
        topology.forwarder("a").unwrap(),
        topology.forwarder("b").unwrap(),
    );
    assert_eq!(topology.links_between(b, a).count(), 2);
    assert_eq!(topology.links_between(a, a).count(), 0);
}

#[test]
fn what_is_left_keeps_its_names() {
    let links = vec![
        link("a", "b", 1, 1),
        link("a", "b", 2, 2),
        link("b", "c", 1, 1),
    ];
    let apps = vec![app("x", &[("a", 1), ("c", 1)])];
    let topology = Topology::new(names("a b c"), links, apps).unwrap();
    let without = |ids: &[&str]| {
        let fault = |id: &&str| match topology.link(id) {
            Some(link) => Fault::Link(link),
            None => Fault::Forwarder(topology.forwarder(id).unwrap()),
        };
        topology.without(&ids.iter().map(fault).collect::<Vec<_>>())
    };
    let rest = without(&["a/b"]);
    assert_eq!(rest.link_id(rest.link("a/b#2").unwrap()), "a/b#2");
    assert_eq!(rest.link("a/b"), None);
    let rest = without(&["a"]);
    assert_eq!(rest.forwarders(), ["b", "c"]);
    assert_eq!(rest.links().len(), 1);
    assert_eq!(
        rest.apps()[0].attachments,
        [(rest.forwarder("c").unwrap(), 1)]
    );
    assert_eq!(without(&[]), topology);
    assert_eq!(without(&["a", "b", "c"]).forwarders(), [""; 0]);
}

#[test]
fn petgraph_graphs_are_imported() {
    let mut undirected = petgraph::graph::UnGraph::new_undirected();
    let (a, b) = (
        undirected.add_node("a".to_string()),
        undirected.add_node("b".to_string()),
    );
    undirected.add_edge(b, a, 3_u32);
    let topology = interop::import(&undirected).unwrap();
    assert_eq!(
        topology,
        Topology::new(names("a b"), vec![link("a", "b", 3, 3)], vec![]).unwrap()
    );

    let mut directed = petgraph::graph::DiGraph::new();
    let (a, b) = (
        directed.add_node("a".to_string()),
        directed.add_node("b".to_string()),
    );
    directed.add_edge(b, a, 3_u32);
    let one_way = TopologyError::OneWay {
        from: "b".into(),
        to: "a".into(),
    };
    assert_eq!(interop::import_directed(&directed), Err(one_way));
    directed.add_edge(a, b, 4);
    let topology = interop::import_directed(&directed).unwrap();
    assert_eq!(
        topology,
        Topology::new(names("a b"), vec![link("a", "b", 4, 3)], vec![]).unwrap()
    );
}
