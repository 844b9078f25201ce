//! Expected state of a running lab, computed from its topology: links that should be up, paths that
//! packets should take.

use std::collections::{BTreeMap, BTreeSet};

use crds::Forwarder;
use linkstate::Usage;
use probe::flow_report::Edge;
use topology::{Change, Fault, ForwarderIndex, Graph, LinkIndex, Spf, Table, Topology};

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
    /// Computed state of the declared topology with the `faults`: links that are down are not in it, silent ones are the last
    /// resort.
    ///
    /// # Errors
    /// [`Failure::Failed`] when the lab's objects are no valid topology, after a manual edit.
    pub(crate) fn new(forwarders: &[Forwarder], faults: &Faults) -> Result<Computed, Failure> {
        let declared = declared(forwarders)?;
        let links = Links::new(&declared, forwarders);
        let down = links.all(|link, ends| faults.takes_out(link, ends.map(|(name, _)| name)));
        let down: Vec<Fault> = down.into_iter().map(Fault::Link).collect();
        let topology = declared.without(&down);
        let mut graph = Graph::new(&topology);
        let links = Links::new(&topology, forwarders);
        for link in links.all(|link, ends| faults.silences(link, ends)) {
            let declared = &topology.links()[link.position()];
            let weights = Usage::LastResort.weights((declared.weight, declared.weight_back));
            graph.change(Change::Link { link, weights });
        }
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

    /// Epoch of the tables.
    pub(crate) fn epoch(&self) -> String {
        self.graph.epoch().to_string()
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

/// Links of a topology, with the Forwarder and the node of each end.
struct Links<'a> {
    topology: &'a Topology,
    node_by_forwarder: BTreeMap<&'a str, &'a str>,
}

impl<'a> Links<'a> {
    fn new(topology: &'a Topology, forwarders: &'a [Forwarder]) -> Links<'a> {
        let node = |it: &'a Forwarder| (it.spec.name.as_str(), it.spec.node.as_str());
        Links {
            topology,
            node_by_forwarder: forwarders.iter().map(node).collect(),
        }
    }

    /// Links for which `is_so` holds.
    fn all(&self, is_so: impl Fn(&str, [(&str, &str); 2]) -> bool) -> Vec<LinkIndex> {
        let end = |forwarder: ForwarderIndex| {
            let name = self.topology.forwarders()[forwarder.position()].as_str();
            let node = self.node_by_forwarder.get(name).copied();
            (name, node.unwrap_or_default())
        };
        let is_so = |link: &LinkIndex| {
            let declared = &self.topology.links()[link.position()];
            let id = self.topology.link_id(*link);
            is_so(&id, [end(declared.a), end(declared.b)])
        };
        let count = self.topology.links().len() as u32;
        (0..count).map(LinkIndex).filter(is_so).collect()
    }
}
