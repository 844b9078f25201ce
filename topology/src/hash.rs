//! Stable hashes: FNV-1a and splitmix64, both of 64 bits. Their values never change: names of kernel objects,
//! MAC addresses, epochs and placements are made from them on machines that run different versions.
//!
//! Neither is collision-resistant. Where equal values would do harm, compare the inputs.

/// Increment of splitmix64: 2^64 divided by the golden ratio.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// FNV-1a of `bytes` (Fowler, Noll & Vo; RFC 9923). Its upper bits depend little on the last bytes: use [`mix`] where
/// they matter.
pub fn fnv1a(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The finaliser of splitmix64 (Steele, Lea & Flood 2014): a bijection in which each input bit changes half of the output.
pub fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// One step of splitmix64 from the state `word`.
pub fn splitmix(word: u64) -> u64 {
    mix(word.wrapping_add(GAMMA))
}

/// Hash of a list of texts: `["ab", "c"]` and `["a", "bc"]` differ.
pub fn texts(texts: &[&str]) -> u64 {
    // 0xff is in no UTF-8 text.
    let bytes = texts.iter().flat_map(|text| text.bytes().chain([0xff]));
    mix(fnv1a(bytes))
}

/// The pseudo-random sequence of splitmix64: the same for a seed on every machine. Not for secrets.
#[derive(Clone, Copy, Debug)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> SplitMix64 {
        SplitMix64(seed)
    }

    /// The next number, of all 64-bit ones.
    #[expect(
        clippy::should_implement_trait,
        reason = "an endless sequence is no iterator"
    )]
    pub fn next(&mut self) -> u64 {
        let word = splitmix(self.0);
        self.0 = self.0.wrapping_add(GAMMA);
        word
    }

    /// A number below `bound` (0 when `bound` is 0), by multiplication (Lemire 2019, without
    /// rejection: the bias is below `bound / 2^64`).
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv1a_has_the_values_of_its_specification() {
        let cases = [
            ("", 0xcbf2_9ce4_8422_2325),
            ("a", 0xaf63_dc4c_8601_ec8c),
            ("foobar", 0x8594_4171_f739_67e8),
        ];
        for (text, expected) in cases {
            assert_eq!(fnv1a(text.bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn numbers_are_those_of_splitmix64() {
        let mut numbers = SplitMix64::new(1_234_567);
        let first = [(); 3].map(|()| numbers.next());
        assert_eq!(
            first,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
        assert!((0..1_000).all(|_| numbers.below(7) < 7));
        assert_eq!(numbers.below(0), 0);
    }

    #[test]
    fn hashes_of_texts_never_change() {
        assert_eq!(texts(&["plant", "iot", "edge-a"]), 0xa799_b675_fbd5_f22e);
        assert_ne!(texts(&["ab", "c"]), texts(&["a", "bc"]));
        assert_ne!(texts(&[]), texts(&[""]));
    }
}
