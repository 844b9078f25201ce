//! Result of a bench, as a value.

use std::fmt;

use serde::Serialize;

/// One figure: an entry of `bench.json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Figure {
    /// Name of the bench.
    pub(crate) name: String,
    /// Ours, in `unit`.
    pub(crate) value: f64,
    /// Unit of both values.
    pub(crate) unit: &'static str,
    /// Other implementation that did the same work.
    pub(crate) peer: Option<String>,
    /// The peer's, in `unit`.
    pub(crate) peer_value: Option<f64>,
    /// Above 1: we are better, by so many times.
    pub(crate) ratio: Option<f64>,
    /// Note on the measurement, for the table only.
    #[serde(skip)]
    pub(crate) note: String,
}

/// Direction in which a value is better.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Better {
    /// Times and sizes.
    Lower,
    /// Rates.
    Higher,
}

impl Figure {
    /// A figure without a peer.
    pub(crate) fn alone(name: &str, value: f64, unit: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            value: round(value),
            unit,
            peer: None,
            peer_value: None,
            ratio: None,
            note: String::new(),
        }
    }

    /// The same figure beside a peer's; the ratio is that of the two values.
    pub(crate) fn beside(self, peer: &str, value: f64, better: Better) -> Self {
        let value = round(value);
        let ratio = match better {
            Better::Lower => value / self.value,
            Better::Higher => self.value / value,
        };
        Self {
            peer: Some(peer.to_owned()),
            peer_value: Some(value),
            ratio: ratio.is_finite().then(|| round(ratio)),
            ..self
        }
    }

    /// Says how it came about.
    pub(crate) fn note(self, note: impl Into<String>) -> Self {
        Self {
            note: note.into(),
            ..self
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {} {}", self.name, self.value, self.unit)?;
        if let (Some(peer), Some(value)) = (&self.peer, self.peer_value) {
            write!(formatter, "; {peer}: {value}")?;
        }
        write!(formatter, " ({})", self.note)
    }
}

/// Four digits that count: more would be noise.
fn round(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let scale = 10f64.powi(3 - value.abs().log10().floor() as i32);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_above_one_means_that_we_are_better() {
        let time = Figure::alone("t", 2.0, "ms").beside("peer", 6.0, Better::Lower);
        let rate = Figure::alone("r", 9.0, "Gbit/s").beside("peer", 3.0, Better::Higher);
        assert_eq!((time.ratio, rate.ratio), (Some(3.0), Some(3.0)));
    }

    #[test]
    fn entries_without_a_peer_say_null() {
        let json = serde_json::to_string(&Figure::alone("x", 1.0, "s").note("n")).unwrap();
        assert_eq!(
            json,
            r#"{"name":"x","value":1.0,"unit":"s","peer":null,"peerValue":null,"ratio":null}"#
        );
    }

    #[test]
    fn values_keep_four_digits() {
        for (value, expected) in [
            (0.0, 0.0),
            (123_456.0, 123_500.0),
            (0.001_234_56, 0.001_235),
        ] {
            assert!((round(value) - expected).abs() < 1e-9, "{value}");
        }
    }
}
