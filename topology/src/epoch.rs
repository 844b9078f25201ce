//! The epoch: a digest of a global topology, which every table carries.
//!
//! Each element (Forwarder, live link, App, attachment) has a 64-bit digest, and the epoch is
//! made from their sum. A sum does not depend on order, and one link more or less changes it by
//! one addition: an epoch is as cheap as the change. (The idea is that of an incremental hash,
//! Bellare & Micciancio 1997.) Names go through BLAKE3; what hangs on them through the finaliser
//! of splitmix64. It distinguishes states; it is no signature.

use core::{fmt, str::FromStr};

use crate::hash::splitmix;

/// Digest of a global topology or of a table; shown as 16 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The text is not 16 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 16 lower-case hexadecimal digits")]
pub struct ParseEpochError;

impl FromStr for Epoch {
    type Err = ParseEpochError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 16 || !text.bytes().all(is_digit) {
            return Err(ParseEpochError);
        }
        u64::from_str_radix(text, 16)
            .map(Epoch)
            .map_err(|_| ParseEpochError)
    }
}

/// The sum of the digests of all elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum(u64);

impl Sum {
    pub(crate) fn add(&mut self, element: u64) {
        self.0 = self.0.wrapping_add(element);
    }

    pub(crate) fn remove(&mut self, element: u64) {
        self.0 = self.0.wrapping_sub(element);
    }

    pub(crate) fn epoch(self) -> Epoch {
        Epoch(mix(&[0, self.0]))
    }
}

/// Digest of a name, also used for a Forwarder.
pub(crate) fn name(name: &str) -> u64 {
    first_word(blake3::hash(name.as_bytes()))
}

pub(crate) fn forwarder(name: u64) -> u64 {
    mix(&[1, name])
}

/// Hash of a link without its weights.
pub(crate) fn link_identity(a: u64, b: u64, ordinal: u32) -> u64 {
    mix(&[2, a, b, u64::from(ordinal)])
}

pub(crate) fn link(identity: u64, weights: (u32, u32)) -> u64 {
    mix(&[3, identity, u64::from(weights.0), u64::from(weights.1)])
}

pub(crate) fn app(name: u64) -> u64 {
    mix(&[4, name])
}

pub(crate) fn attachment(app: u64, forwarder: u64, weight: u32) -> u64 {
    mix(&[5, app, forwarder, u64::from(weight)])
}

/// The first eight bytes, as the hexadecimal form would show them.
pub(crate) fn first_word(hash: blake3::Hash) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// Chains words through [`splitmix`].
fn mix(words: &[u64]) -> u64 {
    words
        .iter()
        .fold(0, |state, word| splitmix(state ^ splitmix(*word)))
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn reads_back_what_it_shows() {
        let epoch = Epoch(0x00ab_cdef_0123_4567);
        assert_eq!(epoch.to_string(), "00abcdef01234567");
        assert_eq!("00abcdef01234567".parse(), Ok(epoch));
        for wrong in [
            "",
            "00ABCDEF01234567",
            "+0abcdef01234567",
            "0abcdef01234567",
        ] {
            assert_eq!(wrong.parse::<Epoch>(), Err(ParseEpochError), "{wrong}");
        }
    }
}
