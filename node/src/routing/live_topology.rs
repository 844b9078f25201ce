//! The live global topology of one network: what is declared, and what of it can be used by the reports of both ends of each
//! link. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use crds::Forwarder;
use linkstate::{End, Link, Usage};
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
    links: Vec<Link>,
}

/// What a report changes.
#[derive(Debug, Default)]
pub struct Reported {
    /// For [`topology::Spf::update`].
    pub changes: Vec<AppliedChange>,
    /// Links that no Forwarder may use any more.
    pub fallen: Vec<LinkIndex>,
    /// Links that the Forwarders at their ends may use now.
    pub opened: Vec<LinkIndex>,
    /// Links that every Forwarder may use now: the tables of both their ends are made.
    pub released: Vec<LinkIndex>,
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

    /// Takes the report of a Forwarder's node on its ends; an end that is not in it is down. A link is usable only while both its ends
    /// pass packets.
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
            let is_usable = now != Usage::Nobody;
            if (before != Usage::Nobody) != is_usable {
                let weights = is_usable.then_some((declared.weight, declared.weight_back));
                let change = Change::Link { link, weights };
                reported.changes.push(self.graph.change(change));
                match is_usable {
                    true => reported.opened.push(link),
                    false => reported.fallen.push(link),
                }
            }
            if now == Usage::Everybody && before != Usage::Everybody {
                reported.released.push(link);
            }
        }
        reported
    }

    /// The key of the Forwarder at the other end of a link.
    pub fn peer(&self, key: &str, id: &str) -> Option<&str> {
        let from = self.index(key)?;
        let link = self.topology.link(id)?;
        let declared = &self.topology.links()[link.position()];
        Some(self.key(declared.other(from)))
    }

    /// What is known of both ends of a link.
    pub fn link(&self, link: LinkIndex) -> &Link {
        &self.links[link.position()]
    }

    /// Whether the end of `link` that is not at `from` is reported to pass packets.
    pub fn is_peer_up(&self, link: LinkIndex, from: ForwarderIndex) -> bool {
        let declared = &self.topology.links()[link.position()];
        let peer = self.links[link.position()].ends[usize::from(declared.a == from)];
        peer.is_some_and(|end| end.passes())
    }
}

fn index(position: usize) -> LinkIndex {
    LinkIndex(u32::try_from(position).expect("a topology has fewer than 2^32 links"))
}
