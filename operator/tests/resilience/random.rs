//! Repeatable chance.

/// A generator of numbers that a seed determines (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    /// Seeded by `BEEMESH_SEED`, or always the same; the seed is printed, so that a failure can be had again.
    pub(crate) fn seeded(default: u64) -> Self {
        let given = std::env::var("BEEMESH_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or(default);
        eprintln!("BEEMESH_SEED={seed}");
        Self(seed)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }
}
