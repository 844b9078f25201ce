//! The graph as flat arrays (compressed sparse rows), whose links and Forwarders come and go.
//!
//! ```text
//! rows    0     2        5     7        the half edges of Forwarder v: rows[v]..rows[v+1]
//! halves  [ . . | . . . | . . | ...     (to, weight), by link index; weight 0 is down
//! backs   [ . . | . . . | . . | ...     the same half edge seen from its head
//! ```
//! A link is two half edges. A link or Forwarder that is down keeps its place with weight 0, so
//! a change writes a few words, and nothing moves.

use alloc::{vec, vec::Vec};
use core::ops::Range;

use crate::{
    epoch::{self, Epoch},
    model::{ForwarderIndex, LinkIndex, Topology},
};

/// The largest weight that the bucket queue takes; above it a binary heap does the work.
pub(crate) const BUCKETED: u32 = 1023;

/// Entry of an outgoing scan: 8 bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Half {
    pub(crate) to: u32,
    /// 0 while the link or one of its ends is down.
    pub(crate) weight: u32,
}

/// The rest of a half edge: what an incoming scan reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Back {
    /// Position of the half edge of the other direction.
    pub(crate) twin: u32,
    /// Its weight.
    pub(crate) weight: u32,
    pub(crate) link: u32,
}

#[derive(Clone, Copy, Debug)]
struct LinkState {
    /// The half edge out of the first end; its twin is the one out of the second.
    half: u32,
    /// As declared or last changed; kept while down.
    weights: (u32, u32),
    is_up: bool,
    identity: u64,
}

#[derive(Clone, Copy, Debug)]
struct ForwarderState {
    is_up: bool,
    /// Digest of the Forwarder and of the attachments to it.
    digest: u64,
}

/// Change of a live topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A link comes up, goes down, or changes its weights.
    Link {
        /// Index of the link.
        link: LinkIndex,
        /// From the first end to the second and back, each >= 1; `None` is down.
        weights: Option<(u32, u32)>,
    },
    /// A Forwarder is lost with its links and attachments, or is back.
    Forwarder {
        /// Index of the Forwarder.
        forwarder: ForwarderIndex,
        /// True when it is up again.
        up: bool,
    },
}

/// A change that a [`Graph`] has made, for [`crate::Spf::update`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppliedChange(pub(crate) Change);

/// The live global topology, laid out for speed.
///
/// # Guarantees
/// Everything read from it depends on its present state only, not on how it came about.
#[derive(Clone, Debug)]
pub struct Graph {
    rows: Vec<u32>,
    pub(crate) halves: Vec<Half>,
    pub(crate) backs: Vec<Back>,
    links: Vec<LinkState>,
    forwarders: Vec<ForwarderState>,
    /// No live half edge weighs more.
    max_weight: u32,
    /// Number of changes so far.
    version: u64,
    sum: epoch::Sum,
}

impl Graph {
    /// Lays out a topology, everything up.
    pub fn new(topology: &Topology) -> Graph {
        let links = topology.links();
        let mut rows = vec![0_u32; topology.forwarders().len() + 1];
        for link in links {
            rows[link.a.position() + 1] += 1;
            rows[link.b.position() + 1] += 1;
        }
        for row in 1..rows.len() {
            rows[row] += rows[row - 1];
        }
        let mut next = rows.clone();
        let mut place = |at: ForwarderIndex| {
            let half = next[at.position()];
            next[at.position()] += 1;
            half
        };
        let mut halves = vec![Half { to: 0, weight: 0 }; 2 * links.len()];
        let mut backs = vec![
            Back {
                twin: 0,
                weight: 0,
                link: 0
            };
            2 * links.len()
        ];
        let names: Vec<u64> = topology
            .forwarders()
            .iter()
            .map(|name| epoch::name(name))
            .collect();
        let mut states = Vec::with_capacity(links.len());
        for (link, index) in links.iter().zip(0..) {
            let (out, back) = (place(link.a), place(link.b));
            let (weight, weight_back) = (link.weight, link.weight_back);
            halves[out as usize] = Half {
                to: link.b.0,
                weight,
            };
            halves[back as usize] = Half {
                to: link.a.0,
                weight: weight_back,
            };
            backs[out as usize] = Back {
                twin: back,
                weight: weight_back,
                link: index,
            };
            backs[back as usize] = Back {
                twin: out,
                weight,
                link: index,
            };
            let (a, b) = (names[link.a.position()], names[link.b.position()]);
            let identity = epoch::link_identity(a, b, link.ordinal);
            let weights = (weight, weight_back);
            states.push(LinkState {
                half: out,
                weights,
                is_up: true,
                identity,
            });
        }
        let mut graph = Graph {
            rows,
            halves,
            backs,
            links: states,
            forwarders: Vec::new(),
            max_weight: 0,
            version: 0,
            sum: epoch::Sum::default(),
        };
        graph.add_digests(topology, &names);
        graph.max_weight = graph.heaviest();
        graph
    }

    fn add_digests(&mut self, topology: &Topology, names: &[u64]) {
        let up = |name: &u64| ForwarderState {
            is_up: true,
            digest: epoch::forwarder(*name),
        };
        self.forwarders = names.iter().map(up).collect();
        for app in topology.apps() {
            let name = epoch::name(&app.name);
            self.sum.add(epoch::app(name));
            for (at, weight) in &app.attachments {
                let digest = epoch::attachment(name, names[at.position()], *weight);
                let state = &mut self.forwarders[at.position()];
                state.digest = state.digest.wrapping_add(digest);
            }
        }
        self.forwarders
            .iter()
            .for_each(|state| self.sum.add(state.digest));
        self.links
            .iter()
            .for_each(|link| self.sum.add(epoch::link(link.identity, link.weights)));
    }

    /// Number of Forwarders, up or down.
    pub fn forwarder_count(&self) -> usize {
        self.forwarders.len()
    }

    /// Number of links, up or down.
    pub fn link_count(&self) -> usize {
        self.links.len()
    }

    /// True when a link is usable: it and both its ends are up.
    pub fn is_up(&self, link: LinkIndex) -> bool {
        self.weights(link).is_some()
    }

    /// True when a Forwarder is up.
    pub fn is_forwarder_up(&self, forwarder: ForwarderIndex) -> bool {
        self.forwarders[forwarder.position()].is_up
    }

    /// The weights of a link from its first end to its second and back; `None` while not up.
    pub fn weights(&self, link: LinkIndex) -> Option<(u32, u32)> {
        let half = self.links[link.position()].half as usize;
        let weights = (self.halves[half].weight, self.backs[half].weight);
        (weights.0 != 0).then_some(weights)
    }

    /// Digest of the Forwarders, links and attachments that are up: equal to the epoch of
    /// [`Topology::without`] the parts that are down. Costs nothing.
    pub fn epoch(&self) -> Epoch {
        self.sum.epoch()
    }

    /// Makes a change. Work: two words for a link, the degree for a Forwarder.
    ///
    /// A weight of 0 counts as 1: weights are >= 1 by the rules of the graph.
    ///
    /// # Panics
    /// When the index is not of this graph.
    pub fn change(&mut self, change: Change) -> AppliedChange {
        self.version += 1;
        match change {
            Change::Link { link, weights } => self.change_link(link, weights),
            Change::Forwarder { forwarder, up } => self.change_forwarder(forwarder, up),
        }
        AppliedChange(change)
    }

    fn change_link(&mut self, link: LinkIndex, weights: Option<(u32, u32)>) {
        self.count(link, epoch::Sum::remove);
        let state = &mut self.links[link.position()];
        state.is_up = weights.is_some();
        if let Some((out, back)) = weights {
            state.weights = (out.max(1), back.max(1));
        }
        self.count(link, epoch::Sum::add);
        self.lay(link);
    }

    fn change_forwarder(&mut self, forwarder: ForwarderIndex, up: bool) {
        if self.forwarders[forwarder.position()].is_up == up {
            return;
        }
        let row = self.row(forwarder.0);
        for half in row.clone() {
            self.count(LinkIndex(self.backs[half].link), epoch::Sum::remove);
        }
        let state = &mut self.forwarders[forwarder.position()];
        state.is_up = up;
        if up {
            self.sum.add(state.digest);
        } else {
            self.sum.remove(state.digest);
        }
        for half in row {
            let link = LinkIndex(self.backs[half].link);
            self.count(link, epoch::Sum::add);
            self.lay(link);
        }
    }

    /// Adds a link to the digest, or takes it out, if it is in use.
    fn count(&mut self, link: LinkIndex, operation: fn(&mut epoch::Sum, u64)) {
        let state = self.links[link.position()];
        if self.is_usable(state) {
            operation(&mut self.sum, epoch::link(state.identity, state.weights));
        }
    }

    fn is_usable(&self, state: LinkState) -> bool {
        let half = state.half as usize;
        let tail = self.halves[self.backs[half].twin as usize].to;
        let head = self.halves[half].to;
        let is_up = |end: u32| self.forwarders[end as usize].is_up;
        state.is_up && is_up(tail) && is_up(head)
    }

    /// Writes the state of a link into its two half edges.
    fn lay(&mut self, link: LinkIndex) {
        let state = self.links[link.position()];
        let (out, back) = if self.is_usable(state) {
            state.weights
        } else {
            (0, 0)
        };
        let half = state.half as usize;
        let twin = self.backs[half].twin as usize;
        let before = self.halves[half].weight.max(self.halves[twin].weight);
        self.halves[half].weight = out;
        self.backs[half].weight = back;
        self.halves[twin].weight = back;
        self.backs[twin].weight = out;
        if out.max(back) >= before {
            self.max_weight = self.max_weight.max(out).max(back);
        } else if before == self.max_weight && before > BUCKETED {
            // Only here does the bound matter: it keeps the bucket queue away.
            self.max_weight = self.heaviest();
        }
    }

    fn heaviest(&self) -> u32 {
        self.halves
            .iter()
            .map(|half| half.weight)
            .max()
            .unwrap_or(0)
    }

    pub(crate) fn max_weight(&self) -> u32 {
        self.max_weight
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Positions of the half edges out of a Forwarder.
    pub(crate) fn row(&self, forwarder: u32) -> Range<usize> {
        let at = forwarder as usize;
        self.rows[at] as usize..self.rows[at + 1] as usize
    }

    /// The half edge of a link out of its first end.
    pub(crate) fn half_of(&self, link: LinkIndex) -> usize {
        self.links[link.position()].half as usize
    }
}
