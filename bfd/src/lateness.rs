//! Lateness of the caller: a detector that was starved must not call its peers dead.
//!
//! ```text
//! detection deadline D        wake-up at W, late by L = W - D
//!        |---------------------------|----- min(L, detection time) -----|
//!        no packet known             L <= 1 ms: down                    still no packet: down
//!                                    L >  1 ms: not yet
//! ```
//! The caller did not run when it meets a deadline, or reads a packet, later by more than [`LATENESS_BOUND`]. Then packets may wait in the
//! socket, or were dropped from a full one. So silence is not believed before the caller has run as long as it was late, but one detection
//! time at most. That happens once: again only after a packet that the kernel received after the first time. Real silence is noticed
//! one detection time after the late wake-up, at the latest.

use core::time::Duration;

use crate::time::Time;

/// Lateness up to which a wake-up counts as punctual.
pub const LATENESS_BOUND: Duration = Duration::from_millis(1);

/// A detection deadline that was put off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extension {
    /// The time at which the lateness was found.
    granted: Time,
    /// The new deadline.
    until: Time,
}

impl Extension {
    /// The extension that a caller needs which was late by `late`; none when it was punctual.
    pub(crate) fn of(late: Duration, now: Time, detection_time: Duration) -> Option<Self> {
        (late > LATENESS_BOUND).then(|| Self {
            granted: now,
            until: now + late.min(detection_time),
        })
    }

    /// The new deadline.
    pub(crate) const fn until(&self) -> Time {
        self.until
    }

    /// True when a packet that the kernel received at this time is a newer sign of life.
    pub(crate) fn ends_with(&self, received: Time) -> bool {
        received > self.granted
    }
}

/// Sums of lateness, for a metric; one for any number of sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lateness {
    /// Deadlines and packets.
    pub events: u64,
    /// Deadlines and packets that were late by more than [`LATENESS_BOUND`].
    pub late: u64,
    /// Detection deadlines that were put off.
    pub extensions: u64,
    /// Sum of the lateness.
    pub total: Duration,
    /// Largest lateness.
    pub worst: Duration,
}

impl Lateness {
    /// Counts one step: its `Actions::lateness` and `Actions::is_extended`.
    pub fn count(&mut self, lateness: Duration, is_extended: bool) {
        self.events = self.events.saturating_add(1);
        self.late = self.late.saturating_add((lateness > LATENESS_BOUND).into());
        self.extensions = self.extensions.saturating_add(is_extended.into());
        self.total = self.total.saturating_add(lateness);
        self.worst = self.worst.max(lateness);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_deadline_is_put_off_by_the_lateness() {
        let now = Time::from_origin(ms(10_000));
        let just_late = ms(1) + Duration::from_nanos(1);
        #[rustfmt::skip]
        let cases = [
            // late     detection  put off by
            (ms(0),     ms(300),   None),
            (ms(1),     ms(300),   None),
            (just_late, ms(300),   Some(just_late)),
            (ms(40),    ms(300),   Some(ms(40))),
            (ms(300),   ms(300),   Some(ms(300))),
            (ms(9000),  ms(300),   Some(ms(300))),
        ];
        for (late, detection, expected) in cases {
            let extension = Extension::of(late, now, detection);
            let until = extension.map(|extension| extension.until().since(now));
            assert_eq!(until, expected, "{late:?}");
        }
    }

    #[test]
    fn only_a_packet_after_the_extension_ends_it() {
        let now = Time::from_origin(ms(10_000));
        let extension = Extension::of(ms(40), now, ms(300)).unwrap();
        let is_ended = |millis| extension.ends_with(Time::from_origin(ms(millis)));
        assert_eq!([9_999, 10_000, 10_001].map(is_ended), [false, false, true]);
    }

    #[test]
    fn sums() {
        let mut lateness = Lateness::default();
        lateness.count(ms(1), false);
        lateness.count(ms(20), true);
        lateness.count(ms(4), false);
        let expected = Lateness {
            events: 3,
            late: 2,
            extensions: 1,
            total: ms(25),
            worst: ms(20),
        };
        assert_eq!(lateness, expected);
    }
}
