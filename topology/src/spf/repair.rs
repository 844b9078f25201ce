//! The incremental run, for edges that got heavier, lighter, lost or found in one batch.
//!
//! ```text
//! heads of changed edges -> lost support? -> new distances -> sets of all that hang on them
//!                          (old distance      (Dijkstra on     (new distance order,
//!                           order)             what is left)    stops where a set stays)
//! ```

use alloc::{vec, vec::Vec};

use super::{
    FAR,
    queue::{Heap, Queue},
    sets::Sets,
};
use crate::graph::{AppliedChange, Change, Graph};

/// Waits for, or has had, the test for support.
const TESTED: u8 = 1;
/// Has lost its old distance.
const LOST: u8 = 2;
/// Its distance was written; the one before is in `old`.
const MOVED: u8 = 4;
/// Waits for, or has had, its set computed.
const REGATHERED: u8 = 8;

/// Buffers of the repair; all flags are 0 between runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scratch {
    flags: Vec<u8>,
    old: Vec<u64>,
    /// All with a flag.
    flagged: Vec<u32>,
    lost: Vec<u32>,
    moved: Vec<u32>,
    /// Changed half edges.
    halves: Vec<u32>,
}

pub(crate) struct Repair<'a, S: Sets> {
    pub(crate) graph: &'a Graph,
    pub(crate) root: u32,
    pub(crate) distances: &'a mut [u64],
    pub(crate) queue: &'a mut Heap,
    pub(crate) scratch: &'a mut Scratch,
    pub(crate) sets: &'a mut S,
}

impl<S: Sets> Repair<'_, S> {
    /// Repairs distances and sets; `false` when it gave up and a full run is due.
    pub(crate) fn run(&mut self, changes: &[AppliedChange]) -> bool {
        self.begin(changes);
        let is_done = self
            .find_lost()
            .and_then(|()| self.settle())
            .and_then(|()| self.regather());
        for forwarder in self.scratch.flagged.drain(..) {
            self.scratch.flags[forwarder as usize] = 0;
        }
        is_done.is_some()
    }

    fn begin(&mut self, changes: &[AppliedChange]) {
        self.queue.reset();
        let scratch = &mut *self.scratch;
        if scratch.flags.len() != self.distances.len() {
            scratch.flags = vec![0; self.distances.len()];
            scratch.old = vec![FAR; self.distances.len()];
        }
        scratch.lost.clear();
        scratch.moved.clear();
        scratch.halves.clear();
        for AppliedChange(change) in changes {
            let (graph, halves) = (self.graph, &mut scratch.halves);
            let mut both = |half: usize| halves.extend([half as u32, graph.backs[half].twin]);
            match *change {
                Change::Link { link, .. } => both(graph.half_of(link)),
                Change::Forwarder { forwarder, .. } => graph.row(forwarder.0).for_each(both),
            }
        }
    }

    /// Sets a flag; true when it was not set before.
    fn flag(&mut self, forwarder: u32, flag: u8) -> bool {
        let flags = &mut self.scratch.flags[forwarder as usize];
        if *flags == 0 {
            self.scratch.flagged.push(forwarder);
        }
        let is_new = *flags & flag == 0;
        *flags |= flag;
        is_new
    }

    fn has(&self, forwarder: u32, flag: u8) -> bool {
        self.scratch.flags[forwarder as usize] & flag != 0
    }

    /// `None` once so much is touched that a full run is cheaper.
    fn go_on(&self) -> Option<()> {
        (self.scratch.flagged.len() <= self.distances.len() / 4 + 64).then_some(())
    }

    fn distance(&self, of: u32) -> u64 {
        self.distances[of as usize]
    }

    /// The distance before this run.
    fn old(&self, of: u32) -> u64 {
        if self.has(of, MOVED) {
            self.scratch.old[of as usize]
        } else {
            self.distance(of)
        }
    }

    fn set_distance(&mut self, of: u32, distance: u64) {
        if self.flag(of, MOVED) {
            self.scratch.old[of as usize] = self.distance(of);
            self.scratch.moved.push(of);
        }
        self.distances[of as usize] = distance;
    }

    /// Finds who has no edge left that upholds its distance. In the order of old distances,
    /// which settles everyone nearer first: an upholder is nearer, because weights are >= 1.
    fn find_lost(&mut self) -> Option<()> {
        for index in 0..self.scratch.halves.len() {
            let half = self.scratch.halves[index] as usize;
            self.test(self.graph.halves[half].to);
        }
        while let Some((distance, at)) = self.queue.pop() {
            self.go_on()?;
            if self.is_upheld(at, distance) {
                continue;
            }
            self.flag(at, LOST);
            self.scratch.lost.push(at);
            for half in &self.graph.halves[self.graph.row(at)] {
                let hangs = distance + u64::from(half.weight) <= self.distance(half.to);
                if half.weight != 0 && hangs {
                    self.test(half.to);
                }
            }
        }
        Some(())
    }

    fn test(&mut self, forwarder: u32) {
        let distance = self.distance(forwarder);
        if distance != FAR && forwarder != self.root && self.flag(forwarder, TESTED) {
            self.queue.push(distance, forwarder);
        }
    }

    fn is_upheld(&self, at: u32, distance: u64) -> bool {
        let row = self.graph.row(at);
        let mut edges = self.graph.halves[row.clone()]
            .iter()
            .zip(&self.graph.backs[row]);
        edges.any(|(half, back)| {
            let from = self.distance(half.to);
            back.weight != 0
                && from < distance
                && from + u64::from(back.weight) <= distance
                && !self.has(half.to, LOST)
        })
    }

    /// New distances: first for the lost from their neighbours, then over lighter edges, then
    /// onwards as Dijkstra does.
    fn settle(&mut self) -> Option<()> {
        for index in 0..self.scratch.lost.len() {
            self.set_distance(self.scratch.lost[index], FAR);
        }
        for index in 0..self.scratch.lost.len() {
            let at = self.scratch.lost[index];
            let best = self.best(at);
            if best != FAR {
                self.set_distance(at, best);
                self.queue.push(best, at);
            }
        }
        for index in 0..self.scratch.halves.len() {
            let half = self.scratch.halves[index] as usize;
            let from = self.graph.halves[self.graph.backs[half].twin as usize].to;
            self.shorten(from, half);
        }
        while let Some((distance, at)) = self.queue.pop() {
            self.go_on()?;
            if self.distance(at) == distance {
                self.graph.row(at).for_each(|half| self.shorten(at, half));
            }
        }
        Some(())
    }

    fn best(&self, at: u32) -> u64 {
        let row = self.graph.row(at);
        let edges = self.graph.halves[row.clone()]
            .iter()
            .zip(&self.graph.backs[row]);
        let usable = edges.filter(|(_, back)| back.weight != 0);
        let through = usable.map(|(half, back)| {
            self.distance(half.to)
                .saturating_add(u64::from(back.weight))
        });
        through.min().unwrap_or(FAR)
    }

    fn shorten(&mut self, from: u32, half: usize) {
        let half = self.graph.halves[half];
        let through = self.distance(from).saturating_add(u64::from(half.weight));
        if half.weight != 0 && through < self.distance(half.to) {
            self.set_distance(half.to, through);
            self.queue.push(through, half.to);
        }
    }

    /// New sets for the heads of changed edges, for who moved, for who hangs or hung on them,
    /// and for who hangs on a set that came out different.
    fn regather(&mut self) -> Option<()> {
        for index in 0..self.scratch.halves.len() {
            let half = self.scratch.halves[index] as usize;
            self.want(self.graph.halves[half].to);
        }
        for index in 0..self.scratch.moved.len() {
            let at = self.scratch.moved[index];
            self.want(at);
            let (old, new) = (self.old(at), self.distance(at));
            for half in &self.graph.halves[self.graph.row(at)] {
                let weight = u64::from(half.weight);
                let hung = old.saturating_add(weight) == self.old(half.to);
                let hangs = new.saturating_add(weight) == self.distance(half.to);
                if half.weight != 0 && (hung || hangs) {
                    self.want(half.to);
                }
            }
        }
        while let Some((distance, at)) = self.queue.pop() {
            self.go_on()?;
            self.gather(at, distance);
            if self.sets.store(at) {
                for half in &self.graph.halves[self.graph.row(at)] {
                    let hangs = distance + u64::from(half.weight) == self.distance(half.to);
                    if half.weight != 0 && hangs {
                        self.want(half.to);
                    }
                }
            }
        }
        Some(())
    }

    fn want(&mut self, forwarder: u32) {
        if forwarder == self.root || !self.flag(forwarder, REGATHERED) {
            return;
        }
        match self.distance(forwarder) {
            FAR => self.sets.clear(forwarder),
            distance => self.queue.push(distance, forwarder),
        }
    }

    /// The union over all last edges.
    fn gather(&mut self, at: u32, distance: u64) {
        let row = self.graph.row(at);
        let first = self.graph.row(self.root).start;
        for (half, back) in self.graph.halves[row.clone()]
            .iter()
            .zip(&self.graph.backs[row])
        {
            let through = self
                .distance(half.to)
                .saturating_add(u64::from(back.weight));
            if back.weight == 0 || through != distance {
                continue;
            }
            let value = match half.to == self.root {
                true => S::single(back.twin as usize - first),
                false => self.sets.value(half.to),
            };
            self.sets.gather(value);
        }
    }
}
