//! Jitter of transmissions: sessions that start together do not stay together.

use core::num::NonZeroU8;
use core::time::Duration;

/// Parts of an interval.
const WHOLE: u64 = 1 << 20;
const THREE_QUARTERS: u64 = WHOLE / 4 * 3;
/// 90 %, rounded down.
const NINE_TENTHS: u64 = WHOLE / 10 * 9;

/// A generator of shares of an interval. The same seed gives the same shares.
#[derive(Clone, Debug)]
pub(crate) struct Jitter {
    state: u64,
}

/// A share of an interval, between 75 and 100 %.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share(u64);

impl Jitter {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next share: 75 to 100 %, and at most 90 % where the receiver waits for one packet only (RFC 5880, section 6.8.7).
    pub(crate) const fn next(&mut self, detect_multiplier: NonZeroU8) -> Share {
        let most = if detect_multiplier.get() == 1 {
            NINE_TENTHS
        } else {
            WHOLE
        };
        Share(THREE_QUARTERS + self.random() % (most - THREE_QUARTERS + 1))
    }

    /// SplitMix64 (Steele, Lea and Flood, 2014): any seed will do, also zero.
    const fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Share {
    /// This share of an interval.
    pub(crate) const fn of(self, micros: u32) -> Duration {
        // 32 bits of microseconds, 10 of nanoseconds and 20 of the share are 62 bits.
        Duration::from_nanos(micros as u64 * 1000 * self.0 / WHOLE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_fill_their_range_and_stay_in_it() {
        for (multiplier, most) in [(1, 90), (2, 100), (3, 100), (255, 100)] {
            let mut jitter = Jitter::new(7);
            let multiplier = NonZeroU8::new(multiplier).unwrap();
            let shares: std::vec::Vec<_> = (0..10_000)
                .map(|_| jitter.next(multiplier).of(100_000))
                .collect();
            let (least, longest) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
            let (low, high) = (Duration::from_millis(75), Duration::from_millis(most));
            assert!(*least >= low && *least < low + Duration::from_micros(100));
            assert!(*longest <= high && *longest > high - Duration::from_micros(100));
            let mean = shares.iter().sum::<Duration>() / 10_000;
            let middle = (low + high) / 2;
            assert!(
                mean.abs_diff(middle) < Duration::from_micros(300),
                "{mean:?}"
            );
        }
    }

    #[test]
    fn the_longest_interval_does_not_overflow() {
        let share = Jitter::new(0).next(NonZeroU8::MAX).of(u32::MAX);
        assert!(share > Duration::from_secs(3221) && share <= Duration::from_secs(4295));
    }

    #[test]
    fn a_seed_gives_the_same_shares_again() {
        let draw = |seed| {
            let mut jitter = Jitter::new(seed);
            [(); 8].map(|()| jitter.next(NonZeroU8::MAX).0)
        };
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
    }
}
