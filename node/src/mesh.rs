//! One topology as this node knows it: the graph, and which links are usable. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use crds::Forwarder;
use topology::graph::{AppliedChange, Change, Graph};
use topology::{ForwarderIndex, LinkIndex, Topology, TopologyError};

/// The live global topology, from Forwarder objects and what both ends of each link report.
#[derive(Debug)]
pub struct Mesh {
    /// What is declared.
    pub topology: Topology,
    /// What of it can be used.
    pub graph: Graph,
    forwarders: Vec<Arc<Forwarder>>,
    index_by_object: BTreeMap<String, ForwarderIndex>,
    /// What the first and the second end report, by link.
    ends: Vec<[bool; 2]>,
}

/// What a report changes.
#[derive(Debug, Default)]
pub struct Reported {
    /// For [`topology::Spf::update`].
    pub changes: Vec<AppliedChange>,
    /// Links that could be used before, and now cannot.
    pub fallen: Vec<LinkIndex>,
}

impl Mesh {
    /// The topology of these Forwarder objects, every link down until both ends report it.
    ///
    /// # Errors
    /// When the objects are no topology: two of the same name, a weight of 0.
    pub fn new(objects: &[Arc<Forwarder>]) -> Result<Mesh, TopologyError> {
        let plain: Vec<Forwarder> = objects.iter().map(|object| (**object).clone()).collect();
        let topology = crds::expand::topology_of(&plain)?;
        let mut graph = Graph::new(&topology);
        for link in 0..topology.links().len() {
            graph.change(Change::Link {
                link: index(link),
                weights: None,
            });
        }
        let by_name: BTreeMap<&str, &Arc<Forwarder>> = objects
            .iter()
            .map(|object| (object.spec.name.as_str(), object))
            .collect();
        let forwarders: Vec<_> = topology
            .forwarders()
            .iter()
            .filter_map(|name| by_name.get(name.as_str()).map(|object| Arc::clone(object)))
            .collect();
        let index_by_object = (0..)
            .zip(&forwarders)
            .map(|(index, object)| (object.metadata.name.clone(), ForwarderIndex(index)))
            .collect();
        let ends = vec![[false; 2]; topology.links().len()];
        Ok(Mesh {
            topology,
            graph,
            forwarders,
            index_by_object,
            ends,
        })
    }

    /// Position of a Forwarder, by object name.
    pub fn index(&self, object: &str) -> Option<ForwarderIndex> {
        self.index_by_object.get(object).copied()
    }

    /// A Forwarder by its position.
    pub fn forwarder(&self, index: ForwarderIndex) -> &Arc<Forwarder> {
        &self.forwarders[index.position()]
    }

    /// Every Forwarder, in canonical order.
    pub fn forwarders(&self) -> &[Arc<Forwarder>] {
        &self.forwarders
    }

    /// Takes what a Forwarder's node reports of its ends; an end that is not in it is down. Returns
    /// what that changes: a link is usable only while both its ends are up.
    pub fn report(&mut self, object: &str, up: &BTreeMap<String, bool>) -> Reported {
        let mut reported = Reported::default();
        let Some(from) = self.index(object) else {
            return reported;
        };
        let forwarder = Arc::clone(self.forwarder(from));
        for end in &forwarder.spec.links {
            let Some(link) = self.topology.link(&end.id) else {
                continue;
            };
            let declared = &self.topology.links()[link.position()];
            let ends = &mut self.ends[link.position()];
            let was_up = *ends == [true; 2];
            ends[usize::from(declared.b == from)] = up.get(&end.id).copied().unwrap_or(false);
            let is_up = *ends == [true; 2];
            if was_up != is_up {
                let weights = is_up.then_some((declared.weight, declared.weight_back));
                reported
                    .changes
                    .push(self.graph.change(Change::Link { link, weights }));
                if !is_up {
                    reported.fallen.push(link);
                }
            }
        }
        reported
    }

    /// What the end of `link` that is not at `from` reports.
    pub fn is_peer_up(&self, link: LinkIndex, from: ForwarderIndex) -> bool {
        let declared = &self.topology.links()[link.position()];
        self.ends[link.position()][usize::from(declared.a == from)]
    }
}

fn index(position: usize) -> LinkIndex {
    LinkIndex(u32::try_from(position).expect("a topology has fewer than 2^32 links"))
}
