//! The difference between the tables of two topologies, by names: what-if, before anything is
//! applied.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};

use crate::{
    epoch::Epoch,
    model::{AppIndex, ForwarderIndex, LinkIndex, Topology},
    table::Table,
};

/// One next hop by names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hop {
    /// The neighbour.
    pub via: String,
    /// Id of the link.
    pub link: String,
}

/// One route by names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Weight of the shortest path.
    pub distance: u64,
    /// True when the destination is an App attached to the Forwarder itself.
    pub attached: bool,
    /// Next hops in byte order of link ids, which the canonical order of links is not: `a-x/b`
    /// comes before `a/b`.
    pub next_hops: Vec<Hop>,
}

/// Changed routes of one Forwarder, by destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Destinations that become reachable.
    pub added: BTreeMap<String, Entry>,
    /// Destinations that are no longer reachable, as they were.
    pub removed: BTreeMap<String, Entry>,
    /// Destinations that are reached otherwise: before and after.
    pub changed: BTreeMap<String, (Entry, Entry)>,
}

impl Difference {
    /// True without a change.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// The difference between two topologies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Epoch of the old tables (of the old topology when there are none).
    pub old_epoch: Epoch,
    /// Epoch of the new tables (of the new topology when there are none).
    pub new_epoch: Epoch,
    /// By Forwarder; those without a difference are absent.
    pub forwarders: BTreeMap<String, Difference>,
}

impl Plan {
    /// True without a changed route (epochs may still differ).
    pub fn is_empty(&self) -> bool {
        self.forwarders.is_empty()
    }
}

/// Compares the tables of two topologies.
///
/// Tables may be a selection, the same on both sides: a Forwarder with a table on one side only
/// is taken as added or removed with all its routes. Links are the same when their ids are.
/// Work: one comparison of each route; names are resolved for differences only.
pub fn plan(old: (&Topology, &[Table]), new: (&Topology, &[Table])) -> Plan {
    let epoch = |(topology, tables): (&Topology, &[Table])| {
        tables
            .first()
            .map_or_else(|| topology.epoch(), |table| table.epoch)
    };
    let (old_tables, new_tables) = (by_name(old), by_name(new));
    let kept = links_kept(old.0, new.0);
    let names: BTreeSet<&str> = old_tables
        .keys()
        .chain(new_tables.keys())
        .copied()
        .collect();
    let mut forwarders = BTreeMap::new();
    for name in names {
        let before = old_tables.get(name).map(|table| View {
            topology: old.0,
            table,
        });
        let after = new_tables.get(name).map(|table| View {
            topology: new.0,
            table,
        });
        let difference = difference(before, after, &kept);
        if !difference.is_empty() {
            forwarders.insert(String::from(name), difference);
        }
    }
    Plan {
        old_epoch: epoch(old),
        new_epoch: epoch(new),
        forwarders,
    }
}

fn by_name<'a>((topology, tables): (&'a Topology, &'a [Table])) -> BTreeMap<&'a str, &'a Table> {
    let name = |table: &Table| topology.forwarders()[table.from.position()].as_str();
    tables.iter().map(|table| (name(table), table)).collect()
}

/// New index of each old link.
fn links_kept(old: &Topology, new: &Topology) -> Vec<Option<LinkIndex>> {
    let same = |old_link: LinkIndex| {
        let link = &old.links()[old_link.position()];
        let end = |end: ForwarderIndex| new.forwarder(&old.forwarders()[end.position()]);
        let mut between = new.links_between(end(link.a)?, end(link.b)?);
        between.find(|other| new.links()[other.position()].ordinal == link.ordinal)
    };
    (0..old.links().len() as u32)
        .map(LinkIndex)
        .map(same)
        .collect()
}

#[derive(Clone, Copy)]
struct View<'a> {
    topology: &'a Topology,
    table: &'a Table,
}

/// A route, and its set as links of one of the topologies.
#[derive(Clone, Copy)]
struct Found<'a> {
    distance: u64,
    attached: bool,
    links: &'a [LinkIndex],
}

impl<'a> View<'a> {
    /// All destinations with their routes, each of the two kinds in byte order.
    fn routes(self) -> impl Iterator<Item = (&'a str, Found<'a>)> {
        let View { topology, table } = self;
        let forwarders = topology
            .forwarders()
            .iter()
            .zip(0..)
            .filter_map(move |(name, index)| {
                let (route, links) = table.to_forwarder(ForwarderIndex(index))?;
                Some((
                    name.as_str(),
                    Found {
                        distance: route.distance,
                        attached: false,
                        links,
                    },
                ))
            });
        let apps = topology
            .apps()
            .iter()
            .zip(0..)
            .filter_map(move |(app, index)| {
                let (route, links) = table.to_app(AppIndex(index))?;
                let (distance, attached) = (route.distance, route.attached);
                Some((
                    app.name.as_str(),
                    Found {
                        distance,
                        attached,
                        links,
                    },
                ))
            });
        forwarders.chain(apps)
    }

    fn entry(self, found: Found<'_>) -> Entry {
        let hop = |link: &LinkIndex| {
            let other = self.topology.links()[link.position()].other(self.table.from);
            let via = self.topology.forwarders()[other.position()].clone();
            Hop {
                via,
                link: self.topology.link_id(*link),
            }
        };
        let mut next_hops: Vec<Hop> = found.links.iter().map(hop).collect();
        next_hops.sort_unstable_by(|one, other| one.link.cmp(&other.link));
        Entry {
            distance: found.distance,
            attached: found.attached,
            next_hops,
        }
    }
}

fn difference(
    before: Option<View<'_>>,
    after: Option<View<'_>>,
    kept: &[Option<LinkIndex>],
) -> Difference {
    let mut difference = Difference::default();
    let mut old: BTreeMap<&str, Found<'_>> = before.into_iter().flat_map(View::routes).collect();
    for (name, found) in after.into_iter().flat_map(View::routes) {
        // Only a table can have routes.
        let entry = || after.map(|view| view.entry(found));
        match (old.remove(name), before) {
            (Some(gone), Some(_)) if is_same(gone, found, kept) => {}
            (Some(gone), Some(view)) => difference
                .changed
                .extend(entry().map(|entry| (String::from(name), (view.entry(gone), entry)))),
            _ => difference
                .added
                .extend(entry().map(|entry| (String::from(name), entry))),
        }
    }
    if let Some(view) = before {
        let removed = old
            .into_iter()
            .map(|(name, found)| (String::from(name), view.entry(found)));
        difference.removed.extend(removed);
    }
    difference
}

/// True when two routes are equal by names. Both sets ascend by names, so they match in order.
fn is_same(old: Found<'_>, new: Found<'_>, kept: &[Option<LinkIndex>]) -> bool {
    let moved = old.links.iter().map(|link| kept[link.position()]);
    old.distance == new.distance
        && old.attached == new.attached
        && moved.eq(new.links.iter().map(|link| Some(*link)))
}
