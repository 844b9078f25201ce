//! Versions of the exchange between nodes.

use serde::{Deserialize, Serialize};

/// The versions that a program speaks, from the lowest to the highest. Two programs speak the highest that both know, so that a new
/// version divides no cluster that is upgraded node by node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The lowest one.
    pub lowest: u32,
    /// The highest one.
    pub highest: u32,
}

impl Versions {
    /// The versions of this program.
    pub const OURS: Versions = Versions {
        lowest: 2,
        highest: 2,
    };

    /// The version in which both speak; none where there is none.
    pub fn common(self, theirs: Versions) -> Option<u32> {
        let highest = self.highest.min(theirs.highest);
        (highest >= self.lowest.max(theirs.lowest)).then_some(highest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_version_that_both_know_is_spoken() {
        let range = |lowest, highest| Versions { lowest, highest };
        #[rustfmt::skip]
        let cases = [
            (range(2, 2), range(2, 2), Some(2)),
            (range(2, 2), range(2, 3), Some(2)),
            (range(2, 4), range(3, 9), Some(4)),
            (range(2, 2), range(3, 4), None),
            (range(3, 2), range(2, 3), None),
        ];
        for (ours, theirs, expected) in cases {
            assert_eq!(ours.common(theirs), expected, "{ours:?} {theirs:?}");
            assert_eq!(theirs.common(ours), expected, "{theirs:?} {ours:?}");
        }
    }
}
