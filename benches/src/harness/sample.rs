//! Samples of durations, and their statistics.

use std::time::{Duration, Instant};

use anyhow::Result;

/// Durations of runs of the same work, ascending.
#[derive(Clone, Debug)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    /// Samples in any order.
    ///
    /// # Panics
    /// When there is none: a bench that never ran has no figure.
    pub(crate) fn new(mut durations: Vec<Duration>) -> Self {
        assert!(!durations.is_empty(), "a bench has at least one run");
        durations.sort_unstable();
        Self(durations)
    }

    /// The middle one (the upper one of two).
    pub(crate) fn median(&self) -> Duration {
        self.0[self.0.len() / 2]
    }

    /// The smallest sample that at least `share` (0 to 1) of all do not exceed.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0[rank.clamp(1, self.0.len()) - 1]
    }

    /// The longest.
    pub(crate) fn longest(&self) -> Duration {
        self.0[self.0.len() - 1]
    }

    /// Number of samples.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

/// Runs both sides `warm_up` times unseen and `rounds` times for the record. Who goes first changes
/// with each round, so that what disturbs the machine disturbs both alike. Both get the round's number.
///
/// # Errors
/// The first error of either side.
pub(crate) fn paired(
    warm_up: usize,
    rounds: usize,
    mut ours: impl FnMut(usize) -> Result<Duration>,
    mut theirs: impl FnMut(usize) -> Result<Duration>,
) -> Result<(Samples, Samples)> {
    let (mut our_times, mut their_times) = (vec![], vec![]);
    for round in 0..warm_up + rounds {
        let (our_time, their_time) = if round % 2 == 0 {
            let our_time = ours(round)?;
            (our_time, theirs(round)?)
        } else {
            let their_time = theirs(round)?;
            (ours(round)?, their_time)
        };
        if round >= warm_up {
            our_times.push(our_time);
            their_times.push(their_time);
        }
    }
    Ok((Samples::new(our_times), Samples::new(their_times)))
}

/// Duration and result of `work`.
pub(crate) fn time<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let result = work();
    (start.elapsed(), result)
}

/// A duration in milliseconds.
pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples() {
        let samples = Samples::new((1..=100).rev().map(Duration::from_millis).collect());
        assert_eq!(samples.median(), Duration::from_millis(51));
        assert_eq!(samples.quantile(0.99), Duration::from_millis(99));
        assert_eq!(samples.quantile(0.0), Duration::from_millis(1));
        assert_eq!(samples.longest(), Duration::from_millis(100));
    }

    #[test]
    fn sides_take_turns_and_warming_up_is_not_counted() {
        let order = std::cell::RefCell::new(String::new());
        let side = |name| {
            let order = &order;
            move |_| {
                order.borrow_mut().push(name);
                Ok(Duration::ZERO)
            }
        };
        let (ours, theirs) = paired(1, 2, side('o'), side('t')).unwrap();
        assert_eq!(*order.borrow(), "ottoot");
        assert_eq!((ours.count(), theirs.count()), (2, 2));
    }
}
