//! Exponential backoff with jitter.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Pause after the first failure; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(100);

/// Pause before the next attempt.
#[derive(Debug)]
pub(super) struct Backoff {
    pause: Duration,
    longest: Duration,
}

impl Backoff {
    pub(super) fn new(longest: Duration) -> Backoff {
        Backoff {
            pause: FIRST,
            longest,
        }
    }

    /// Next pause, 75 % to 125 % of the base: nodes that lost one another at one time do not redial
    /// at one time.
    pub(super) fn next(&mut self, random: u64) -> Duration {
        let pause = self.pause.min(self.longest);
        self.pause = self.longest.min(pause.saturating_mul(2));
        let permille = u32::try_from(random % 501).unwrap_or_default();
        pause * (750 + permille) / 1000
    }

    /// Resets the pause after a success.
    pub(super) fn reset(&mut self) {
        self.pause = FIRST;
    }
}

/// Random number, good enough to spread attempts and to name an instance.
pub(super) fn random() -> u64 {
    RandomState::new().hash_one(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_longest_and_begin_anew() {
        let longest = Duration::from_secs(4);
        let mut backoff = Backoff::new(longest);
        let mut middle = || backoff.next(250);
        let pauses: Vec<u128> = (0..8).map(|_| middle().as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 4000, 4000]);
        assert_eq!(backoff.next(500), longest * 5 / 4);
        assert_eq!(backoff.next(0), longest * 3 / 4);
        backoff.reset();
        assert_eq!(backoff.next(250), FIRST);
    }
}
