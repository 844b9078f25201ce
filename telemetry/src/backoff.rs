//! Exponential backoff.

use std::{
    hash::{BuildHasher, RandomState},
    time::{Duration, Instant},
};

/// Pauses between attempts: the first one after the first failure, twice as long after each further one, up to the
/// longest. Without jitter; see [`jittered`].
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
    last: Option<Instant>,
}

impl Backoff {
    /// A backoff without failures so far.
    pub const fn new(first: Duration, longest: Duration) -> Backoff {
        Backoff {
            first,
            longest,
            failures: 0,
            last: None,
        }
    }

    /// Counts a failure and returns the pause after it.
    pub fn failed(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        delay(self.first, self.longest, self.failures)
    }

    /// As [`Backoff::failed`], for work without a success report: after six of the longest pauses without a
    /// failure it counts as one.
    pub fn failed_at(&mut self, now: Instant) -> Duration {
        let before = self.last.replace(now);
        let is_old = |before| now.saturating_duration_since(before) >= self.longest * 6;
        if before.is_some_and(is_old) {
            self.succeeded();
        }
        self.failed()
    }

    /// Resets to the first pause.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

/// The pause after `failures` failures in a row (at least 1).
fn delay(first: Duration, longest: Duration, failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1);
    let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(longest)
}

/// Between half of `delay` and all of it: those who failed together do not try again together.
pub fn jittered(delay: Duration) -> Duration {
    let random = RandomState::new().hash_one(0_u8) >> 32;
    let half = delay / 2;
    half + half.mul_f64(random as f64 / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(250);
    const LONGEST: Duration = Duration::from_secs(5);

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::new(FIRST, LONGEST);
        let pauses: Vec<u128> = (0..7).map(|_| backoff.failed().as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1_000, 2_000, 4_000, 5_000, 5_000]);
        for _ in 0..100 {
            assert_eq!(backoff.failed(), LONGEST, "no overflow");
        }
        backoff.succeeded();
        assert_eq!(backoff.failed(), FIRST);
    }

    #[test]
    fn a_long_time_without_a_failure_counts_as_a_success() {
        let (mut backoff, start) = (Backoff::new(FIRST, LONGEST), Instant::now());
        assert_eq!(backoff.failed_at(start), FIRST);
        let later = start + LONGEST * 6 - FIRST;
        assert_eq!(backoff.failed_at(later), FIRST * 2);
        assert_eq!(backoff.failed_at(later + LONGEST * 6), FIRST);
    }

    #[test]
    fn jitter_takes_away_half_at_most() {
        for _ in 0..1_000 {
            let pause = jittered(LONGEST);
            assert!((LONGEST / 2..=LONGEST).contains(&pause), "{pause:?}");
        }
    }
}
