//! Durations as Kubernetes writes them: `100ms`, `1s`, `1m30s`, `1.5s`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// Of two units of one size the later one is written.
const UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("µs", 1_000),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Most characters of a duration in a declaration.
pub(crate) const MAX_CHARACTERS: usize = 32;

/// Reads a duration from a string.
///
/// # Errors
/// When it is no string, or no duration.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.chars().count() > MAX_CHARACTERS {
        let message = format!("expected at most {MAX_CHARACTERS} characters, found {text:?}");
        return Err(D::Error::custom(message));
    }
    parse(&text).ok_or_else(|| {
        D::Error::custom(format!(
            "expected a duration such as \"100ms\", found {text:?}"
        ))
    })
}

/// Writes a duration as a string.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*duration))
}

/// The shortest text with one unit that means exactly this duration.
pub fn format(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let (unit, size) = UNITS
        .iter()
        .rev()
        .find(|(_, size)| nanos != 0 && nanos.is_multiple_of(u128::from(*size)))
        .unwrap_or(&("s", 1_000_000_000));
    format!("{}{unit}", nanos / u128::from(*size))
}

/// Reads a duration; `None` when `text` is none. At most 2^64 - 1 nanoseconds (584 years).
pub fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut nanos = 0_u64;
    while !rest.is_empty() || text.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let (_, size) = UNITS.iter().find(|(name, _)| *name == unit)?;
        nanos = nanos.checked_add(scaled(number, *size)?)?;
        rest = tail;
    }
    Some(Duration::from_nanos(nanos))
}

/// `number`, with an optional fraction, times `size`; truncated to nanoseconds.
fn scaled(number: &str, size: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut nanos = whole.parse::<u64>().ok()?.checked_mul(size)?;
    let mut place = size;
    for digit in fraction.chars() {
        place /= 10;
        nanos = nanos.checked_add(place.checked_mul(u64::from(digit.to_digit(10)?))?)?;
    }
    Some(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_as_kubernetes_does() {
        #[rustfmt::skip]
        let cases = [
            ("100ms", Some(100_000_000), "100ms"),
            ("1s", Some(1_000_000_000), "1s"),
            ("1.5s", Some(1_500_000_000), "1500ms"),
            ("1m30s", Some(90_000_000_000), "90s"),
            ("2h", Some(7_200_000_000_000), "2h"),
            ("0", Some(0), "0s"),
            ("7ns", Some(7), "7ns"),
            ("10000us", Some(10_000_000), "10ms"), ("1500µs", Some(1_500_000), "1500us"),
            ("", None, ""), ("100", None, ""), ("ms", None, ""), ("-1s", None, ""),
            ("1 s", None, ""), ("1d", None, ""), ("1.s.", None, ""), ("1..5s", None, ""),
            ("99999999999999999999s", None, ""), ("584h99999999999h", None, ""), ("1sé", None, ""),
        ];
        for (text, nanos, written) in cases {
            let duration = parse(text);
            assert_eq!(duration, nanos.map(Duration::from_nanos), "{text}");
            if let Some(duration) = duration {
                assert_eq!(format(duration), written, "{text}");
            }
        }
    }
}
