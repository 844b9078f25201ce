//! Median of some values, and how far it can be trusted. Pure.

use std::fmt;

/// Median, quartiles, and the interval that holds the true median with a probability of 95 %.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    /// Median (the upper one of two).
    pub(crate) median: f64,
    quartiles: [f64; 2],
    interval: [f64; 2],
}

impl Spread {
    /// Spread of these values, in any order.
    ///
    /// # Panics
    /// When there is none.
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        assert!(!values.is_empty(), "a bench has at least one round");
        values.sort_by(f64::total_cmp);
        let count = values.len() as f64;
        let at = |rank: f64| values[rank.round().clamp(0.0, count - 1.0) as usize];
        // Ranks by the normal form of the binomial distribution.
        let half = 0.98 * count.sqrt();
        Self {
            median: values[values.len() / 2],
            quartiles: [at((count - 1.0) / 4.0), at((count - 1.0) * 3.0 / 4.0)],
            interval: [at(count / 2.0 - half), at(count / 2.0 + half)],
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            median,
            quartiles: [lower, upper],
            interval: [least, most],
        } = self;
        write!(
            formatter,
            "median {median:.3} (95 %: {least:.3} to {most:.3}), quartiles {lower:.3} and {upper:.3}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_values_narrow_the_interval_and_not_the_quartiles() {
        let spread = |count: u32| {
            Spread::of(
                (0..count)
                    .rev()
                    .map(|number| f64::from(number) / f64::from(count))
                    .collect(),
            )
        };
        let (few, many) = (spread(16), spread(1_600));
        let width = |[least, most]: [f64; 2]| most - least;
        assert!(
            (width(few.quartiles) - width(many.quartiles)).abs() < 0.1,
            "{few} {many}"
        );
        assert!(
            width(many.interval) < width(few.interval) / 5.0,
            "{few} {many}"
        );
        assert!((many.median - 0.5).abs() < 0.01, "{many}");
    }

    #[test]
    fn one_value_is_all() {
        let text = Spread::of(vec![2.0]).to_string();
        assert_eq!(
            text,
            "median 2.000 (95 %: 2.000 to 2.000), quartiles 2.000 and 2.000"
        );
    }
}
