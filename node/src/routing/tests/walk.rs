//! The engine on a kernel in memory: from objects to routes, and the walk of a failure.

use std::collections::BTreeMap;

use dataplane::{SeenNexthop, Via};
use linkstate::{Report, Sequence};

use super::*;
use crate::mailbox::Mailbox;
use crate::routing::link_state::Follower;

mod suspects;

/// n1 with f1 and f2, of which the kernel is at hand; n2 with f3 is played.
struct Node {
    engine: Engine,
    kernel: Arc<Mutex<MemoryKernel>>,
    mailbox: Arc<Mailbox>,
    number: u64,
    /// MTU in bytes of the network below the ends of f3.
    peer_mtu: u32,
    _directory: TempDir,
}

impl Node {
    /// Converged, with every link up.
    fn new() -> Node {
        let mut node = Node::unloaded();
        node.load();
        node.hear(State::Up);
        node.settle();
        node
    }

    fn unloaded() -> Node {
        let directory = declared();
        let kernel = Arc::new(Mutex::new(MemoryKernel::new()));
        let engine = super::engine_on(&directory, Arc::clone(&kernel));
        let mailbox = Arc::clone(&engine.parts.mailbox);
        engine.parts.link_states.open("n2", 1);
        Node {
            engine,
            kernel,
            mailbox,
            number: 0,
            peer_mtu: 1500,
            _directory: directory,
        }
    }

    fn load(&mut self) {
        self.engine.load();
        let underlay = [("192.0.2.1".parse().unwrap(), 1500)].into();
        let tell = |pending: &mut Pending| pending.underlay = Some(underlay);
        self.mailbox.tell(tell);
        self.settle();
    }

    /// Turns until nothing is left to do.
    fn settle(&mut self) {
        for _ in 0..20 {
            while self.engine.parts.failover.step(false) && !self.engine.parts.failover.is_idle() {}
            let pending = self.mailbox.take(Instant::now());
            self.engine.turn(pending);
            if !self.engine.is_busy() && self.engine.parts.failover.is_idle() {
                return;
            }
        }
        panic!("it does not settle");
    }

    /// n2 reports on the ends of f3.
    fn hear(&mut self, to_f1: State) {
        self.number += 1;
        let mtu = self.peer_mtu;
        let end = |state| ReportedEnd::observed(None, state, Reason::None, 0).with_mtu(mtu);
        let ends = [("f1/f3", to_f1), ("f2/f3", State::Up)];
        let report = Report {
            origin: "n2".to_owned(),
            forwarder: "unmade.f3".to_owned(),
            sequence: Sequence {
                incarnation: 1,
                number: self.number,
            },
            ends: ends.map(|(id, state)| (id.to_owned(), end(state))).into(),
        };
        let heard = self.engine.parts.link_states.hear("n2", 1, report).unwrap();
        if let Some(accepted) = heard {
            self.engine.parts.failover.report_changed(&accepted);
        }
    }

    /// The links over which each route of a Forwarder goes, by prefix.
    fn routes(&self, forwarder: &str) -> BTreeMap<String, Vec<String>> {
        let netns = &self.engine.locals[forwarder].netns;
        let mut kernel = self.kernel.lock().unwrap();
        let namespace = kernel.namespace(netns).expect("a namespace").clone();
        let link = |id: &u32| match namespace.nexthops.get(id) {
            Some(SeenNexthop::Single { link, .. }) => link.clone(),
            other => panic!("{other:?}"),
        };
        let links = |via: &Via| match via {
            Via::Nexthop(id) => match &namespace.nexthops[id] {
                SeenNexthop::Group { members, .. } => members.iter().map(link).collect(),
                _ => vec![link(id)],
            },
            _ => Vec::new(),
        };
        let routes = namespace.routes.iter();
        routes
            .map(|route| (route.prefix.to_string(), links(&route.via)))
            .filter(|(_, links)| !links.is_empty())
            .collect()
    }

    /// The links that any route of a Forwarder uses.
    fn used(&self, forwarder: &str) -> Vec<String> {
        let mut links: Vec<String> = self.routes(forwarder).into_values().flatten().collect();
        links.sort();
        links.dedup();
        links
    }

    fn own(&self, forwarder: &str, link: &str) -> State {
        let report = self
            .engine
            .parts
            .link_states
            .own(forwarder)
            .expect("a report");
        report.ends[link].state()
    }
}

const F1: &str = "unmade.f1";
const F2: &str = "unmade.f2";

#[test]
fn links_and_routes_are_made_and_then_reported_as_in_use() {
    let node = Node::new();
    assert_eq!(node.used(F1), ["l-f2", "l-f3"]);
    assert_eq!(node.used(F2), ["l-f1", "l-f3"]);
    for (forwarder, link) in [(F1, "f1/f2"), (F1, "f1/f3"), (F2, "f1/f2"), (F2, "f2/f3")] {
        assert_eq!(node.own(forwarder, link), State::Up, "{forwarder} {link}");
    }
}

#[test]
fn a_link_that_is_dead_at_its_other_end_alone_leaves_the_groups_before_the_engine_looks() {
    let mut node = Node::new();
    let netns = node.engine.locals[F1].netns.clone();
    // Two ways to somewhere, so that there is a group with two members.
    let group = {
        let mut kernel = node.kernel.lock().unwrap();
        let namespace = kernel.namespace(&netns).unwrap();
        let members = namespace.nexthops.iter();
        let members = members.filter_map(|(id, nexthop)| {
            matches!(nexthop, SeenNexthop::Single { .. }).then_some(*id)
        });
        let group = SeenNexthop::Group {
            members: members.collect(),
            balance: dataplane::Balance::HashThreshold,
            is_ours: true,
        };
        namespace.nexthops.insert(4_000, group);
        4_000
    };
    node.hear(State::Down);
    assert!(node.engine.parts.failover.step(false));
    let left = {
        let mut kernel = node.kernel.lock().unwrap();
        match &kernel.namespace(&netns).unwrap().nexthops[&group] {
            SeenNexthop::Group { members, .. } => members.len(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(left, 1, "the engine has not turned since");
    node.settle();
    assert_eq!(node.used(F1), ["l-f2"], "all goes around");
}

#[test]
fn a_link_that_falls_and_recovers_while_the_engine_is_busy_is_put_back_into_the_groups() {
    let mut node = Node::new();
    let before = node.routes(F1);
    assert!(before.values().any(|links| links.len() == 2), "{before:?}");
    node.hear(State::Down);
    assert!(node.engine.parts.failover.step(false));
    assert_ne!(node.routes(F1), before, "evicted");
    node.hear(State::Up);
    node.settle();
    assert_eq!(node.routes(F1), before);
}

#[test]
fn an_own_link_that_falls_is_reported_before_the_engine_looks() {
    let mut node = Node::new();
    let netns = node.engine.locals[F1].netns.clone();
    node.kernel
        .lock()
        .unwrap()
        .set_link_enabled(&netns, "l-f3", false);
    let event = LinkEvent {
        is_up: false,
        exists: true,
    };
    node.engine
        .parts
        .failover
        .link_changed((netns.clone(), "l-f3".to_owned()), event);
    assert!(node.engine.parts.failover.step(false));
    assert_eq!(node.own(F1, "f1/f3"), State::Down);
    // An observation from before the event does not raise it.
    node.engine.locals.get_mut(F1).unwrap().are_ends_due = true;
    node.engine.publish();
    assert_eq!(node.own(F1, "f1/f3"), State::Down);
    node.settle();
    assert_eq!(node.used(F1), ["l-f2"]);
    assert_eq!(
        node.own(F1, "f1/f3"),
        State::AdminDown,
        "as it was looked at"
    );
}

#[test]
fn a_link_that_a_report_of_its_peer_made_possible_is_known_to_failover() {
    let mut node = Node::unloaded();
    node.peer_mtu = 100;
    node.hear(State::Up);
    node.load();
    assert_eq!(node.used(F1), ["l-f2"], "no tunnel fits");
    node.peer_mtu = 1500;
    node.hear(State::Up);
    node.settle();
    assert_eq!(node.used(F1), ["l-f2", "l-f3"]);
    node.hear(State::Down);
    assert!(node.engine.parts.failover.step(false));
    assert_eq!(node.used(F1), ["l-f2"], "the engine has not turned since");
}

#[test]
fn a_table_from_before_a_fall_is_not_programmed() {
    let mut node = Node::new();
    let netns = node.engine.locals[F1].netns.clone();
    let event = LinkEvent {
        is_up: false,
        exists: true,
    };
    node.engine
        .parts
        .failover
        .link_changed((netns, "l-f3".to_owned()), event);
    assert!(node.engine.parts.failover.step(false));
    node.engine.locals.get_mut(F1).unwrap().reroute();
    assert!(!node.engine.program(), "it makes way for the event");
    assert!(node.engine.locals[F1].is_program_due());
}

#[test]
fn a_link_that_heals_is_used_at_its_ends_first() {
    let mut node = Node::new();
    node.hear(State::Down);
    node.settle();
    assert_eq!(node.own(F1, "f1/f3"), State::Init, "it would pass packets");
    let network = node.engine.locals[F1].network.clone();
    let (f1, f2) = (F1.to_owned(), F2.to_owned());

    node.hear(State::Init);
    assert!(node.engine.parts.failover.step(false));
    let pending = node.mailbox.take(Instant::now());
    node.engine.take_reports(&pending.reports);
    node.engine.follow_changes();
    assert!(node.engine.locals[&f1].is_table_due, "at its end");
    assert!(!node.engine.locals[&f2].is_table_due, "not there");
    node.settle();
    assert_eq!(node.own(F1, "f1/f3"), State::Up, "its table is made");
    assert_eq!(node.used(F1), ["l-f2", "l-f3"]);

    node.hear(State::Up);
    assert!(node.engine.parts.failover.step(false));
    let pending = node.mailbox.take(Instant::now());
    node.engine.take_reports(&pending.reports);
    node.engine.follow_changes();
    assert!(node.engine.locals[&f2].is_table_due, "both tables are made");
    let mesh = &node.engine.meshes[&network];
    let link = mesh.topology.link("f1/f3").unwrap();
    assert_eq!(mesh.link(link).usage(), linkstate::Usage::Everybody);
}
