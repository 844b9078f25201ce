//! Happenings of a simulation: edits by users, nodes, pods, watches, calls, deaths.

use std::collections::BTreeMap;

use crds::{
    MicroServiceTopology,
    selector::LabelSelector,
    topology::{AppEntry, ForwarderEntry, ForwarderPerNode, LinkEntry, Shape},
};
use operator::plan::Pod;
use proptest::prelude::*;

use super::server::Server;

pub(super) const TOPOLOGIES: [&str; 3] = ["alpha", "beta", "gamma"];
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
pub(super) const NODES: [&str; 4] = ["n1", "n2", "n3", "n4"];
const SHAPES: [Shape; 4] = [Shape::Ring, Shape::Line, Shape::Star, Shape::Custom];

/// Something that happens.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    /// A user edits a topology.
    Edit {
        topology: usize,
        edit: Edit,
    },
    /// A node comes or goes.
    Node {
        node: usize,
        is_there: bool,
    },
    /// A pod runs on a node, or ends.
    Pod {
        pod: usize,
        node: Option<usize>,
    },
    /// Someone deletes a Forwarder by hand; another one's finalizer may hold it.
    Hand {
        forwarder: usize,
        lingers: bool,
    },
    /// Kubernetes collects one object whose owner is gone.
    Collect,
    /// A watch tells a replica of some changes.
    Hear {
        replica: usize,
        kind: usize,
        changes: usize,
    },
    /// A replica ends what it is at, hears everything, and does all there is to do for a topology.
    Pass {
        replica: usize,
        topology: usize,
    },
    /// A replica starts on a topology.
    Start {
        replica: usize,
        topology: usize,
    },
    /// A replica makes some calls.
    Step {
        replica: usize,
        calls: usize,
    },
    Kill {
        replica: usize,
    },
}

#[derive(Clone, Debug)]
pub(super) enum Edit {
    /// Forwarders by bits, each on a node, or anywhere when there are as many nodes.
    Forwarders {
        names: u8,
        nodes: [u8; 5],
        shape: usize,
    },
    /// Three Forwarders on three nodes and links by bits: VNIs come and go.
    Links {
        links: u8,
    },
    PerNode {
        shape: usize,
    },
    Link {
        a: usize,
        b: usize,
        weight: u32,
    },
    /// A slip of the pen: a link to nobody.
    Slip,
    Delete,
}

pub(super) fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    // Most happens to one topology: there replicas meet.
    let topology = || prop_oneof![3 => Just(0), 1 => 0..TOPOLOGIES.len()];
    let edit = prop_oneof![
        4 => (1_u8..32, any::<[u8; 5]>(), 0..SHAPES.len())
            .prop_map(|(names, nodes, shape)| Edit::Forwarders { names, nodes, shape }),
        8 => (0_u8..8).prop_map(|links| Edit::Links { links }),
        2 => (0..SHAPES.len()).prop_map(|shape| Edit::PerNode { shape }),
        2 => (0..5_usize, 0..5_usize, 1..9_u32).prop_map(|(a, b, weight)| Edit::Link { a, b, weight }),
        1 => Just(Edit::Slip),
        1 => Just(Edit::Delete),
    ];
    let happening = prop_oneof![
        6 => (topology(), edit).prop_map(|(topology, edit)| Happening::Edit { topology, edit }),
        1 => (0..4_usize, any::<bool>()).prop_map(|(node, is_there)| Happening::Node { node, is_there }),
        4 => (0..3_usize, prop::option::of(0..4_usize))
            .prop_map(|(pod, node)| Happening::Pod { pod, node }),
        1 => (0..8_usize, any::<bool>())
            .prop_map(|(forwarder, lingers)| Happening::Hand { forwarder, lingers }),
        2 => Just(Happening::Collect),
        12 => (0..3_usize, topology())
            .prop_map(|(replica, topology)| Happening::Pass { replica, topology }),
        8 => (0..3_usize, 0..6_usize, prop_oneof![1..40_usize, Just(1000)])
            .prop_map(|(replica, kind, changes)| Happening::Hear { replica, kind, changes }),
        10 => (0..3_usize, topology())
            .prop_map(|(replica, topology)| Happening::Start { replica, topology }),
        15 => (0..3_usize, 1..12_usize).prop_map(|(replica, calls)| Happening::Step { replica, calls }),
        1 => (0..3_usize).prop_map(|replica| Happening::Kill { replica }),
    ];
    prop::collection::vec(happening, 20..250)
}

pub(super) fn edit_topology(server: &mut Server, name: &str, edit: &Edit) {
    let known = server
        .now()
        .topologies
        .get(name)
        .map(|object| object.spec.clone());
    let mut topology = known.unwrap_or_else(|| MicroServiceTopology::new(name, Default::default()));
    let spec = &mut topology.spec;
    spec.apps = vec![AppEntry {
        pod_selector: Some(LabelSelector {
            match_labels: labels(),
            ..LabelSelector::default()
        }),
        ..AppEntry::new("app")
    }];
    match edit {
        Edit::Forwarders {
            names,
            nodes,
            shape,
        } => {
            spec.forwarder_per_node = None;
            let chosen = NAMES
                .iter()
                .enumerate()
                .filter(|(at, _)| names & (1 << at) != 0);
            let entry = |(at, name): (usize, &&str)| ForwarderEntry {
                name: (*name).to_owned(),
                node: NODES
                    .get(usize::from(nodes[at]) % (NODES.len() + 1))
                    .map(ToString::to_string),
                ..ForwarderEntry::default()
            };
            spec.forwarders = chosen.map(entry).collect();
            spec.shape = SHAPES[*shape];
            spec.links.clear();
        }
        Edit::Links { links } => {
            spec.forwarder_per_node = None;
            let placed = NAMES.iter().zip(NODES).take(3);
            spec.forwarders = placed
                .map(|(name, node)| ForwarderEntry {
                    name: (*name).to_owned(),
                    node: Some(node.to_owned()),
                    ..ForwarderEntry::default()
                })
                .collect();
            spec.shape = Shape::Custom;
            let pairs = ["ab", "bc", "ac"].iter().enumerate();
            let pairs = pairs.filter(|(at, _)| links & (1 << at) != 0);
            spec.links = pairs
                .map(|(_, ends)| LinkEntry::new(&ends[..1], &ends[1..], 1))
                .collect();
        }
        Edit::PerNode { shape } => {
            spec.forwarders.clear();
            spec.forwarder_per_node = Some(ForwarderPerNode::default());
            spec.shape = SHAPES[*shape];
            spec.links.clear();
        }
        Edit::Link { a, b, weight } => {
            let count = spec.forwarders.len();
            if count < 2 || a % count == b % count {
                return;
            }
            let name = |at: &usize| spec.forwarders[at % count].name.clone();
            let link = LinkEntry::new(name(a), name(b), *weight);
            spec.links.push(link);
        }
        Edit::Slip => spec.links.push(LinkEntry::new("a", "nobody/at/all", 1)),
        Edit::Delete => return server.delete_topology(name),
    }
    server.apply_topology(topology);
}

/// A pod of the App of every topology.
pub(super) fn simulated_pod(name: &str, node: &str) -> Pod {
    Pod {
        namespace: "default".to_owned(),
        name: name.to_owned(),
        uid: format!("uid-of-{name}"),
        node: node.to_owned(),
        labels: labels(),
        annotations: BTreeMap::new(),
    }
}

fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([("app".to_owned(), "app".to_owned())])
}
