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
    keys: Vec<String>,
    index_by_key: BTreeMap<String, ForwarderIndex>,
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
    /// The topology of these Forwarders with their keys, every link down until both ends report it.
    ///
    /// # Errors
    /// When the objects are no topology: two of the same name, a weight of 0.
    pub fn new(objects: &[(String, Arc<Forwarder>)]) -> Result<Mesh, TopologyError> {
        let plain: Vec<Forwarder> = objects
            .iter()
            .map(|(_, object)| (**object).clone())
            .collect();
        let topology = crds::expand::topology_of(&plain)?;
        let mut graph = Graph::new(&topology);
        for link in 0..topology.links().len() {
            graph.change(Change::Link {
                link: index(link),
                weights: None,
            });
        }
        let by_name: BTreeMap<&str, &(String, Arc<Forwarder>)> = objects
            .iter()
            .map(|object| (object.1.spec.name.as_str(), object))
            .collect();
        let (keys, forwarders): (Vec<_>, Vec<_>) = topology
            .forwarders()
            .iter()
            .filter_map(|name| by_name.get(name.as_str()).copied().cloned())
            .unzip();
        let index_by_key = (0..)
            .zip(&keys)
            .map(|(index, key)| (key.clone(), ForwarderIndex(index)))
            .collect();
        let ends = vec![[false; 2]; topology.links().len()];
        Ok(Mesh {
            topology,
            graph,
            forwarders,
            keys,
            index_by_key,
            ends,
        })
    }

    /// Position of a Forwarder, by key.
    pub fn index(&self, key: &str) -> Option<ForwarderIndex> {
        self.index_by_key.get(key).copied()
    }

    /// The key of a Forwarder, by its position.
    pub fn key(&self, index: ForwarderIndex) -> &str {
        &self.keys[index.position()]
    }

    /// The keys of all Forwarders, in canonical order.
    pub fn keys(&self) -> &[String] {
        &self.keys
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
    pub fn report(&mut self, key: &str, up: &BTreeMap<String, bool>) -> Reported {
        let mut reported = Reported::default();
        let Some(from) = self.index(key) else {
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
