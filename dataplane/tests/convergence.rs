//! From any observed state to any desired one, on the kernel in memory.

use std::collections::{BTreeMap, BTreeSet};

use dataplane::{
    Balance, Kernel, Link, LinkKind, MemoryKernel, Namespace, Routes, SeenNexthop, Target, Via,
    converge, converge_routes, mac::link_mac,
};
use ipnetwork::IpNetwork;
use proptest::{collection, prelude::*};

/// Namespaces of every network.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Which pairs of namespaces are linked, how flows are shared, and the routes of `a`: prefix to peers.
#[derive(Debug, Clone)]
struct Declared {
    pairs: BTreeSet<(usize, usize)>,
    balance: Balance,
    routes: BTreeMap<u8, BTreeSet<usize>>,
}

fn declared() -> impl Strategy<Value = Declared> {
    let pair = prop::sample::select(vec![(0, 1), (0, 2), (0, 3), (1, 2), (2, 3)]);
    let balance = prop::sample::select(vec![Balance::HashThreshold, Balance::RESILIENT]);
    let set = collection::btree_set(1_usize..4, 1..4);
    (
        collection::btree_set(pair, 0..6),
        balance,
        collection::btree_map(0_u8..30, set, 0..30),
    )
        .prop_map(|(pairs, balance, routes)| Declared {
            pairs,
            balance,
            routes,
        })
}

/// Foreign changes of the kernel state.
#[derive(Debug, Clone)]
enum Drift {
    DeleteLink(usize, usize),
    SetLink(usize, usize, bool),
    DeleteRoute(u8),
    DeleteNeighbours(usize),
}

fn drift() -> impl Strategy<Value = Drift> {
    prop_oneof![
        (0_usize..4, 0_usize..4).prop_map(|(netns, peer)| Drift::DeleteLink(netns, peer)),
        (0_usize..4, 0_usize..4, any::<bool>())
            .prop_map(|(netns, peer, up)| Drift::SetLink(netns, peer, up)),
        (0_u8..30).prop_map(Drift::DeleteRoute),
        (0_usize..4).prop_map(Drift::DeleteNeighbours),
    ]
}

fn link_name(peer: usize) -> String {
    format!("l-{}", NAMES[peer])
}

fn prefix(number: u8) -> IpNetwork {
    format!("10.0.{number}.0/24").parse().unwrap()
}

impl Declared {
    fn network(&self) -> BTreeMap<String, Namespace> {
        let empty = || Namespace {
            balance: self.balance,
            ..Namespace::default()
        };
        let mut network: BTreeMap<_, _> = NAMES
            .iter()
            .map(|&name| (name.to_owned(), empty()))
            .collect();
        for &(a, b) in &self.pairs {
            let id = format!("{a}/{b}");
            for (own, peer) in [(a, b), (b, a)] {
                let kind = LinkKind::Veth {
                    peer_netns: NAMES[peer].to_owned(),
                    peer_name: link_name(own),
                };
                let (mac, peer_mac) = (link_mac(&id, NAMES[own]), link_mac(&id, NAMES[peer]));
                let link = Link {
                    kind,
                    mac,
                    peer_mac,
                    mtu: 1500,
                    alias: format!("beemesh:{id}"),
                };
                network
                    .get_mut(NAMES[own])
                    .unwrap()
                    .links
                    .insert(link_name(peer), link);
            }
        }
        network
    }

    fn routes(&self) -> Routes {
        let target = |peers: &BTreeSet<usize>| {
            Target::Links(peers.iter().map(|&peer| link_name(peer)).collect())
        };
        self.routes
            .iter()
            .map(|(&number, peers)| (prefix(number), target(peers)))
            .collect()
    }

    /// Expected kernel state: sets without links that are down, routes without empty sets.
    fn expected(&self, up: &BTreeSet<String>) -> BTreeMap<IpNetwork, BTreeSet<String>> {
        self.routes
            .iter()
            .map(|(&number, peers)| {
                let links = peers.iter().map(|&peer| link_name(peer));
                (
                    prefix(number),
                    links
                        .filter(|link| up.contains(link))
                        .collect::<BTreeSet<_>>(),
                )
            })
            .filter(|(_, links)| !links.is_empty())
            .collect()
    }
}

fn apply(kernel: &mut MemoryKernel, drift: &Drift) {
    match *drift {
        Drift::DeleteLink(netns, peer) => {
            kernel.delete_link(NAMES[netns], &link_name(peer));
        }
        Drift::SetLink(netns, peer, up) => {
            kernel.set_link_enabled(NAMES[netns], &link_name(peer), up);
        }
        Drift::DeleteRoute(number) => {
            let namespace = kernel.namespace("a").unwrap();
            namespace
                .routes
                .retain(|route| route.prefix != prefix(number));
        }
        Drift::DeleteNeighbours(netns) => {
            kernel.namespace(NAMES[netns]).unwrap().neighbours.clear();
        }
    }
}

/// Converges and says how many messages it took.
fn bring(kernel: &mut MemoryKernel, declared: &Declared) -> u64 {
    let network = declared.network();
    let mut applied = converge(kernel, &network);
    applied.merge(converge_routes(
        kernel,
        "a",
        &network["a"],
        &declared.routes(),
    ));
    assert!(applied.is_complete(), "{:?}", applied.failures);
    applied.writes
}

fn check(kernel: &mut MemoryKernel, declared: &Declared) {
    let observed = kernel.observe("a").unwrap().unwrap();
    let up = observed
        .links
        .iter()
        .filter(|(name, link)| link.is_up && *name != "lo");
    let up: BTreeSet<String> = up.map(|(name, _)| name.clone()).collect();
    let name = |id: &u32| match &observed.nexthops[id] {
        SeenNexthop::Single { link, .. } => link.clone(),
        other => panic!("member {other:?}"),
    };
    let mut programmed = BTreeMap::new();
    for route in &observed.routes {
        let Via::Nexthop(id) = route.via else {
            panic!("{route:?}")
        };
        let SeenNexthop::Group {
            members, balance, ..
        } = &observed.nexthops[&id]
        else {
            panic!("{route:?} names no group")
        };
        assert_eq!(*balance, declared.balance);
        programmed.insert(
            route.prefix,
            members.iter().map(name).collect::<BTreeSet<_>>(),
        );
    }
    assert_eq!(programmed, declared.expected(&up));
    for (netns, namespace) in declared.network() {
        let observed = kernel.observe(&netns).unwrap().unwrap();
        let links: BTreeSet<&String> = observed.links.keys().filter(|name| *name != "lo").collect();
        assert_eq!(links, namespace.links.keys().collect(), "links of {netns}");
        let neighbours: BTreeSet<_> = observed.neighbours.keys().cloned().collect();
        let wanted = namespace
            .links
            .iter()
            .map(|(name, link)| (name.clone(), link.gateway()));
        assert_eq!(neighbours, wanted.collect(), "neighbours of {netns}");
        assert!(observed.wrong_settings.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_state_converges_to_any_other_and_stays(
        states in collection::vec((declared(), collection::vec(drift(), 0..4)), 1..4),
    ) {
        let mut kernel = MemoryKernel::new();
        for (declared, drifts) in &states {
            bring(&mut kernel, declared);
            check(&mut kernel, declared);
            prop_assert_eq!(bring(&mut kernel, declared), 0, "the second time writes nothing");
            for drift in drifts {
                apply(&mut kernel, drift);
            }
            bring(&mut kernel, declared);
            check(&mut kernel, declared);
            prop_assert_eq!(bring(&mut kernel, declared), 0, "nor after drift");
        }
    }
}
