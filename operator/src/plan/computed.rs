//! The graph of a topology and the tables of all its Forwarders.

use std::{collections::BTreeMap, sync::Arc};

use crds::{Forwarder, Problem};
use topology::{Epoch, ForwarderIndex, Graph, Spf, Table, Topology};

/// The graph of a declaration on these nodes with these pods: shared with REST and metrics.
///
/// It is kept for each topology, so it has no Forwarder objects, and tables as digests only: all tables of 1,000
/// Forwarders would be a million routes. [`Computed::table`] makes any of them in the time of one shortest-path run.
#[derive(Clone, Debug)]
pub struct Computed {
    /// The node of each Forwarder, in the order of `graph.forwarders()`; empty until it has one.
    pub nodes: Vec<String>,
    /// The global topology with all links up.
    pub graph: Topology,
    /// Its epoch.
    pub epoch: Epoch,
    /// Digest of the table of each Forwarder, in the order of `graph.forwarders()`.
    pub digests: Arc<Vec<Epoch>>,
    /// Digest of all tables.
    pub digest: Epoch,
    /// Most next hops of one route.
    pub max_paths: usize,
}

/// Earlier result for one topology: shortest paths are reused while its graph stays.
#[derive(Clone, Debug, Default)]
pub struct Memo {
    /// Digests of all tables while every link is up, of this epoch and limit of paths.
    tables: Option<(Epoch, usize, Arc<Vec<Epoch>>)>,
    /// Digests of those tables that were asked for, of this epoch of a graph with links down.
    pub(super) live: Option<(Epoch, usize, BTreeMap<u32, Epoch>)>,
}

impl Computed {
    /// Computes the tables of these Forwarders, which are sorted by name.
    ///
    /// # Errors
    /// When they are no graph.
    pub fn new(forwarders: &[Forwarder], memo: &mut Memo) -> Result<Computed, Problem> {
        let graph = crds::topology_of(forwarders)
            .map_err(|error| Problem::new("spec", error.to_string()))?;
        let max_paths = forwarders
            .first()
            .map_or(1, |forwarder| forwarder.spec.routing.max_paths as usize);
        let live = Graph::new(&graph);
        let epoch = live.epoch();
        let digests = match &memo.tables {
            Some((known, paths, digests)) if (*known, *paths) == (epoch, max_paths) => {
                Arc::clone(digests)
            }
            _ => Arc::new(digests(&graph, &live, max_paths)),
        };
        memo.tables = Some((epoch, max_paths, Arc::clone(&digests)));
        Ok(Computed {
            digest: topology::table::digest_of_all(&graph, &digests),
            nodes: forwarders.iter().map(|it| it.spec.node.clone()).collect(),
            graph,
            epoch,
            digests,
            max_paths,
        })
    }

    /// The table of one Forwarder while every link is up.
    ///
    /// # Panics
    /// When the index is not of `graph`.
    pub fn table(&self, from: ForwarderIndex) -> Table {
        let live = Graph::new(&self.graph);
        let spf = Spf::compute(&live, from);
        Table::new(&self.graph, &live, &spf, self.max_paths)
    }

    /// Epoch and digest of one Forwarder's table while every link is up, as its status has them.
    ///
    /// # Panics
    /// When the index is not of `graph`.
    pub fn of(&self, from: ForwarderIndex) -> crds::forwarder::Computed {
        crds::forwarder::Computed {
            epoch: self.epoch.to_string(),
            digest: self.digests[from.position()].to_string(),
        }
    }
}

/// One run after the other in the same buffers.
fn digests(graph: &Topology, live: &Graph, max_paths: usize) -> Vec<Epoch> {
    let mut spf: Option<Spf> = None;
    let digest = |from: u32| {
        let from = ForwarderIndex(from);
        match &mut spf {
            Some(spf) => spf.recompute(live, from),
            None => spf = Some(Spf::compute(live, from)),
        }
        let spf = spf.as_ref().expect("computed above");
        Table::new(graph, live, spf, max_paths).digest()
    };
    (0..live.forwarder_count() as u32).map(digest).collect()
}
