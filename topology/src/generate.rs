//! Generators: whole topologies from a shape, a size and a seed.

use alloc::{collections::BTreeSet, format, string::String, vec::Vec};

use crate::{
    error::TopologyError,
    hash::SplitMix64,
    model::{LinkSpec, Topology},
    shape::{self, Shape},
};

/// Kind of a generated topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A shape; every link weighs 1.
    Shape(Shape),
    /// A connected random graph of `min(4n, n(n-1)/2)` links with weights from 1 to 10.
    Random,
}

/// Names and links, before they become a [`Topology`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// `f1` to `fN`, zero-padded so that byte order is number order.
    pub forwarders: Vec<String>,
    /// The links, ends in ascending order.
    pub links: Vec<LinkSpec>,
}

impl Generated {
    /// The topology without Apps.
    ///
    /// # Errors
    /// [`TopologyError::TooMany`] only: generated names and links are sound.
    pub fn into_topology(self) -> Result<Topology, TopologyError> {
        Topology::new(self.forwarders, self.links, Vec::new())
    }
}

/// Generates `n` Forwarders and their links; the same arguments give the same result for ever.
pub fn generate(kind: Kind, n: usize, seed: u64) -> Generated {
    let forwarders = names(n);
    let mut numbers = SplitMix64::new(seed);
    let weighted: Vec<(usize, usize, u32)> = match kind {
        Kind::Shape(shape) => shape::links(shape, n)
            .into_iter()
            .map(|(a, b)| (a, b, 1))
            .collect(),
        Kind::Random => {
            let pairs = random_pairs(n, &mut numbers);
            pairs
                .into_iter()
                .map(|(a, b)| (a, b, numbers.below(10) as u32 + 1))
                .collect()
        }
    };
    let links = weighted.into_iter().map(|(a, b, weight)| LinkSpec {
        a: forwarders[a].clone(),
        b: forwarders[b].clone(),
        weight,
        weight_back: weight,
    });
    Generated {
        links: links.collect(),
        forwarders,
    }
}

/// `f1` to `fN`, all of the same length.
pub fn names(n: usize) -> Vec<String> {
    let width = n.checked_ilog10().map_or(1, |digits| digits as usize + 1);
    (1..=n).map(|number| format!("f{number:0width$}")).collect()
}

/// A random tree (each to an earlier one) and distinct further pairs.
fn random_pairs(n: usize, numbers: &mut SplitMix64) -> BTreeSet<(usize, usize)> {
    let mut pairs: BTreeSet<_> = (1..n)
        .map(|b| (numbers.below(b as u64) as usize, b))
        .collect();
    let wanted = (4 * n).min(n * n.saturating_sub(1) / 2);
    while pairs.len() < wanted {
        let (a, b) = (
            numbers.below(n as u64) as usize,
            numbers.below(n as u64) as usize,
        );
        if a != b {
            pairs.insert((a.min(b), a.max(b)));
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_their_numbers() {
        assert_eq!(names(3), ["f1", "f2", "f3"]);
        assert_eq!(names(10)[0], "f01");
        assert_eq!(names(0), [""; 0]);
        assert!(names(1000).is_sorted());
    }

    #[test]
    fn random_graphs_are_connected_and_repeatable() {
        for n in [0, 1, 2, 3, 8, 9, 10, 100, 1000] {
            let once = generate(Kind::Random, n, 7);
            assert_eq!(once, generate(Kind::Random, n, 7), "{n}");
            assert_eq!(
                once.links.len(),
                (4 * n).min(n * n.saturating_sub(1) / 2),
                "{n}"
            );
            assert!(
                once.links
                    .iter()
                    .all(|link| (1..=10).contains(&link.weight)),
                "{n}"
            );
            assert!(
                n < 3 || once != generate(Kind::Random, n, 8),
                "{n}: seeds differ"
            );
        }
    }
}
