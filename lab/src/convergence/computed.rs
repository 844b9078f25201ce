//! Expected state of a running lab, computed from its topology: links that should be up, paths that
//! packets should take.

use std::collections::{BTreeMap, BTreeSet};

use crds::Forwarder;
use probe::flow_report::Edge;
use topology::{Fault, ForwarderIndex, Graph, Spf, Table, Topology};

use crate::state::directory::Faults;
use console::failure::Failure;

/// Live topology and its tables, each computed on demand.
pub(crate) struct Computed {
    topology: Topology,
    graph: Graph,
    max_paths: usize,
    tables: std::cell::RefCell<BTreeMap<u32, std::rc::Rc<Table>>>,
}

impl Computed {
    /// Computed state of the declared topology without the `faults`.
    ///
    /// # Errors
    /// [`Failure::Failed`] when the lab's objects are no valid topology, after a manual edit.
    pub(crate) fn new(forwarders: &[Forwarder], faults: &Faults) -> Result<Computed, Failure> {
        let declared = declared(forwarders)?;
        let topology = declared.without(&faults_in(&declared, forwarders, faults));
        let graph = Graph::new(&topology);
        let max_paths = forwarders
            .first()
            .map_or(64, |forwarder| forwarder.spec.routing.max_paths);
        Ok(Computed {
            topology,
            graph,
            max_paths: max_paths as usize,
            tables: std::cell::RefCell::default(),
        })
    }

    /// The live topology.
    pub(crate) fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Edges of all shortest paths from one Forwarder to another, as pairs of names. Empty when
    /// they are the same; `None` without a path.
    pub(crate) fn edges(&self, from: &str, to: &str) -> Option<BTreeSet<Edge>> {
        let (first, last) = (self.topology.forwarder(from)?, self.topology.forwarder(to)?);
        let mut edges = BTreeSet::new();
        let mut seen = BTreeSet::from([first]);
        let mut waiting = vec![first];
        while let Some(at) = waiting.pop() {
            for hop in self.next(at, last) {
                edges.insert((self.name(at), self.name(hop)));
                if seen.insert(hop) {
                    waiting.push(hop);
                }
            }
        }
        seen.contains(&last).then_some(edges)
    }

    fn next(&self, at: ForwarderIndex, to: ForwarderIndex) -> Vec<ForwarderIndex> {
        let table = self.table(at);
        let links = table
            .to_forwarder(to)
            .map(|(_, links)| links)
            .unwrap_or_default();
        links
            .iter()
            .map(|link| self.topology.links()[link.position()].other(at))
            .collect()
    }

    fn table(&self, from: ForwarderIndex) -> std::rc::Rc<Table> {
        let mut tables = self.tables.borrow_mut();
        let table = tables.entry(from.0).or_insert_with(|| {
            let spf = Spf::compute(&self.graph, from);
            std::rc::Rc::new(Table::new(
                &self.topology,
                &self.graph,
                &spf,
                self.max_paths,
            ))
        });
        std::rc::Rc::clone(table)
    }

    fn name(&self, forwarder: ForwarderIndex) -> String {
        self.topology.forwarders()[forwarder.position()].clone()
    }
}

/// The topology as it was declared.
///
/// # Errors
/// [`Failure::Failed`] when the objects are no valid topology.
pub(crate) fn declared(forwarders: &[Forwarder]) -> Result<Topology, Failure> {
    crds::expand::topology_of(forwarders)
        .map_err(|error| Failure::Failed(format!("the lab's objects are no topology: {error}")))
}

/// Links that `faults` take out or silence.
fn faults_in(topology: &Topology, forwarders: &[Forwarder], faults: &Faults) -> Vec<Fault> {
    let nodes: BTreeMap<&str, &str> = forwarders
        .iter()
        .map(|it| (it.spec.name.as_str(), it.spec.node.as_str()))
        .collect();
    let end = |forwarder: ForwarderIndex| {
        let name = topology.forwarders()[forwarder.position()].as_str();
        (name, nodes.get(name).copied().unwrap_or_default())
    };
    let is_out = |(number, link): &(u32, &topology::Link)| {
        let ends = [end(link.a), end(link.b)];
        let id = topology.link_id(topology::LinkIndex(*number));
        // A Forwarder without power has no links, but it is still declared: its own table is empty.
        faults.takes_out(&id, ends.map(|(name, _)| name)) || faults.silences(&id, ends)
    };
    (0..)
        .zip(topology.links())
        .filter(is_out)
        .map(|(number, _)| Fault::Link(topology::LinkIndex(number)))
        .collect()
}
