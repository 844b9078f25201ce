//! Pseudo-random numbers from a seed.

use topology::hash::SplitMix64;

/// A generator of numbers that a seed determines (splitmix64).
pub(crate) struct Random(SplitMix64);

impl Random {
    /// Seeded by `BEEMESH_SEED`, or always the same; the seed is printed, so that a failure can be had again.
    pub(crate) fn seeded(default: u64) -> Self {
        let given = std::env::var("BEEMESH_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or(default);
        eprintln!("BEEMESH_SEED={seed}");
        Self(SplitMix64::new(seed))
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0.below(limit as u64) as usize
    }
}
