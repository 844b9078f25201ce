//! Live topology of one network: declared links, and the graph of those that both ends report as
//! usable. Suspect links are in the graph with the weight of the last resort. Pure.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use crds::Forwarder;
use linkstate::{End, Link, Usage};
use topology::graph::{AppliedChange, Change, Graph};
use topology::{ForwarderIndex, LinkIndex, Topology, TopologyError};

/// Live topology, built from Forwarder objects and the link-state reports of both ends.
#[derive(Debug)]
pub struct Mesh {
    /// Declared topology.
    pub topology: Topology,
    /// Graph of usable links.
    pub graph: Graph,
    forwarders: Vec<Arc<Forwarder>>,
    keys: Vec<String>,
    index_by_key: BTreeMap<String, ForwarderIndex>,
    /// State of the first and the second end, by link.
    links: Vec<Link>,
}

/// Effect of a report on the graph.
#[derive(Debug, Default)]
pub struct Reported {
    /// Graph changes, for [`topology::Spf::update`].
    pub changes: Vec<AppliedChange>,
    /// Links that became unusable for every Forwarder, or the last resort of all.
    pub fallen: Vec<LinkIndex>,
    /// Links that became usable for the Forwarders at their ends.
    pub opened: Vec<LinkIndex>,
    /// Links that became usable for every Forwarder: the tables at both ends are programmed, or there is no better way.
    pub released: Vec<LinkIndex>,
}

impl Mesh {
    /// Topology of these Forwarders with their keys; every link is down until both ends report it.
    ///
    /// # Errors
    /// Invalid topology: a duplicate name, or a weight of 0.
    pub fn new(objects: &[(String, Arc<Forwarder>)]) -> Result<Mesh, TopologyError> {
        let plain: Vec<&Forwarder> = objects.iter().map(|(_, object)| &**object).collect();
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
        let links = vec![Link::default(); topology.links().len()];
        Ok(Mesh {
            topology,
            graph,
            forwarders,
            keys,
            index_by_key,
            links,
        })
    }

    /// Position of a Forwarder, by key.
    pub fn index(&self, key: &str) -> Option<ForwarderIndex> {
        self.index_by_key.get(key).copied()
    }

    /// Key of a Forwarder, by position.
    pub fn key(&self, index: ForwarderIndex) -> &str {
        &self.keys[index.position()]
    }

    /// Keys of all Forwarders, in canonical order.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// Forwarder, by position.
    pub fn forwarder(&self, index: ForwarderIndex) -> &Arc<Forwarder> {
        &self.forwarders[index.position()]
    }

    /// All Forwarders, in canonical order.
    pub fn forwarders(&self) -> &[Arc<Forwarder>] {
        &self.forwarders
    }

    /// Applies a Forwarder's report on its link ends; an absent end is down. A link is usable only
    /// while both ends pass packets.
    pub fn report(&mut self, key: &str, ends: &BTreeMap<String, End>) -> Reported {
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
            let known = &mut self.links[link.position()];
            let before = known.usage();
            known.ends[usize::from(declared.b == from)] = ends.get(&end.id).copied();
            let now = known.usage();
            let weights = (declared.weight, declared.weight_back);
            let (earlier, weights) = (before.weights(weights), now.weights(weights));
            if earlier != weights {
                let change = Change::Link { link, weights };
                reported.changes.push(self.graph.change(change));
            }
            // Usable for the ends or for all: the same graph.
            match before.min(Usage::Ends).cmp(&now.min(Usage::Ends)) {
                Ordering::Greater => reported.fallen.push(link),
                Ordering::Less => reported.opened.push(link),
                Ordering::Equal => {}
            }
            let is_for_all = matches!(now, Usage::LastResort | Usage::Everybody);
            if is_for_all && before < now {
                reported.released.push(link);
            }
        }
        reported
    }

    /// Key of the Forwarder at the other end of a link.
    pub fn peer(&self, key: &str, id: &str) -> Option<&str> {
        let from = self.index(key)?;
        let link = self.topology.link(id)?;
        let declared = &self.topology.links()[link.position()];
        Some(self.key(declared.other(from)))
    }

    /// State of both ends of a link.
    pub fn link(&self, link: LinkIndex) -> &Link {
        &self.links[link.position()]
    }
}

fn index(position: usize) -> LinkIndex {
    LinkIndex(u32::try_from(position).expect("a topology has fewer than 2^32 links"))
}
