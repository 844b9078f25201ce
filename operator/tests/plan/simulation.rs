//! Random edits by users, random nodes, replicas in random order, each behind in its own way.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use crds::{ForwarderSpec, Node};
use operator::plan::{Delete, plan};
use proptest::prelude::*;

use super::{
    happenings::{Happening, NODES, TOPOLOGIES, edit_topology, happenings, simulated_pod},
    invariants::{check, check_settled, outcome},
    replica::Replica,
    server::{Server, State},
};

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
            Happening::Pod { pod, node } => {
                let pod = format!("p{pod}");
                let spec = node.map(|node| simulated_pod(&pod, NODES[node]));
                self.server.borrow_mut().set_pod(&pod, spec);
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

/// Result of one undisturbed replica for the accepted topologies.
fn calm(state: &State) -> BTreeMap<String, ForwarderSpec> {
    let mut run = Run::new(1);
    for name in NODES {
        let node = state.nodes.get(name).map(|object| object.spec.clone());
        run.server.borrow_mut().set_node(name, node);
    }
    for (name, pod) in state.pods.iter() {
        let pod = Some(pod.spec.clone());
        run.server.borrow_mut().set_pod(name, pod);
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
    let observed = server.observed(&[server.revision(); 6], topology);
    observed.is_some_and(|observed| plan(&observed).computed.is_some())
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
        is_sharded in any::<bool>(),
        happenings in happenings(),
    ) {
        let mut run = Run::new(replicas);
        if is_sharded {
            run.server.borrow_mut().shard_bytes = 300;
        }
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
