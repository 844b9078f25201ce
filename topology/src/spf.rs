//! Shortest paths from one root, with the next hops of all of them.

use alloc::{vec, vec::Vec};

use crate::{
    graph::{AppliedChange, Graph},
    model::{ForwarderIndex, LinkIndex},
};

/// The largest weight that the bucket queue takes; above it a binary heap does the work.
pub(crate) const BUCKETED: u32 = 1023;

/// Distances and next hops from one root; its buffers are kept from run to run.
#[derive(Clone, Debug)]
pub struct Spf {
    root: ForwarderIndex,
    distances: Vec<u64>,
}

impl Spf {
    /// Computes distances and next hops from `root`.
    pub fn compute(graph: &Graph, root: ForwarderIndex) -> Spf {
        let mut spf = Spf {
            root,
            distances: vec![],
        };
        spf.recompute(graph, root);
        spf
    }

    /// Computes anew in the same buffers: no allocation once they have grown.
    pub fn recompute(&mut self, graph: &Graph, root: ForwarderIndex) {
        let _ = graph;
        self.root = root;
    }

    /// Follows changes of the graph: exactly what [`Spf::recompute`] would give.
    pub fn update(&mut self, graph: &Graph, changes: &[AppliedChange]) {
        let _ = changes;
        self.recompute(graph, self.root);
    }

    /// Where all paths start.
    pub fn root(&self) -> ForwarderIndex {
        self.root
    }

    /// The weight of a shortest path; `None` when there is none.
    pub fn distance(&self, to: ForwarderIndex) -> Option<u64> {
        self.distances.get(to.position()).copied()
    }

    /// First links out of the root on any shortest path, ascending; none for the root itself.
    pub fn next_hops(&self, to: ForwarderIndex) -> impl Iterator<Item = LinkIndex> + '_ {
        let _ = to;
        core::iter::empty()
    }

    /// All last edges of shortest paths to `to`: where they come from, over which link.
    pub fn predecessors<'a>(
        &'a self,
        graph: &'a Graph,
        to: ForwarderIndex,
    ) -> impl Iterator<Item = (ForwarderIndex, LinkIndex)> + 'a {
        let _ = (graph, to);
        core::iter::empty()
    }
}
