//! Random edits by users, random nodes, replicas in random order, each behind in its own way.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use crds::{
    ForwarderSpec, MicroServiceTopology, Node, cidr,
    topology::{ForwarderEntry, ForwarderPerNode, LinkEntry, Shape},
};
use operator::plan::{Delete, plan};
use proptest::prelude::*;

use super::{
    replica::Replica,
    server::{Server, State},
};

const TOPOLOGIES: [&str; 3] = ["alpha", "beta", "gamma"];
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
const NODES: [&str; 4] = ["n1", "n2", "n3", "n4"];
const SHAPES: [Shape; 4] = [Shape::Ring, Shape::Line, Shape::Star, Shape::Custom];

/// Something that happens.
#[derive(Clone, Debug)]
enum Happening {
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
enum Edit {
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

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
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
        1 => (0..8_usize, any::<bool>())
            .prop_map(|(forwarder, lingers)| Happening::Hand { forwarder, lingers }),
        2 => Just(Happening::Collect),
        12 => (0..3_usize, topology())
            .prop_map(|(replica, topology)| Happening::Pass { replica, topology }),
        8 => (0..3_usize, 0..5_usize, prop_oneof![1..40_usize, Just(1000)])
            .prop_map(|(replica, kind, changes)| Happening::Hear { replica, kind, changes }),
        10 => (0..3_usize, topology())
            .prop_map(|(replica, topology)| Happening::Start { replica, topology }),
        15 => (0..3_usize, 1..12_usize).prop_map(|(replica, calls)| Happening::Step { replica, calls }),
        1 => (0..3_usize).prop_map(|replica| Happening::Kill { replica }),
    ];
    prop::collection::vec(happening, 20..250)
}

/// The server, its users and replicas.
struct Run {
    server: Rc<RefCell<Server>>,
    replicas: Vec<Replica>,
}

impl Run {
    fn new(replicas: usize) -> Run {
        let server = Rc::new(RefCell::new(Server::new()));
        for name in NODES {
            server.borrow_mut().set_node(name, Some(Node::from(name)));
        }
        let replicas = (0..replicas)
            .map(|_| Replica::new(Rc::clone(&server)))
            .collect();
        Run { server, replicas }
    }

    fn replica(&mut self, number: usize) -> &mut Replica {
        let count = self.replicas.len();
        &mut self.replicas[number % count]
    }

    fn happen(&mut self, happening: &Happening) {
        match happening {
            Happening::Edit { topology, edit } => {
                edit_topology(&mut self.server.borrow_mut(), TOPOLOGIES[*topology], edit);
            }
            Happening::Node { node, is_there } => {
                let name = NODES[*node];
                let node = is_there.then(|| Node::from(name));
                self.server.borrow_mut().set_node(name, node);
            }
            Happening::Hand { forwarder, lingers } => {
                let mut server = self.server.borrow_mut();
                let found = server.now().forwarders.iter().nth(*forwarder);
                let delete = found.map(|(name, object)| Delete {
                    object: name.clone(),
                    uid: object.uid.clone(),
                });
                if let Some(delete) = delete {
                    let _ = server.delete_forwarder(&delete, *lingers);
                }
            }
            Happening::Collect => drop(self.server.borrow_mut().collect()),
            Happening::Hear {
                replica,
                kind,
                changes,
            } => self.replica(*replica).hear(*kind, *changes),
            Happening::Pass { replica, topology } => {
                let replica = *replica % self.replicas.len();
                self.finish(replica);
                self.replica(replica).hear_all();
                self.replica(replica).start(TOPOLOGIES[*topology]);
                self.finish(replica);
            }
            Happening::Start { replica, topology } => {
                self.replica(*replica).start(TOPOLOGIES[*topology])
            }
            Happening::Step { replica, calls } => {
                for _ in 0..*calls {
                    self.replica(*replica).step();
                    check(self.server.borrow().now());
                }
            }
            Happening::Kill { replica } => self.replica(*replica).kill(),
        }
        check(self.server.borrow().now());
    }

    fn finish(&mut self, number: usize) {
        while self.replica(number).is_busy() {
            self.replica(number).step();
            check(self.server.borrow().now());
        }
    }

    /// No one edits any more, and replicas hear everything: how many rounds until nothing is written.
    fn settle(&mut self) -> usize {
        for round in 1..60 {
            let before = self.server.borrow().writes;
            while self.server.borrow_mut().collect() {}
            for number in 0..self.replicas.len() {
                // What it was at, from what it knew then.
                self.finish(number);
                for topology in TOPOLOGIES {
                    self.replica(number).hear_all();
                    self.replica(number).start(topology);
                    self.finish(number);
                }
            }
            if self.server.borrow().writes == before {
                return round;
            }
        }
        panic!("replicas do not settle");
    }
}

fn edit_topology(server: &mut Server, name: &str, edit: &Edit) {
    let known = server
        .now()
        .topologies
        .get(name)
        .map(|object| object.spec.clone());
    let mut topology = known.unwrap_or_else(|| MicroServiceTopology::new(name, Default::default()));
    let spec = &mut topology.spec;
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

/// What must hold at every moment, whoever was late and whoever died.
fn check(state: &State) {
    let mut blocks: BTreeMap<&str, Vec<(&str, &ForwarderSpec)>> = BTreeMap::new();
    let mut links_by_vni: BTreeMap<u32, (&str, &str)> = BTreeMap::new();
    for (name, object) in state.forwarders.iter() {
        let spec = &object.spec;
        let others = blocks.entry(&spec.topology).or_default();
        for (other, theirs) in others.iter() {
            let mut pairs = spec
                .blocks
                .iter()
                .flat_map(|a| theirs.blocks.iter().map(move |b| (a, b)));
            assert!(
                !pairs.any(|(a, b)| cidr::overlap(*a, *b)),
                "{name} has {:?}, {other} has {:?}",
                spec.blocks,
                theirs.blocks
            );
        }
        others.push((name, spec));
        let allocation = state.allocations.get(&spec.topology);
        let allocation = allocation.filter(|allocation| allocation.owner == object.owner);
        if let Some(allocation) = allocation.filter(|_| !spec.blocks.is_empty()) {
            let grant = allocation.spec.blocks.get(&object.uid);
            assert_eq!(
                Some(&spec.blocks),
                grant.map(|grant| &grant.blocks),
                "granted to {name}"
            );
        }
        for (link, vni) in spec.links.iter().filter_map(|link| Some((link, link.vni?))) {
            let owner = (object.owner.as_str(), link.id.as_str());
            let known = *links_by_vni.entry(vni).or_insert(owner);
            assert_eq!(known, owner, "VNI {vni} in {name}");
            let range = state.ranges.get(&super::server::range_name(vni - vni % 64));
            assert_eq!(
                range.map(|r| r.owner.as_str()),
                Some(owner.0),
                "range of VNI {vni}"
            );
        }
    }
}

/// What must hold in the end.
fn check_settled(state: &State) {
    let seen = |server: &Server| [server.revision(); 5];
    let server = Server::of(state.clone());
    for topology in TOPOLOGIES {
        let Some(world) = server.world(&seen(&server), topology) else {
            assert!(!state.allocations.contains_key(topology));
            assert!(
                !state
                    .forwarders
                    .values()
                    .any(|f| f.spec.topology == topology)
            );
            continue;
        };
        let plan = plan(&world);
        assert!(plan.is_settled(), "{topology}: {plan:?}");
        if plan.computed.is_none() {
            continue;
        }
        assert!(
            plan.facts.writing.is_done(),
            "{topology}: {:?}",
            plan.facts.writing
        );
        let Some(allocation) = state.allocations.get(topology) else {
            panic!("{topology} has no allocation");
        };
        let granted: BTreeSet<&String> = allocation.spec.blocks.keys().collect();
        let of_it = world.forwarders.iter();
        assert_eq!(
            granted,
            of_it.map(|f| &f.uid).collect(),
            "{topology}: grants are of the living"
        );
        assert!(
            allocation.spec.retired.is_empty(),
            "{topology}: {:?}",
            allocation.spec.retired
        );
        let carried: BTreeMap<&str, u32> = world
            .forwarders
            .iter()
            .flat_map(|f| {
                f.spec
                    .links
                    .iter()
                    .filter_map(|l| Some((l.id.as_str(), l.vni?)))
            })
            .collect();
        let given: BTreeMap<&str, u32> = allocation
            .spec
            .vnis
            .iter()
            .map(|(id, vni)| (id.as_str(), *vni))
            .collect();
        assert_eq!(
            carried, given,
            "{topology}: VNIs are those that are carried"
        );
    }
    for range in state.ranges.values() {
        let is_alive = state
            .topologies
            .values()
            .any(|topology| topology.uid == range.owner);
        assert!(is_alive, "range {} is of nobody", range.spec.first);
    }
}

/// The Forwarders without what depends on the past: which block, which VNI, and which node where any
/// will do.
fn outcome(state: &State) -> BTreeMap<String, ForwarderSpec> {
    let is_free = |spec: &ForwarderSpec, name: &str| {
        let topology = &state.topologies[&spec.topology].spec.spec;
        topology
            .forwarders
            .iter()
            .any(|entry| entry.name == name && entry.node.is_none())
    };
    let plain = |(object, forwarder): (&String, &super::server::Object<ForwarderSpec>)| {
        let mut spec = forwarder.spec.clone();
        spec.blocks.clear();
        let is_here_free = is_free(&spec, &spec.name);
        let mut links = std::mem::take(&mut spec.links);
        for link in &mut links {
            link.vni = None;
            if is_here_free || is_free(&spec, &link.peer) {
                link.peer_node.clear();
                link.r#type = crds::forwarder::WireType::Veth;
            }
        }
        spec.links = links;
        if is_here_free {
            spec.node.clear();
        }
        (object.clone(), spec)
    };
    state.forwarders.iter().map(plain).collect()
}

/// What one replica makes of the same topologies that nobody disturbs, for those that are accepted.
fn calm(state: &State) -> BTreeMap<String, ForwarderSpec> {
    let mut run = Run::new(1);
    for name in NODES {
        let node = state.nodes.get(name).map(|object| object.spec.clone());
        run.server.borrow_mut().set_node(name, node);
    }
    for object in state.topologies.values() {
        run.server.borrow_mut().apply_topology(object.spec.clone());
    }
    run.settle();
    let server = run.server.borrow();
    outcome(server.now())
}

fn is_accepted(state: &State, topology: &str) -> bool {
    let server = Server::of(state.clone());
    let world = server.world(&[server.revision(); 5], topology);
    world.is_some_and(|world| plan(&world).computed.is_some())
}

fn cases() -> u32 {
    let cases = std::env::var("PROPTEST_CASES").ok();
    cases.and_then(|cases| cases.parse().ok()).unwrap_or(64)
}

proptest! {
    // PROPTEST_CASES asks for more.
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn replicas_that_lag_and_die_give_nothing_twice_and_agree_in_the_end(
        replicas in 1..4_usize,
        happenings in happenings(),
    ) {
        let mut run = Run::new(replicas);
        for happening in &happenings {
            run.happen(happening);
        }
        run.settle();
        let server = run.server.borrow();
        let state = server.now();
        check_settled(state);
        let mut actual = outcome(state);
        actual.retain(|_, spec| is_accepted(state, &spec.topology));
        prop_assert_eq!(actual, calm(state));
    }
}
