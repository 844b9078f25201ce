//! The clock of sessions, and kernel timestamps on it.

use std::time::Duration;

use bfd::Time;
use nix::time::{ClockId, clock_gettime};

/// Now, on the monotonic clock of the machine.
pub(crate) fn now() -> Time {
    Time::from_origin(read(ClockId::CLOCK_MONOTONIC))
}

fn read(clock: ClockId) -> Duration {
    // Both clocks always exist.
    clock_gettime(clock).map_or(Duration::ZERO, Duration::from)
}

/// Converter of the kernel's timestamps of packets, which are on the wall clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamps {
    now: Time,
    wall: Duration,
    /// No packet that is read now arrived earlier.
    earliest: Time,
}

impl Stamps {
    /// For packets that arrived after `earliest`.
    pub(crate) fn since(earliest: Time) -> Stamps {
        Stamps {
            now: now(),
            wall: read(ClockId::CLOCK_REALTIME),
            earliest,
        }
    }

    /// The time of a timestamp. A wall clock that is set meanwhile moves it no further than to the last reading.
    pub(crate) fn time(&self, stamp: Option<Duration>) -> Time {
        let age = stamp.map_or(Duration::ZERO, |stamp| self.wall.saturating_sub(stamp));
        let since_origin = self.now.since(Time::default()).saturating_sub(age);
        Time::from_origin(since_origin).max(self.earliest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_that_is_set_moves_a_timestamp_to_the_last_reading_at_most() {
        let at = |millis| Duration::from_millis(millis);
        let stamps = Stamps {
            now: Time::from_origin(at(5_000)),
            wall: at(900_000),
            earliest: Time::from_origin(at(4_900)),
        };
        let cases = [(899_990, 4_990), (900_050, 5_000), (800_000, 4_900)];
        for (stamp, expected) in cases {
            let expected = Time::from_origin(at(expected));
            assert_eq!(stamps.time(Some(at(stamp))), expected, "{stamp}");
        }
        assert_eq!(stamps.time(None), stamps.now);
    }
}
