//! Shortest paths from one root, with the next hops of all of them.
//!
//! Distances are those of Dijkstra 1959, with the buckets of Dial 1969 while weights are small.
//! Next hops ride along. When `u` is popped, its own set is final, because every weight is >= 1
//! and all predecessors were popped before; so
//!
//! ```text
//! edge u -> v is shorter:  next(v)  = next(u)       (u the root: this very link)
//! edge u -> v ties:        next(v) += next(u)
//! ```
//! One pass, never a path enumerated: a 30 x 30 grid has more shortest paths than could be
//! listed, and 900 sets.

mod flat;
mod queue;
mod repair;
mod sets;

use alloc::vec::Vec;

use crate::{
    graph::{AppliedChange, BUCKETED, Graph},
    model::{ForwarderIndex, LinkIndex},
};
use flat::Flat;
use queue::{Buckets, Heap, Queue};
use repair::{Repair, Scratch};
use sets::{Members, Narrow, Sets, Wide};

/// The distance of what cannot be reached. No path is as long: 2^32 edges of 2^32 - 1 at most.
const FAR: u64 = u64::MAX;

/// Distances and next hops from one root; its buffers are kept from run to run.
///
/// It holds MWT(root), as distances, and SPT-ECMP(root), as [`Spf::predecessors`].
///
/// # Guarantees
/// The answers depend only on the state of the graph, not on the way to it: full, repeated and
/// incremental runs give the same.
#[derive(Clone, Debug)]
pub struct Spf {
    root: ForwarderIndex,
    /// Version of the graph that the labels belong to.
    version: u64,
    /// Links out of the root in order: what the bits of the sets mean.
    root_links: Vec<u32>,
    distances: Vec<u64>,
    is_wide: bool,
    narrow: Narrow,
    wide: Wide,
    flat: Flat,
    buckets: Buckets,
    heap: Heap,
    scratch: Scratch,
}

impl Spf {
    /// Computes distances and next hops from `root`.
    ///
    /// Work: edges + Forwarders + the largest distance, by buckets; with a factor of
    /// log(Forwarders) where a weight is above 1023.
    ///
    /// # Panics
    /// When `root` is not of this graph.
    pub fn compute(graph: &Graph, root: ForwarderIndex) -> Spf {
        let mut spf = Spf {
            root,
            version: 0,
            root_links: Vec::new(),
            distances: Vec::new(),
            is_wide: false,
            narrow: Narrow::default(),
            wide: Wide::default(),
            flat: Flat::default(),
            buckets: Buckets::default(),
            heap: Heap::default(),
            scratch: Scratch::default(),
        };
        spf.recompute(graph, root);
        spf
    }

    /// Recomputes in the same buffers, also for another root or graph: no allocation once
    /// they have grown.
    ///
    /// # Panics
    /// When `root` is not of this graph.
    pub fn recompute(&mut self, graph: &Graph, root: ForwarderIndex) {
        let row = graph.row(root.0);
        self.root = root;
        self.version = graph.version();
        self.is_wide = row.len() > 64;
        self.root_links.clear();
        self.root_links
            .extend(graph.backs[row].iter().map(|back| back.link));
        self.distances.clear();
        self.distances.resize(graph.forwarder_count(), FAR);
        if self.is_wide {
            self.wide.reset(self.distances.len(), self.root_links.len());
        } else {
            self.narrow
                .reset(self.distances.len(), self.root_links.len());
        }
        if !graph.is_forwarder_up(root) {
            return;
        }
        let is_bucketed = graph.max_weight() <= BUCKETED;
        if is_bucketed && !self.is_wide {
            self.flat.settle(graph, root.0);
            let labels = &self.flat.labels;
            self.distances.clear();
            self.distances
                .extend(labels.iter().map(|label| label.distance));
            self.narrow.load(labels.iter().map(|label| label.mask));
            return;
        }
        let distances = &mut self.distances[..];
        self.heap.reset();
        if is_bucketed {
            self.buckets.reset(graph.max_weight());
            settle(graph, root.0, distances, &mut self.buckets, &mut self.wide);
        } else if self.is_wide {
            settle(graph, root.0, distances, &mut self.heap, &mut self.wide);
        } else {
            settle(graph, root.0, distances, &mut self.heap, &mut self.narrow);
        }
    }

    /// Follows changes of the graph: exactly what [`Spf::recompute`] would give.
    ///
    /// `changes` are all that the graph made since this was last up to date, in one batch or
    /// several. Work: what changes and its surroundings; when that is more than a quarter of
    /// the graph, or changes are missing, a full run. After Ramalingam & Reps 1996, who repair
    /// distances; the repair of next-hop sets in order of distance is ours.
    ///
    /// # Assumptions
    /// `graph` is the one of the last run, or a clone that went on from it.
    pub fn update(&mut self, graph: &Graph, changes: &[AppliedChange]) {
        let is_complete = self.version + changes.len() as u64 == graph.version()
            && self.distances.len() == graph.forwarder_count();
        let was_up = self.distances.get(self.root.position()) == Some(&0);
        let is_up = graph.is_forwarder_up(self.root);
        if !(is_complete && is_up && was_up && self.repair(graph, changes)) {
            self.recompute(graph, self.root);
        }
        self.version = graph.version();
    }

    fn repair(&mut self, graph: &Graph, changes: &[AppliedChange]) -> bool {
        let (root, distances) = (self.root.0, &mut self.distances[..]);
        let (queue, scratch) = (&mut self.heap, &mut self.scratch);
        if self.is_wide {
            let sets = &mut self.wide;
            Repair {
                graph,
                root,
                distances,
                queue,
                scratch,
                sets,
            }
            .run(changes)
        } else {
            let sets = &mut self.narrow;
            Repair {
                graph,
                root,
                distances,
                queue,
                scratch,
                sets,
            }
            .run(changes)
        }
    }

    /// Root of the shortest-path tree.
    pub fn root(&self) -> ForwarderIndex {
        self.root
    }

    /// The weight of a shortest path, 0 to the root itself; `None` when there is none, and when
    /// the root is down.
    pub fn distance(&self, to: ForwarderIndex) -> Option<u64> {
        self.distances
            .get(to.position())
            .copied()
            .filter(|distance| *distance != FAR)
    }

    /// First links out of the root on any shortest path, ascending; none for the root itself
    /// and for what cannot be reached.
    pub fn next_hops(&self, to: ForwarderIndex) -> impl Iterator<Item = LinkIndex> + Clone + '_ {
        self.members(to)
            .map(|position| LinkIndex(self.root_links[position as usize]))
    }

    /// All last edges of shortest paths to `to` in the order of links: the Forwarder before it,
    /// and the link between. Together these are SPT-ECMP(root), a DAG.
    ///
    /// # Assumptions
    /// This is up to date with `graph`.
    pub fn predecessors<'a>(
        &'a self,
        graph: &'a Graph,
        to: ForwarderIndex,
    ) -> impl Iterator<Item = (ForwarderIndex, LinkIndex)> + 'a {
        let distance = self.distance(to);
        graph.row(to.0).filter_map(move |half| {
            let (from, back) = (ForwarderIndex(graph.halves[half].to), graph.backs[half]);
            let through = self.distance(from)? + u64::from(back.weight);
            (back.weight != 0 && Some(through) == distance).then_some((from, LinkIndex(back.link)))
        })
    }

    /// Equal keys mean equal sets, within one run.
    pub(crate) fn set_key(&self, to: ForwarderIndex) -> u64 {
        if self.is_wide {
            self.wide.key(to.0)
        } else {
            self.narrow.key(to.0)
        }
    }

    fn members(&self, to: ForwarderIndex) -> Members<'_> {
        if to == self.root || self.distance(to).is_none() {
            Members::default()
        } else if self.is_wide {
            self.wide.members(to.0)
        } else {
            self.narrow.members(to.0)
        }
    }
}

/// One full run. `distances` are [`FAR`] and the queue and the sets empty at the start.
fn settle<Q: Queue, S: Sets>(
    graph: &Graph,
    root: u32,
    distances: &mut [u64],
    queue: &mut Q,
    sets: &mut S,
) {
    distances[root as usize] = 0;
    for (position, half) in graph.halves[graph.row(root)].iter().enumerate() {
        relax(
            distances,
            queue,
            sets,
            (half.to, half.weight),
            0,
            S::single(position),
        );
    }
    while let Some((distance, from)) = queue.pop() {
        if distances[from as usize] != distance {
            continue;
        }
        let value = sets.value(from);
        for half in &graph.halves[graph.row(from)] {
            relax(
                distances,
                queue,
                sets,
                (half.to, half.weight),
                distance,
                value,
            );
        }
    }
}

#[inline(always)]
fn relax<Q: Queue, S: Sets>(
    distances: &mut [u64],
    queue: &mut Q,
    sets: &mut S,
    (to, weight): (u32, u32),
    distance: u64,
    value: S::Value,
) {
    let through = distance + u64::from(weight);
    let known = &mut distances[to as usize];
    if weight == 0 || through > *known {
        return;
    }
    if through < *known {
        *known = through;
        sets.put(to, value);
        queue.push(through, to);
    } else {
        sets.merge(to, value);
    }
}
