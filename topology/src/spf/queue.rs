//! Queues of Forwarders by tentative distance. Entries are never moved: a Forwarder that gets
//! nearer is pushed again, and its older entry is recognised as stale when popped.

use alloc::{collections::BinaryHeap, vec::Vec};
use core::cmp::Reverse;

/// Monotone priority queue: a pushed entry is never nearer than the last popped one.
pub(crate) trait Queue {
    fn push(&mut self, distance: u64, forwarder: u32);
    fn pop(&mut self) -> Option<(u64, u32)>;
}

/// The bucket queue of Dial 1969 (algorithm 360): one bucket for each distance that can be
/// pending, reused in a circle, with a bit for each that is not empty.
///
/// # Assumptions
/// Between [`Buckets::reset`]s all pending distances are less than the circle apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buckets {
    buckets: Vec<Vec<u32>>,
    occupied: Vec<u64>,
    now: u64,
}

impl Buckets {
    /// Empties the queue and makes it wide enough for edges of at most `max_weight`.
    pub(crate) fn reset(&mut self, max_weight: u32) {
        let circle = circle(max_weight);
        self.buckets.iter_mut().for_each(Vec::clear);
        self.buckets.resize_with(circle, Vec::new);
        self.occupied.clear();
        self.occupied.resize(circle / 64, 0);
        self.now = 0;
    }

    fn slot(&self, distance: u64) -> usize {
        // The circle is a power of two, and only the low bits matter.
        distance as usize & (self.buckets.len() - 1)
    }
}

/// Number of buckets that hold all pending distances: a power of two, in whole words.
pub(crate) fn circle(max_weight: u32) -> usize {
    (max_weight as usize + 1).next_power_of_two().max(64)
}

/// Distance from `slot` to the next bucket with entries, around the circle.
#[inline]
pub(crate) fn steps(occupied: &[u64], slot: usize) -> Option<u64> {
    let words = occupied.len();
    let (word, bit) = (slot / 64, slot % 64);
    let here = occupied[word] >> bit;
    if here != 0 {
        return Some(u64::from(here.trailing_zeros()));
    }
    let mut steps = 64 - bit as u64;
    for next in 1..=words {
        let found = occupied[(word + next) & (words - 1)];
        if found != 0 {
            return Some(steps + u64::from(found.trailing_zeros()));
        }
        steps += 64;
    }
    None
}

impl Queue for Buckets {
    #[inline]
    fn push(&mut self, distance: u64, forwarder: u32) {
        let slot = self.slot(distance);
        self.buckets[slot].push(forwarder);
        self.occupied[slot / 64] |= 1 << (slot % 64);
    }

    #[inline]
    fn pop(&mut self) -> Option<(u64, u32)> {
        loop {
            let slot = self.slot(self.now);
            if let Some(forwarder) = self.buckets[slot].pop() {
                return Some((self.now, forwarder));
            }
            self.occupied[slot / 64] &= !(1 << (slot % 64));
            self.now += steps(&self.occupied, slot)?;
        }
    }
}

/// A binary heap (Williams 1964): for weights too large for buckets, and for distances in no
/// particular range.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heap(BinaryHeap<Reverse<(u64, u32)>>);

impl Heap {
    pub(crate) fn reset(&mut self) {
        self.0.clear();
    }
}

impl Queue for Heap {
    fn push(&mut self, distance: u64, forwarder: u32) {
        self.0.push(Reverse((distance, forwarder)));
    }

    fn pop(&mut self) -> Option<(u64, u32)> {
        self.0.pop().map(|Reverse(entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queue: &mut impl Queue) -> Vec<(u64, u32)> {
        core::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn both_queues_pop_in_order_of_distance() {
        for max_weight in [2, 63, 64, 100, 1023] {
            let (mut buckets, mut heap) = (Buckets::default(), Heap::default());
            buckets.reset(max_weight);
            for queue in [&mut buckets as &mut dyn Queue, &mut heap] {
                queue.push(0, 1);
                assert_eq!(queue.pop(), Some((0, 1)));
                queue.push(u64::from(max_weight), 2);
                queue.push(1, 3);
                assert_eq!(queue.pop(), Some((1, 3)), "{max_weight}");
                queue.push(u64::from(max_weight) + 1, 4);
            }
            let expected = [(u64::from(max_weight), 2), (u64::from(max_weight) + 1, 4)];
            assert_eq!(drain(&mut buckets), expected, "{max_weight}");
            assert_eq!(drain(&mut heap), expected, "{max_weight}");
        }
    }
}
