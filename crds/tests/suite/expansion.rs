//! Expansion is deterministic, stable when Forwarders come and go, and never gives a thing twice.

use std::collections::{BTreeMap, BTreeSet};

use crds::{
    Forwarder, Instances, Layout, MicroServiceTopology, MicroServiceTopologySpec, Node, Settled,
    cidr,
    forwarder::{ForwarderLink, LinkDirection, LinkHealth, LinkState, MAX_DETAILED, WireType},
    topology::{Addressing, AppEntry, ForwarderEntry, LinkEntry, Shape},
};
use proptest::{collection, prelude::*, sample};

const SHAPES: [Shape; 8] = [
    Shape::Mesh,
    Shape::Ring,
    Shape::Line,
    Shape::Star,
    Shape::Tree,
    Shape::Grid,
    Shape::Fabric,
    Shape::Custom,
];

fn nodes() -> Vec<Node> {
    ["n1", "n2", "n3", "n4"].map(Node::from).into()
}

prop_compose! {
    fn forwarder(index: usize)(node in prop::option::of(1..5_u8)) -> ForwarderEntry {
        ForwarderEntry {
            name: format!("f{index}"),
            node: node.map(|node| format!("n{node}")),
            ..ForwarderEntry::default()
        }
    }
}

prop_compose! {
    /// Up to 12 Forwarders out of 16, in any order, linked at random, with Apps of all kinds.
    fn topology()(
        indices in sample::subsequence((0..16_usize).collect::<Vec<_>>(), 1..12).prop_shuffle(),
    )(
        forwarders in indices.into_iter().map(forwarder).collect::<Vec<_>>(),
        shape in sample::select(&SHAPES[..]),
        links in collection::vec((any::<sample::Index>(), any::<sample::Index>(), 1..5_u32, prop::option::of(1..5_u32)), 0..12),
        pinned in any::<sample::Index>(),
    ) -> MicroServiceTopology {
        let name = |index: &sample::Index| index.get(&forwarders).name.clone();
        let link = |(a, b, weight, weight_back): &(sample::Index, sample::Index, u32, Option<u32>)| {
            LinkEntry { weight_back: *weight_back, ..LinkEntry::new(name(a), name(b), *weight) }
        };
        let links = links.iter().map(link).filter(|link| link.a != link.b).collect();
        let pinned = AppEntry { forwarder: name(&pinned), ..AppEntry::new("pinned") };
        let spec = MicroServiceTopologySpec {
            // 16 blocks for up to 11 Forwarders: room is scarce, so mistakes collide.
            addressing: Addressing {
                cidrs: vec!["10.0.0.0/24".parse().expect("a CIDR"), "fd00::/60".parse().expect("a CIDR")],
                block_prefixes: vec![28, 64],
            },
            forwarders,
            shape,
            links,
            apps: vec![pinned, AppEntry::new("auto")],
            ..MicroServiceTopologySpec::default()
        };
        MicroServiceTopology::new("t", spec)
    }
}

fn expand(
    topology: &MicroServiceTopology,
    previous: &[Forwarder],
    instances: &Instances,
) -> Vec<Forwarder> {
    let forwarders = crds::expand(topology, &nodes(), previous, instances);
    forwarders.unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// Bytes as JSON with all links reported suspect, a reason of 64 bytes each, and as many as permitted with both directions.
fn stored(forwarder: &Forwarder) -> usize {
    let mut forwarder = forwarder.clone();
    let own = forwarder.spec.name.clone();
    let direction = |link: &ForwarderLink| LinkDirection {
        state: LinkHealth::Suspect,
        reason: "PeerSilence".to_owned(),
        by: link.peer.clone().max(own.clone()),
        since: "2026-01-01T00:00:00Z".to_owned(),
        diagnostic: 8,
    };
    let suspect = |(number, link): (usize, &ForwarderLink)| LinkState {
        id: link.id.clone(),
        up: false,
        state: Some(LinkHealth::Suspect),
        reason: "x".repeat(64),
        receive: (number < MAX_DETAILED).then(|| direction(link)),
        transmit: (number < MAX_DETAILED).then(|| direction(link)),
    };
    let links = forwarder.spec.links.iter().enumerate();
    forwarder.status.link_states = links.map(suspect).collect();
    serde_json::to_vec(&forwarder).expect("JSON").len()
}

/// Invariants of any expansion.
fn check(topology: &MicroServiceTopology, forwarders: &[Forwarder], instances: &Instances) {
    let by_name: BTreeMap<&str, &Forwarder> = forwarders
        .iter()
        .map(|forwarder| (forwarder.spec.name.as_str(), forwarder))
        .collect();
    assert_eq!(by_name.len(), topology.spec.forwarders.len());
    let mut vnis = BTreeMap::new();
    for spec in by_name.values().map(|forwarder| &forwarder.spec) {
        for link in &spec.links {
            let peer = &by_name[link.peer.as_str()].spec;
            let other = peer
                .links
                .iter()
                .find(|other| other.id == link.id)
                .expect("both ends");
            assert_eq!(
                (link.weight, link.weight_back),
                (other.weight_back, other.weight)
            );
            assert_eq!(
                (link.vni, link.r#type, link.mtu),
                (other.vni, other.r#type, other.mtu)
            );
            assert_eq!(
                (&link.peer_node, &other.peer_node),
                (&peer.node, &spec.node)
            );
            assert_eq!(link.r#type == WireType::Veth, spec.node == peer.node);
            if let Some(vni) = link.vni {
                assert_eq!(
                    vnis.entry(vni).or_insert(&link.id),
                    &&link.id,
                    "VNI {vni} twice"
                );
            }
        }
    }
    let blocks: Vec<_> = forwarders
        .iter()
        .flat_map(|forwarder| &forwarder.spec.blocks)
        .collect();
    assert_eq!(blocks.len(), 2 * forwarders.len(), "one of each family");
    for (index, block) in blocks.iter().enumerate() {
        assert!(
            blocks[..index]
                .iter()
                .all(|other| !cidr::overlap(**block, **other)),
            "{block} twice"
        );
    }
    let declared = crds::to_topology(topology, instances).expect("a graph");
    let derived = crds::topology_of(forwarders).expect("a graph");
    assert_eq!(declared, derived);
    assert_eq!(declared.epoch(), derived.epoch());
}

fn vnis(forwarders: &[Forwarder]) -> BTreeMap<&str, u32> {
    let links = forwarders
        .iter()
        .flat_map(|forwarder| &forwarder.spec.links);
    links
        .filter_map(|link| Some((link.id.as_str(), link.vni?)))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equal_arguments_give_equal_objects_in_any_order(topology in topology(), count in 0..20_u32) {
        let instances = Instances::from([("auto".to_owned(), count)]);
        let forwarders = expand(&topology, &[], &instances);
        check(&topology, &forwarders, &instances);
        prop_assert_eq!(&expand(&topology, &[], &instances), &forwarders);
        prop_assert_eq!(&expand(&topology, &forwarders, &instances), &forwarders, "settled");
        let reversed: Vec<Forwarder> = forwarders.iter().rev().cloned().collect();
        prop_assert_eq!(&expand(&topology, &reversed, &instances), &forwarders);
        let backwards: Vec<Node> = nodes().into_iter().rev().collect();
        let again = crds::expand(&topology, &backwards, &[], &instances);
        prop_assert_eq!(again.as_ref(), Ok(&forwarders));
    }

    #[test]
    fn expansion_is_bounded_by_what_is_declared(topology in topology(), count in 0..20_u32) {
        let instances = Instances::from([("auto".to_owned(), count)]);
        let forwarders = expand(&topology, &[], &instances);
        let nodes = nodes();
        let layout = Layout::new(&topology, &nodes, &Settled::new()).expect("a layout");
        let sizes = layout.sizes();
        let declared = serde_json::to_vec(&topology).expect("JSON").len();
        let bytes: Vec<usize> = forwarders.iter().map(stored).collect();
        let total: usize = bytes.iter().sum();
        prop_assert!(bytes.iter().all(|bytes| *bytes <= sizes.largest.1.stored));
        prop_assert!(total <= sizes.total.stored, "{total} of {}", sizes.total.stored);
        prop_assert!(total <= 12 * declared * forwarders.len(), "{total} of {declared}");
    }

    #[test]
    fn what_stays_keeps_its_node_blocks_and_vnis(steps in collection::vec(topology(), 2..6)) {
        let none = Instances::new();
        let mut before: Vec<Forwarder> = Vec::new();
        for topology in steps {
            let after = expand(&topology, &before, &none);
            check(&topology, &after, &none);
            for now in &after {
                let Some(old) = before.iter().find(|old| old.spec.name == now.spec.name) else { continue };
                prop_assert_eq!(&now.spec.blocks, &old.spec.blocks);
                let entry = topology.spec.forwarders.iter().find(|entry| entry.name == now.spec.name);
                if entry.is_some_and(|entry| entry.node.is_none()) {
                    prop_assert_eq!(&now.spec.node, &old.spec.node);
                }
            }
            let (old, new) = (vnis(&before), vnis(&after));
            for (id, vni) in &new {
                match old.get(id) {
                    Some(kept) => prop_assert_eq!(kept, vni),
                    None => prop_assert!(!old.values().any(|used| used == vni), "given again at once"),
                }
            }
            before = after;
        }
    }

    #[test]
    fn topologies_share_addresses_but_no_vnis(one in topology(), mut other in topology()) {
        let none = Instances::new();
        let first = expand(&one, &[], &none);
        other.metadata.namespace = "elsewhere".to_owned();
        let second = expand(&other, &first, &none);
        check(&other, &second, &none);
        prop_assert_eq!(&first[0].spec.blocks, &second[0].spec.blocks);
        let vnis: [BTreeSet<u32>; 2] = [&first, &second].map(|f| vnis(f).into_values().collect());
        prop_assert!(vnis[0].is_disjoint(&vnis[1]));
        let everyone: Vec<Forwarder> = first.iter().chain(&second).cloned().collect();
        prop_assert_eq!(expand(&one, &everyone, &none), first);
    }
}
