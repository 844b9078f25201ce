//! Shapes: links that follow from how many Forwarders there are.

use alloc::vec::Vec;
use core::{fmt, str::FromStr};

/// A named arrangement of links over Forwarders in the order in which they were declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Shape {
    /// Every Forwarder to every other.
    Mesh,
    /// A closed chain; two Forwarders have one link.
    Ring,
    /// An open chain.
    Line,
    /// The first is the hub of all others.
    Star,
    /// A binary tree in heap order: the children of `i` are `2i+1` and `2i+2`.
    Tree,
    /// Rows of `ceil(sqrt(n))`, filled row by row; each to its right and lower neighbour.
    Grid,
    /// Leaf-spine Clos (Clos 1953): the first `clamp(n/3, 1, 4)` are spines, and every leaf is
    /// linked to every spine.
    Fabric,
    /// Only explicit links.
    #[default]
    Custom,
}

impl Shape {
    /// Every shape, in the order of the documentation.
    pub const ALL: [Shape; 8] = [
        Shape::Mesh,
        Shape::Ring,
        Shape::Line,
        Shape::Star,
        Shape::Tree,
        Shape::Grid,
        Shape::Fabric,
        Shape::Custom,
    ];

    /// The name as custom resources write it: `Mesh`.
    pub fn name(self) -> &'static str {
        match self {
            Shape::Mesh => "Mesh",
            Shape::Ring => "Ring",
            Shape::Line => "Line",
            Shape::Star => "Star",
            Shape::Tree => "Tree",
            Shape::Grid => "Grid",
            Shape::Fabric => "Fabric",
            Shape::Custom => "Custom",
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text names no shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected one of Mesh, Ring, Line, Star, Tree, Grid, Fabric, Custom")]
pub struct ParseShapeError;

impl FromStr for Shape {
    type Err = ParseShapeError;

    /// Reads a name in any case: commands say `ring`, custom resources `Ring`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Shape::ALL
            .into_iter()
            .find(|shape| shape.name().eq_ignore_ascii_case(text));
        found.ok_or(ParseShapeError)
    }
}

/// The links of a shape over `n` Forwarders, as pairs of positions, the lower one first.
///
/// Each pair occurs once, in ascending order.
pub fn links(shape: Shape, n: usize) -> Vec<(usize, usize)> {
    let mut links: Vec<(usize, usize)> = match shape {
        Shape::Mesh => (0..n)
            .flat_map(|a| (a + 1..n).map(move |b| (a, b)))
            .collect(),
        Shape::Ring => ring(n),
        Shape::Line => (1..n).map(|b| (b - 1, b)).collect(),
        Shape::Star => (1..n).map(|b| (0, b)).collect(),
        Shape::Tree => (1..n).map(|b| ((b - 1) / 2, b)).collect(),
        Shape::Grid => grid(n),
        Shape::Fabric => fabric(n),
        Shape::Custom => Vec::new(),
    };
    links.sort_unstable();
    links
}

fn ring(n: usize) -> Vec<(usize, usize)> {
    let closing = (n > 2).then(|| (0, n - 1));
    (1..n).map(|b| (b - 1, b)).chain(closing).collect()
}

fn grid(n: usize) -> Vec<(usize, usize)> {
    let columns = n.isqrt() + usize::from(n.isqrt() * n.isqrt() < n);
    let right = (0..n)
        .filter(|i| (i + 1) % columns != 0 && i + 1 < n)
        .map(|i| (i, i + 1));
    let below = (0..n).filter(|i| i + columns < n).map(|i| (i, i + columns));
    right.chain(below).collect()
}

fn fabric(n: usize) -> Vec<(usize, usize)> {
    let spines = (n / 3).clamp(1, 4);
    (0..spines)
        .flat_map(|spine| (spines..n).map(move |leaf| (spine, leaf)))
        .collect()
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn shapes_have_the_links_that_they_promise() {
        #[rustfmt::skip]
        let cases = [
            (Shape::Mesh, 4, vec![(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]),
            (Shape::Ring, 2, vec![(0, 1)]), // one link, not two
            (Shape::Ring, 3, vec![(0, 1), (0, 2), (1, 2)]),
            (Shape::Ring, 4, vec![(0, 1), (0, 3), (1, 2), (2, 3)]),
            (Shape::Line, 3, vec![(0, 1), (1, 2)]),
            (Shape::Star, 4, vec![(0, 1), (0, 2), (0, 3)]),
            (Shape::Tree, 6, vec![(0, 1), (0, 2), (1, 3), (1, 4), (2, 5)]),
            (Shape::Grid, 2, vec![(0, 1)]),
            (Shape::Grid, 5, vec![(0, 1), (0, 3), (1, 2), (1, 4), (3, 4)]), // three columns
            (Shape::Grid, 4, vec![(0, 1), (0, 2), (1, 3), (2, 3)]),
            (Shape::Fabric, 2, vec![(0, 1)]), // one spine
            (Shape::Fabric, 5, vec![(0, 1), (0, 2), (0, 3), (0, 4)]),
            (Shape::Fabric, 6, vec![(0, 2), (0, 3), (0, 4), (0, 5), (1, 2), (1, 3), (1, 4), (1, 5)]),
            (Shape::Custom, 9, vec![]),
        ];
        for (shape, n, expected) in cases {
            assert_eq!(links(shape, n), expected, "{shape} of {n}");
        }
    }

    #[test]
    fn every_shape_stands_none_and_one() {
        for shape in Shape::ALL {
            assert_eq!(links(shape, 0), [], "{shape}");
            assert_eq!(links(shape, 1), [], "{shape}");
        }
    }

    #[test]
    fn names_are_read_in_any_case() {
        assert_eq!("ring".parse(), Ok(Shape::Ring));
        assert_eq!("Fabric".parse(), Ok(Shape::Fabric));
        assert_eq!("ball".parse::<Shape>(), Err(ParseShapeError));
    }
}
