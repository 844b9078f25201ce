//! Drained Forwarders and links carry traffic only when nothing else can.

use std::collections::BTreeMap;

use crds::{Instances, MicroServiceTopology, Node, Settled, topology::DRAINED_WEIGHT};
use topology::{Graph, Spf};

/// A square a-b-d-c-a, with two links between a and b.
fn square(drain: &str) -> MicroServiceTopology {
    let text = format!(
        "apiVersion: beemesh.io/v1alpha1\nkind: MicroServiceTopology\nmetadata: {{name: t}}\nspec:\n  \
         forwarders: [{{name: a}}, {{name: b}}, {{name: c}}, {{name: d}}]\n  \
         links: [{{a: a, b: b}}, {{a: b, b: a, weight: 5, weightBack: 4000000000}}, {{a: b, b: d}}, \
                 {{a: a, b: c}}, {{a: c, b: d}}]\n  drain: {drain}\n"
    );
    let read = crds::load("t.yaml", text.as_bytes());
    read.unwrap_or_else(|problems| panic!("{drain}: {problems:#?}"))
        .remove(0)
}

/// Weights by link id, as seen from the end that is first in byte order.
fn drained(drain: &str) -> String {
    let topology = square(drain);
    let nodes = ["n1", "n2"].map(Node::from);
    let none = Instances::new();
    let forwarders = crds::expand(&topology, &nodes, &[], &none).expect("forwarders");
    let declared = crds::to_topology(&topology, &none).expect("a graph");
    let derived = crds::topology_of(&forwarders).expect("a graph");
    assert_eq!(declared.epoch(), derived.epoch(), "{drain}");
    let links = forwarders.iter().flat_map(|f| &f.spec.links);
    let weights: BTreeMap<&str, bool> = links
        .map(|link| {
            (
                link.id.as_str(),
                link.weight.min(link.weight_back) >= DRAINED_WEIGHT,
            )
        })
        .collect();
    let drained = weights.into_iter().filter(|(_, is_drained)| *is_drained);
    drained.map(|(id, _)| id).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_is_drained_is_heavy_in_both_directions() {
    #[rustfmt::skip]
    let cases = [
        ("{}", ""),
        ("{forwarders: []}", ""),
        ("{forwarders: [b]}", "a/b a/b#2 b/d"),
        ("{forwarders: [a, d]}", "a/b a/b#2 a/c b/d c/d"),
        ("{links: [a/b]}", "a/b a/b#2"),
        ("{links: [b/a]}", "a/b a/b#2"),
        ("{links: [\"a/b#1\"]}", "a/b"),
        ("{links: [\"b/a#2\"]}", "a/b#2"),
        ("{links: [c/d], forwarders: [b]}", "a/b a/b#2 b/d c/d"),
    ];
    for (drain, expected) in cases {
        assert_eq!(drained(drain), expected, "{drain}");
    }
}

#[test]
fn a_weight_above_that_of_draining_stays() {
    let topology = square("{forwarders: [b]}");
    let forwarders = crds::expand(&topology, &[Node::from("n")], &[], &Instances::new());
    let forwarders = forwarders.expect("forwarders");
    let second = forwarders[0]
        .spec
        .links
        .iter()
        .find(|link| link.id == "a/b#2");
    let second = second.expect("a link");
    assert_eq!(
        (second.weight, second.weight_back),
        (4_000_000_000, DRAINED_WEIGHT)
    );
}

#[test]
fn traffic_goes_round_what_is_drained_and_still_reaches_it() {
    for (drain, hops) in [
        ("{}", "a/b a/c"),
        ("{forwarders: [b]}", "a/c"),
        ("{links: [c/d]}", "a/b"),
    ] {
        let topology = crds::to_topology(&square(drain), &Instances::new()).expect("a graph");
        let of = |name| topology.forwarder(name).expect("a forwarder");
        let spf = Spf::compute(&Graph::new(&topology), of("a"));
        let links: Vec<String> = spf
            .next_hops(of("d"))
            .map(|link| topology.link_id(link))
            .collect();
        assert_eq!(links.join(" "), hops, "{drain}");
        assert!(spf.distance(of("b")).is_some(), "{drain}");
    }
}

#[test]
fn draining_changes_the_epoch_and_no_grant() {
    let nodes = ["n1", "n2"].map(Node::from);
    let none = Instances::new();
    let before = crds::expand(&square("{}"), &nodes, &[], &none).expect("forwarders");
    let after =
        crds::expand(&square("{links: [a/b]}"), &nodes, &before, &none).expect("forwarders");
    let epoch = |forwarders| crds::topology_of(forwarders).expect("a graph").epoch();
    assert_ne!(epoch(&before), epoch(&after));
    for (old, new) in before.iter().zip(&after) {
        assert_eq!(
            (&old.spec.node, &old.spec.blocks),
            (&new.spec.node, &new.spec.blocks)
        );
        let vnis = |forwarder: &crds::Forwarder| -> Vec<Option<u32>> {
            forwarder.spec.links.iter().map(|link| link.vni).collect()
        };
        assert_eq!(vnis(old), vnis(new));
    }
}

#[test]
fn without_grants_nothing_is_made_up() {
    let topology = square("{}");
    let nodes = ["n1", "n2"].map(Node::from);
    let none = (crds::Grants::default(), crds::Attachments::default());
    let bare = crds::expand_with(&topology, &nodes, &Settled::new(), &none.0, &none.1);
    let bare = bare.expect("an expansion");
    assert_eq!(bare.blocks_missing, ["a", "b", "c", "d"]);
    assert_eq!(bare.vnis_missing, ["a/b", "a/b#2", "c/d"]);
    assert!(bare.forwarders.iter().all(|f| f.spec.blocks.is_empty()));
    let layout = crds::Layout::new(&topology, &nodes, &Settled::new()).expect("a layout");
    let given = layout.vnis(&BTreeMap::new(), [71].into(), 70..73);
    assert_eq!(
        (given.given.len(), given.missing.as_slice()),
        (2, &["c/d".to_owned()][..])
    );
    let grants = crds::Grants {
        blocks: layout.blocks(&BTreeMap::new()).expect("blocks"),
        vnis: given.given,
    };
    let filled = crds::expand_with(&topology, &nodes, &Settled::new(), &grants, &none.1);
    let filled = filled.expect("an expansion");
    assert_eq!(filled.vnis_missing, ["c/d"]);
    assert!(filled.blocks_missing.is_empty());
    assert_eq!(
        filled.forwarders[0].spec.blocks[0].to_string(),
        "10.80.0.0/24"
    );
}
