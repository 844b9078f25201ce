//! Number of writes of one change, and what keeps a plan from writing.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use crds::{
    MicroServiceTopology, Node,
    selector::LabelSelector,
    topology::{AppEntry, ForwarderEntry, Shape},
};
use operator::plan::{Lag, Observed, Plan, Unfit, Versions, plan};

use super::{happenings::simulated_pod, replica::Replica, server::Server};

const NAME: &str = "large";

/// A line of Forwarders with an App, each on a node of its own, as one replica settles it.
struct Settled {
    server: Rc<RefCell<Server>>,
    replica: Replica,
}

fn topology(forwarders: usize) -> MicroServiceTopology {
    let mut topology = MicroServiceTopology::new(NAME, Default::default());
    let forwarder = |number| ForwarderEntry {
        name: format!("f{number}"),
        node: Some(format!("n{number}")),
        ..ForwarderEntry::default()
    };
    topology.spec.forwarders = (0..forwarders).map(forwarder).collect();
    topology.spec.shape = Shape::Line;
    let labels = simulated_pod("", "").labels;
    topology.spec.apps = vec![AppEntry {
        pod_selector: Some(LabelSelector {
            match_labels: labels,
            ..LabelSelector::default()
        }),
        ..AppEntry::new("app")
    }];
    topology
}

impl Settled {
    fn new(forwarders: usize, pods: usize) -> Settled {
        let mut server = Server::new();
        for number in 0..forwarders {
            let name = format!("n{number}");
            server.set_node(&name, Some(Node::from(name.as_str())));
        }
        for number in 0..pods {
            let name = format!("p{number}");
            server.set_pod(&name, Some(simulated_pod(&name, &format!("n{number}"))));
        }
        server.apply_topology(topology(forwarders));
        let server = Rc::new(RefCell::new(server));
        let replica = Replica::new(Rc::clone(&server));
        let mut settled = Settled { server, replica };
        settled.settle();
        settled
    }

    fn settle(&mut self) {
        loop {
            let before = self.server.borrow().writes;
            self.replica.hear_all();
            self.replica.start(NAME);
            while self.replica.is_busy() {
                self.replica.step();
            }
            if self.server.borrow().writes == before {
                return;
            }
        }
    }

    fn observed(&self) -> Observed {
        let server = self.server.borrow();
        let observed = server.observed(&[server.revision(); 6], NAME);
        observed.expect("it is there")
    }

    /// All that is published of `before` is there.
    fn published(&self, before: &Plan) -> Observed {
        let mut observed = self.observed();
        for publish in &before.publish {
            let mut forwarders = observed.forwarders.iter_mut();
            let of_it = forwarders
                .find(|f| f.uid == publish.uid)
                .expect("it is there");
            Arc::make_mut(&mut of_it.status).computed = Some(publish.computed.clone());
        }
        observed
    }
}

#[test]
fn one_pod_more_writes_as_many_forwarders_as_have_another_table() {
    const FORWARDERS: usize = 150;
    let mut settled = Settled::new(FORWARDERS, FORWARDERS - 1);
    let before = plan(&settled.observed());
    assert_eq!(before.publish.len(), FORWARDERS, "all are new");
    let published = plan(&settled.published(&before)).publish;
    assert!(published.is_empty(), "{published:?}");

    // The second pod of an App on a Forwarder is no edge, the first is one.
    for (pod, node, tables) in [("second", 7, 0), ("first", FORWARDERS - 1, 1)] {
        let pod = simulated_pod(pod, &format!("n{node}"));
        settled
            .server
            .borrow_mut()
            .set_pod(&pod.name.clone(), Some(pod));
        let writes = settled.server.borrow().writes;
        settled.settle();
        let written = settled.server.borrow().writes - writes;
        assert_eq!(written, tables, "specs");
        let published = plan(&settled.published(&before)).publish;
        assert_eq!(published.len() as u64, tables, "{published:?}");
    }
}

#[test]
fn bounds_of_the_administrator_are_kept_with_the_number() {
    let settled = Settled::new(4, 0);
    let problem = |change: &dyn Fn(&mut Observed)| {
        let mut observed = settled.observed();
        change(&mut observed);
        let plan = plan(&observed);
        assert!(plan.fill.is_empty() && plan.create.is_empty() && plan.delete.is_empty());
        let problems = plan.problems.iter().map(ToString::to_string);
        problems.collect::<Vec<_>>().join("; ")
    };
    let of_topology =
        |most| move |observed: &mut Observed| observed.limits.forwarders_per_topology = most;
    assert_eq!(problem(&of_topology(0)), "");
    assert_eq!(problem(&of_topology(4)), "");
    let message = problem(&of_topology(3));
    assert!(
        message.contains("at most 3") && message.contains("these are 4"),
        "{message}"
    );

    // A node that is full already keeps what it has.
    let full = |observed: &mut Observed| {
        observed.limits.forwarders_per_node = 2;
        observed.load = Arc::new([("n1".to_owned(), 9)].into());
    };
    assert_eq!(problem(&full), "");
    let one_more = |observed: &mut Observed| {
        full(observed);
        let forwarders = &mut Arc::make_mut(&mut observed.topology).spec.forwarders;
        forwarders[0].node = Some("n1".to_owned());
    };
    let message = problem(&one_more);
    assert!(
        message.contains("node n1 would have 10, 8 of them"),
        "{message}"
    );
}

#[test]
fn announcements_are_taken_back_when_there_is_no_room() {
    let mut server = Server::new();
    server.apply_topology(topology(3));
    let uid = server.now().topologies[NAME].uid.clone();
    server
        .create_forwarder(NAME, &uid, "f0")
        .expect("it is new");
    let mut observed = server
        .observed(&[server.revision(); 6], NAME)
        .expect("it is there");
    observed.limits.forwarders_per_node = 2;
    assert_eq!(plan(&observed).create.len(), 2);
    observed.load = Arc::new([("n1".to_owned(), 2)].into());
    let plan = plan(&observed);
    assert_eq!(plan.facts.rejected, "TooManyForwarders");
    assert_eq!(plan.delete.len(), 1, "{:?}", plan.delete);
}

#[test]
fn a_node_that_is_unfit_gets_nothing_new_and_keeps_what_it_has() {
    let settled = Settled::new(2, 0);
    let nodes = |unfit: &[(&str, Unfit)], is_new: bool| {
        let mut observed = settled.observed();
        observed.unfit = Arc::new(
            unfit
                .iter()
                .map(|(name, why)| ((*name).to_owned(), *why))
                .collect(),
        );
        for forwarder in &mut Arc::make_mut(&mut observed.topology).spec.forwarders {
            forwarder.node = None;
        }
        if is_new {
            observed.forwarders.clear();
        }
        let plan = plan(&observed);
        let forwarders = plan.computed.map(|_| plan.forwarders);
        let nodes = forwarders.into_iter().flatten().map(|f| f.spec.node);
        nodes.collect::<Vec<String>>()
    };
    for why in [Unfit::NoDaemon, Unfit::NotReady, Unfit::Unschedulable] {
        let unfit = [("n0", why)];
        assert_eq!(nodes(&unfit, true), ["n1", "n1"], "{why:?}");
        assert_eq!(
            nodes(&unfit, false),
            ["n0", "n1"],
            "{why:?}: who is there stays"
        );
    }
    assert_eq!(nodes(&[], true), ["n0", "n1"]);
}

#[test]
fn a_plan_from_less_than_is_written_writes_nothing() {
    let settled = Settled::new(3, 1);
    let lag = |change: &dyn Fn(&mut Observed)| {
        let mut observed = settled.observed();
        // As if somebody had edited a Forwarder: there is something to write.
        Arc::make_mut(&mut observed.forwarders[0].spec).node = "elsewhere".to_owned();
        change(&mut observed);
        let plan = plan(&observed);
        assert_eq!(plan.fill.is_empty(), plan.lag.is_some());
        plan.lag
    };
    assert_eq!(lag(&|_| {}), None);
    assert_eq!(
        lag(&|observed| observed.generation = 0),
        Some(Lag::Generation)
    );
    let behind = |observed: &mut Observed| {
        observed.heard.pods = 0;
        observed.basis.pods = 0;
    };
    let Some(Lag::Watches(missing)) = lag(&behind) else {
        panic!("a pod was heard of when it was written");
    };
    assert!(missing.pods > 0);
    let disbelieving = |observed: &mut Observed| {
        behind(observed);
        observed.disbelieved = missing;
    };
    assert_eq!(lag(&disbelieving), None);
    assert_eq!(missing, missing.max(Versions::default()));
}
