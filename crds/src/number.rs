//! Whole numbers, with messages that say which ones are meant.

use std::fmt;

use serde::{
    Deserializer,
    de::{Error, Visitor},
};

/// Reads a weight; 0 passes here and is refused by `lint`, with all else that it finds.
pub(crate) fn weight<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    deserializer.deserialize_any(Whole {
        expected: "a whole number of 1 or more",
    })
}

/// As [`weight`], for an optional field that is there.
pub(crate) fn some_weight<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u32>, D::Error> {
    weight(d).map(Some)
}

/// Reads a whole number.
pub(crate) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    deserializer.deserialize_any(Whole {
        expected: "a whole number",
    })
}

/// As [`whole`], for an optional field that is there.
pub(crate) fn some_whole<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u32>, D::Error> {
    whole(d).map(Some)
}

struct Whole {
    expected: &'static str,
}

impl Whole {
    fn refuse<E: Error>(&self, found: impl fmt::Display) -> E {
        E::custom(format!(
            "expected {}, at most {}, found {found}",
            self.expected,
            u32::MAX
        ))
    }
}

impl Visitor<'_> for Whole {
    type Value = u32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_u64<E: Error>(self, found: u64) -> Result<u32, E> {
        u32::try_from(found).map_err(|_| self.refuse(found))
    }

    fn visit_i64<E: Error>(self, found: i64) -> Result<u32, E> {
        u32::try_from(found).map_err(|_| self.refuse(found))
    }

    fn visit_f64<E: Error>(self, found: f64) -> Result<u32, E> {
        if found.fract() == 0.0 {
            let plain =
                format_args!("{found:?}: write {found}, without leading zero, point or exponent");
            return Err(self.refuse(plain));
        }
        Err(self.refuse(found))
    }
}
