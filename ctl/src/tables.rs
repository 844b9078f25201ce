//! Tables of many Forwarders: computed on all cores, handed on in order, never all in memory.

use console::progress::Progress;
use rayon::prelude::*;
use topology::{Change, Epoch, ForwarderIndex, Graph, Spf, Table, Topology};

/// Most tables in memory at once.
const CHUNK: usize = 256;

/// Input of tables.
pub(crate) struct Computer<'a> {
    topology: &'a Topology,
    graph: Graph,
    max_paths: usize,
}

impl<'a> Computer<'a> {
    /// Lays out the graph.
    pub(crate) fn new(topology: &'a Topology, max_paths: usize) -> Self {
        let graph = Graph::new(topology);
        Self {
            topology,
            graph,
            max_paths,
        }
    }

    /// As [`Computer::new`], with these changes.
    pub(crate) fn with(topology: &'a Topology, max_paths: usize, changes: &[Change]) -> Self {
        let mut computer = Self::new(topology, max_paths);
        for change in changes {
            computer.graph.change(*change);
        }
        computer
    }

    /// Epoch of the graph that tables are computed from.
    pub(crate) fn epoch(&self) -> Epoch {
        self.graph.epoch()
    }

    /// Results of `make` for the table of each root, in the order of `roots`, on all cores.
    pub(crate) fn compute<T: Send>(
        &self,
        roots: &[ForwarderIndex],
        make: impl Fn(Table) -> T + Sync,
    ) -> Vec<T> {
        let one = |spf: &mut Option<Spf>, root: &ForwarderIndex| {
            let spf = match spf {
                Some(spf) => {
                    spf.recompute(&self.graph, *root);
                    spf
                }
                None => spf.insert(Spf::compute(&self.graph, *root)),
            };
            make(Table::new(self.topology, &self.graph, spf, self.max_paths))
        };
        roots.par_iter().map_init(|| None, one).collect()
    }

    /// As [`Computer::compute`], some at a time, each handed to `take`.
    ///
    /// # Errors
    /// The first error of `take`; nothing is computed after it.
    pub(crate) fn stream<T: Send, E>(
        &self,
        roots: &[ForwarderIndex],
        make: impl Fn(Table) -> T + Sync,
        mut take: impl FnMut(T) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut progress = Progress::new("computing tables", roots.len());
        for roots in roots.chunks(chunk(self.topology)) {
            self.compute(roots, &make)
                .into_iter()
                .try_for_each(&mut take)?;
            progress.advance(roots.len());
        }
        Ok(())
    }
}

/// Number of tables that are held at once: the larger the topology, the fewer.
pub(crate) fn chunk(topology: &Topology) -> usize {
    (CHUNK * 1000 / topology.forwarders().len().max(1)).clamp(8, CHUNK)
}

/// All Forwarders.
pub(crate) fn all_roots(topology: &Topology) -> Vec<ForwarderIndex> {
    (0..topology.forwarders().len() as u32)
        .map(ForwarderIndex)
        .collect()
}
