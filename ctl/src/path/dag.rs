//! All shortest paths from one Forwarder as a graph: each Forwarder on the way once. Pure.
//!
//! Hop by hop, as packets go: each Forwarder sends by its own table, limits of ECMP included.

use super::place::Place;
use crate::cluster::placed::Placed;
use crate::tables::Computer;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use topology::{AppIndex, ForwarderIndex, LinkIndex, Table};

/// Input of paths.
pub(crate) struct Ways<'a> {
    placed: &'a Placed,
    computer: Computer<'a>,
}

/// The ways from one Forwarder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Dag {
    /// The Forwarder.
    pub(crate) from: String,
    /// Weight of the shortest paths; `None` without a path.
    pub(crate) distance: Option<u64>,
    /// Number of paths; saturates at the greatest number.
    pub(crate) paths: u64,
    /// Forwarders on the paths, the farthest first.
    pub(crate) forwarders: Vec<Step>,
}

/// A Forwarder on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Step {
    /// Its name.
    pub(crate) name: String,
    /// Its node; empty where that is not known.
    pub(crate) node: String,
    /// Distance from here to the destination.
    pub(crate) distance: u64,
    /// Number of paths from here on.
    pub(crate) paths: u64,
    /// True where the destination is attached here.
    pub(crate) arrives: bool,
    /// Next hops of packets.
    pub(crate) next_hops: Vec<Hop>,
}

/// One next hop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Hop {
    /// The Forwarder at the other end.
    pub(crate) via: String,
    /// Id of the link.
    pub(crate) link: String,
    /// Weight in this direction.
    pub(crate) weight: u32,
}

/// Entry of one table for the destination.
struct Entry {
    distance: u64,
    arrives: bool,
    links: Vec<LinkIndex>,
}

impl<'a> Ways<'a> {
    /// Of a topology, without the links that are down, and with suspect ones as the last resort.
    pub(crate) fn new(placed: &'a Placed) -> Self {
        let changes = placed.impaired.changes(&placed.topology);
        let computer = Computer::with(&placed.topology, placed.max_paths, &changes);
        Self { placed, computer }
    }

    /// Epoch of the live topology.
    pub(crate) fn epoch(&self) -> String {
        self.computer.epoch().to_string()
    }

    /// The ways from `start` to where `to` is.
    pub(crate) fn dag(&self, start: ForwarderIndex, to: &Place) -> Dag {
        let mut entries: BTreeMap<ForwarderIndex, Entry> = BTreeMap::new();
        let mut waiting = BTreeSet::from([start]);
        while let Some(at) = waiting.pop_first() {
            let Some(entry) = self.entry(at, to) else {
                continue;
            };
            let next = entry.links.iter().map(|link| self.other(*link, at));
            let next: Vec<_> = next
                .filter(|next| !entries.contains_key(next) && *next != at)
                .collect();
            waiting.extend(next);
            entries.insert(at, entry);
        }
        self.described(start, &entries)
    }

    fn entry(&self, at: ForwarderIndex, to: &Place) -> Option<Entry> {
        let of_table = |table: Table| match to {
            Place::App(app) => of_app(&table, *app.as_ref()),
            Place::Forwarder(place) | Place::Pod(place) => of_forwarder(&table, place.forwarder),
        };
        self.computer.compute(&[at], of_table).pop().flatten()
    }

    fn other(&self, link: LinkIndex, at: ForwarderIndex) -> ForwarderIndex {
        self.placed.topology.links()[link.position()].other(at)
    }

    fn described(&self, start: ForwarderIndex, entries: &BTreeMap<ForwarderIndex, Entry>) -> Dag {
        // The nearer first: every next hop is nearer than who sends to it.
        let mut order: Vec<(&ForwarderIndex, &Entry)> = entries.iter().collect();
        order.sort_by_key(|(at, entry)| (entry.distance, !entry.arrives, **at));
        let mut paths: BTreeMap<ForwarderIndex, u64> = BTreeMap::new();
        let mut steps = Vec::with_capacity(order.len());
        for (at, entry) in order {
            let of = |link: &LinkIndex| paths.get(&self.other(*link, *at)).copied().unwrap_or(0);
            let count = match entry.arrives {
                true => 1,
                false => entry.links.iter().map(of).fold(0, u64::saturating_add),
            };
            paths.insert(*at, count);
            steps.push(self.step(*at, entry, count));
        }
        steps.reverse();
        let distance = entries.get(&start).map(|entry| entry.distance);
        Dag {
            from: self.name(start),
            distance,
            paths: paths.get(&start).copied().unwrap_or(0),
            forwarders: steps,
        }
    }

    fn step(&self, at: ForwarderIndex, entry: &Entry, paths: u64) -> Step {
        let hop = |link: &LinkIndex| {
            let ends = &self.placed.topology.links()[link.position()];
            Hop {
                via: self.name(ends.other(at)),
                link: self.placed.topology.link_id(*link),
                weight: if ends.a == at {
                    ends.weight
                } else {
                    ends.weight_back
                },
            }
        };
        let mut next_hops: Vec<Hop> = entry.links.iter().map(hop).collect();
        next_hops.sort_by(|one, other| one.link.cmp(&other.link));
        let name = self.name(at);
        Step {
            node: self.placed.node_of(&name),
            name,
            distance: entry.distance,
            paths,
            arrives: entry.arrives,
            next_hops,
        }
    }

    fn name(&self, forwarder: ForwarderIndex) -> String {
        self.placed.topology.forwarders()[forwarder.position()].clone()
    }
}

fn of_forwarder(table: &Table, to: ForwarderIndex) -> Option<Entry> {
    if table.from == to {
        return Some(Entry {
            distance: 0,
            arrives: true,
            links: Vec::new(),
        });
    }
    let (route, links) = table.to_forwarder(to)?;
    Some(Entry {
        distance: route.distance,
        arrives: false,
        links: links.to_vec(),
    })
}

fn of_app(table: &Table, to: AppIndex) -> Option<Entry> {
    let (route, links) = table.to_app(to)?;
    Some(Entry {
        distance: route.distance,
        arrives: route.attached,
        links: links.to_vec(),
    })
}

impl Dag {
    /// Every hop from one Forwarder to the next, by name.
    pub(crate) fn edges(&self) -> BTreeSet<(String, String)> {
        let edge = |step: &Step| {
            let from = step.name.clone();
            let hops = step.next_hops.clone().into_iter();
            hops.map(move |hop| (from.clone(), hop.via))
                .collect::<Vec<_>>()
        };
        self.forwarders.iter().flat_map(edge).collect()
    }
}
