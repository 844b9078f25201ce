//! The forwarding table of one Forwarder.

use alloc::{collections::BTreeMap, vec::Vec};

use crate::{
    epoch::{self, Epoch},
    graph::Graph,
    model::{App, AppIndex, ForwarderIndex, LinkIndex, Topology},
    spf::Spf,
};

/// Route to a Forwarder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Weight of the shortest path.
    pub distance: u64,
    /// Position in [`Table::sets`].
    pub set: u32,
}

/// Route to an App.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppRoute {
    /// Weight of the shortest path, attachment included.
    pub distance: u64,
    /// True when a nearest attachment is on the Forwarder itself; then the set is the empty one.
    pub attached: bool,
    /// Position in [`Table::sets`].
    pub set: u32,
}

/// All routes of one Forwarder in one epoch.
///
/// Next hops of equal cost make a set, over which the kernel spreads flows by hash
/// (RFC 2991, RFC 2992). There are far fewer sets than destinations, so each is kept once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Owner of the table.
    pub from: ForwarderIndex,
    /// The global topology that it was computed from.
    pub epoch: Epoch,
    /// No set has more links.
    pub max_paths: usize,
    /// Distinct next-hop sets, each ascending, in order of first use: by Forwarders, then Apps.
    pub sets: Vec<Vec<LinkIndex>>,
    /// By [`ForwarderIndex`]; `None` for `from` itself and for what cannot be reached.
    pub forwarders: Vec<Option<Route>>,
    /// By [`AppIndex`]; `None` for what cannot be reached.
    pub apps: Vec<Option<AppRoute>>,
}

impl Table {
    /// Makes the table of the root of `spf`.
    ///
    /// Of a set of more than `max_paths` links (0 counts as 1) the first ones in order of links
    /// are kept. That is done here and not on the way, so a limit on one Forwarder does not hide
    /// paths from the next, and any subset of next hops on shortest paths is free of loops.
    ///
    /// # Assumptions
    /// `graph` is of `topology`, and `spf` is up to date with `graph`.
    pub fn new(topology: &Topology, graph: &Graph, spf: &Spf, max_paths: usize) -> Table {
        let mut sets = Interned::new(spf, max_paths.max(1));
        let reached = (0..topology.forwarders().len() as u32)
            .map(ForwarderIndex)
            .map(|to| {
                let distance = spf.distance(to).filter(|_| to != spf.root())?;
                Some(Route {
                    distance,
                    set: sets.of_forwarder(to),
                })
            });
        let forwarders = reached.collect();
        let apps = topology
            .apps()
            .iter()
            .map(|app| app_route(app, spf, &mut sets))
            .collect();
        Table {
            from: spf.root(),
            epoch: graph.epoch(),
            max_paths: max_paths.max(1),
            sets: sets.sets,
            forwarders,
            apps,
        }
    }

    /// The route to a Forwarder and its next hops.
    pub fn to_forwarder(&self, to: ForwarderIndex) -> Option<(Route, &[LinkIndex])> {
        let route = self.forwarders[to.position()]?;
        Some((route, &self.sets[route.set as usize]))
    }

    /// The route to an App and its next hops; none when it is attached here.
    pub fn to_app(&self, to: AppIndex) -> Option<(AppRoute, &[LinkIndex])> {
        let route = self.apps[to.position()]?;
        Some((route, &self.sets[route.set as usize]))
    }

    /// Digest of the routes (not of the epoch): equal tables of one topology have equal ones.
    pub fn digest(&self) -> Epoch {
        let mut hasher = blake3::Hasher::new();
        let mut write = |word: u64| {
            hasher.update(&word.to_le_bytes());
        };
        write(u64::from(self.from.0));
        write(self.sets.len() as u64);
        for set in &self.sets {
            write(set.len() as u64);
            set.iter().for_each(|link| write(u64::from(link.0)));
        }
        write(self.forwarders.len() as u64);
        for route in &self.forwarders {
            // A distance of 0 occurs in no route.
            let (distance, set) = route.map_or((0, 0), |route| (route.distance, route.set));
            write(distance);
            write(u64::from(set));
        }
        write(self.apps.len() as u64);
        for route in &self.apps {
            let (distance, set) = route.map_or((0, 0), |route| (route.distance, route.set));
            write(distance);
            write(u64::from(set));
        }
        Epoch(epoch::first_word(hasher.finalize()))
    }
}

/// Digest of the tables of all Forwarders of `topology`, from their digests in canonical order.
pub fn digest_of_all(topology: &Topology, digests: &[Epoch]) -> Epoch {
    let mut hasher = blake3::Hasher::new();
    for (name, digest) in topology.forwarders().iter().zip(digests) {
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
        hasher.update(&digest.0.to_le_bytes());
    }
    Epoch(epoch::first_word(hasher.finalize()))
}

/// An App is no vertex of the graph: it is as far as its nearest attachments, and reached
/// through the next hops of all of these. So it never transits.
fn app_route(app: &App, spf: &Spf, sets: &mut Interned<'_>) -> Option<AppRoute> {
    let through =
        |(at, weight): &(ForwarderIndex, u32)| Some((spf.distance(*at)? + u64::from(*weight), *at));
    let reached = || app.attachments.iter().filter_map(through);
    let distance = reached().map(|(distance, _)| distance).min()?;
    let nearest = || {
        reached()
            .filter(|(other, _)| *other == distance)
            .map(|(_, at)| at)
    };
    let attached = nearest().any(|at| at == spf.root());
    let set = match (attached, nearest().nth(1)) {
        (true, _) => sets.of_links(Vec::new()),
        (false, None) => sets.of_forwarder(nearest().next()?),
        (false, Some(_)) => {
            let mut links: Vec<LinkIndex> = nearest().flat_map(|at| spf.next_hops(at)).collect();
            links.sort_unstable();
            links.dedup();
            sets.of_links(links)
        }
    };
    Some(AppRoute {
        distance,
        attached,
        set,
    })
}

/// Numbers next-hop sets in order of first use.
struct Interned<'a> {
    spf: &'a Spf,
    max_paths: usize,
    sets: Vec<Vec<LinkIndex>>,
    by_links: BTreeMap<Vec<LinkIndex>, u32>,
    /// Spares looking at the links when the computation shares the set.
    by_key: BTreeMap<u64, u32>,
}

impl<'a> Interned<'a> {
    fn new(spf: &'a Spf, max_paths: usize) -> Interned<'a> {
        let (by_links, by_key) = (BTreeMap::new(), BTreeMap::new());
        Interned {
            spf,
            max_paths,
            sets: Vec::new(),
            by_links,
            by_key,
        }
    }

    fn of_forwarder(&mut self, to: ForwarderIndex) -> u32 {
        let key = self.spf.set_key(to);
        if let Some(set) = self.by_key.get(&key) {
            return *set;
        }
        let set = self.of_links(self.spf.next_hops(to).take(self.max_paths).collect());
        self.by_key.insert(key, set);
        set
    }

    fn of_links(&mut self, mut links: Vec<LinkIndex>) -> u32 {
        links.truncate(self.max_paths);
        if let Some(set) = self.by_links.get(&links) {
            return *set;
        }
        let set = self.sets.len() as u32;
        self.sets.push(links.clone());
        self.by_links.insert(links, set);
        set
    }
}
