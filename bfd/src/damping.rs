//! Damping of flaps: a link that fails again and again is not preferred again at once.
//!
//! The shape is that of RFC 2439, section 4.2: each failure adds [`PENALTY`]; the sum halves every [`HALF_LIFE`]; above [`SUPPRESS`]
//! the link is suppressed, until the sum is below [`REUSE`]; it never exceeds [`CEILING`].
//!
//! | failures | effect |
//! |---|---|
//! | one, or two at any distance | none: a reroute and its return are never delayed |
//! | three, each within 10 s of the one before | suppressed, for 15 s to 24 s after the third |
//! | one every 12 s | suppressed from the fourth on, as long as that lasts |
//! | one every 15 s, or less often | never suppressed |
//! | 100, one a second | free 30 s after the last: the ceiling bounds it |
//!
//! Why: a link of 3 x 100 ms with 20 % loss fails every 7 s on average (`tests/simulation`). 15 s bridge most of these distances, so
//! that traffic moves less than once a minute; 5 % loss, about one failure in ten minutes, stays without effect. A suppressed link is
//! the last resort and not unused, so 30 s cost a longer path at most.

use core::time::Duration;

use crate::time::Time;

/// Sum that one failure adds.
pub const PENALTY: u32 = 1000;
/// Sum above which a link is suppressed.
pub const SUPPRESS: u32 = 2000;
/// Sum below which a suppressed link is free again.
pub const REUSE: u32 = 1000;
/// Largest sum: two half-lives above [`REUSE`].
pub const CEILING: u32 = 4000;
/// Time in which the sum halves.
pub const HALF_LIFE: Duration = Duration::from_secs(15);

/// Powers of two with exponents -1/2, -1/4, ..., -1/256, in 65,536ths.
const ROOTS: [u64; 8] = [
    46_341, 55_109, 60_097, 62_757, 64_132, 64_830, 65_182, 65_359,
];
/// Steps of a half-life, the resolution of the decay: 59 ms.
const STEPS: u128 = 256;

/// The memory of one link's failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damping {
    /// Sum at the time of the last failure.
    penalty: u32,
    failed: Time,
    is_suppressed: bool,
}

impl Damping {
    /// Counts a failure: a change for which `Change::is_failure` is true.
    pub fn fail(&mut self, now: Time) {
        let was_suppressed = self.is_suppressed(now);
        self.penalty = self.penalty(now).saturating_add(PENALTY).min(CEILING);
        self.failed = now;
        self.is_suppressed = was_suppressed || self.penalty > SUPPRESS;
    }

    /// True while the link should not be preferred.
    pub fn is_suppressed(&self, now: Time) -> bool {
        self.is_suppressed && self.penalty(now) >= REUSE
    }

    /// The time at which a suppressed link is free, when it does not fail again; none when it is free.
    pub fn free_at(&self, now: Time) -> Option<Time> {
        if !self.is_suppressed(now) {
            return None;
        }
        let (mut early, mut late) = (0, 2 * STEPS as u64 + STEPS as u64);
        while early < late {
            let middle = u64::midpoint(early, late);
            if decayed(self.penalty, middle) < REUSE {
                late = middle;
            } else {
                early = middle + 1;
            }
        }
        let nanos = u128::from(early) * HALF_LIFE.as_nanos();
        Some(self.failed + Duration::from_nanos(nanos.div_ceil(STEPS) as u64))
    }

    /// The sum now.
    pub fn penalty(&self, now: Time) -> u32 {
        let elapsed = now.since(self.failed).as_nanos();
        let steps = elapsed * STEPS / HALF_LIFE.as_nanos();
        decayed(self.penalty, u64::try_from(steps).unwrap_or(u64::MAX))
    }
}

/// The rest of a sum after this many 256ths of a half-life.
fn decayed(penalty: u32, steps: u64) -> u32 {
    let halves = u32::try_from(steps / 256).unwrap_or(u32::MAX);
    let Some(mut rest) = (u64::from(penalty) << 16).checked_shr(halves) else {
        return 0;
    };
    for (place, root) in ROOTS.iter().enumerate() {
        if steps & (128 >> place) != 0 {
            rest = (rest * root) >> 16;
        }
    }
    (rest >> 16) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Time {
        Time::from_origin(Duration::from_millis(millis))
    }

    /// A link that fails `count` times at this distance.
    fn failed(count: u64, millis: u64) -> Damping {
        let mut damping = Damping::default();
        for number in 0..count {
            damping.fail(at(number * millis));
        }
        damping
    }

    #[test]
    fn the_table() {
        #[rustfmt::skip]
        let cases = [
            // failures  distance  suppressed after the last, and free after it (ms)
            (0,   0,      None),
            (1,   0,      None),
            (2,   1,      None),
            (3,   1,      Some(23_700..=23_900)),
            (3,   10_000, Some(15_000..=15_500)),
            (3,   11_000, None),
            (3,   12_000, None),
            (4,   12_000, Some(15_500..=16_500)),
            (90,  12_000, Some(15_500..=19_000)),
            (90,  15_000, None),
            (100, 1_000,  Some(29_900..=30_100)),
        ];
        for (count, distance, expected) in cases {
            let damping = failed(count, distance);
            let last = at(count.saturating_sub(1) * distance);
            let free = damping.free_at(last);
            assert_eq!(free.is_some(), damping.is_suppressed(last));
            let Some(range) = expected else {
                assert_eq!(free, None, "{count} times, each {distance} ms");
                continue;
            };
            let free = free.unwrap();
            let wait = free.since(last).as_millis() as u64;
            assert!(
                range.contains(&wait),
                "{count} times, each {distance} ms: {wait}"
            );
            let before = last + free.since(last).saturating_sub(Duration::from_nanos(1));
            assert!(damping.is_suppressed(before) && !damping.is_suppressed(free));
        }
    }

    #[test]
    fn a_suppressed_link_that_fails_every_12_s_stays_suppressed() {
        let mut damping = failed(4, 12_000);
        for second in 37..600 {
            if second % 12 == 0 {
                damping.fail(at(second * 1_000));
            }
            assert!(damping.is_suppressed(at(second * 1_000)), "{second}");
        }
    }

    #[test]
    fn a_failure_never_frees_a_link() {
        let mut damping = Damping {
            penalty: REUSE,
            failed: at(0),
            is_suppressed: true,
        };
        damping.fail(at(0));
        assert_eq!(damping.penalty(at(0)), SUPPRESS, "not above it");
        assert!(damping.is_suppressed(at(0)));
    }

    #[test]
    fn the_sum_halves_and_never_grows_by_itself() {
        let damping = failed(3, 0);
        for (seconds, expected) in [(0, 3000), (15, 1500), (30, 750), (45, 375), (60, 187)] {
            assert_eq!(damping.penalty(at(seconds * 1_000)), expected);
        }
        let sums = (0..100_000).map(|millis| damping.penalty(at(millis)));
        assert!(sums.is_sorted_by(|earlier, later| earlier >= later));
        assert_eq!(damping.penalty(at(u64::MAX / 1_000)), 0);
    }
}
