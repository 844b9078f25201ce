//! Schedule of full resyncs and of loads. Pure.
//!
//! Most foreign changes of the kernel raise no event, so they are found by observation. A small
//! node observes every few seconds; a large one so seldom that the cost is negligible.

use std::time::{Duration, Instant};

/// Largest share of one processor's time for observations, as its reciprocal.
const SHARE: u32 = 50;

/// Timer of full resyncs.
#[derive(Debug)]
pub(super) struct Looks {
    /// Least time from the end of one resync to the next.
    pause: Duration,
    due: Instant,
    /// Processor time at the start of the running resync.
    began: Option<Duration>,
}

impl Looks {
    /// The start of a daemon counts as a running resync.
    pub(super) fn new(pause: Duration, now: Instant, processor: Duration) -> Looks {
        Looks {
            pause,
            due: now + pause,
            began: Some(processor),
        }
    }

    /// Time of the next resync; `None` while one is running.
    pub(super) fn due(&self) -> Option<Instant> {
        self.began.is_none().then_some(self.due)
    }

    /// True when a resync is due; it is running then.
    pub(super) fn begin(&mut self, now: Instant, processor: Duration) -> bool {
        let is_due = self.due().is_some_and(|due| now >= due);
        if is_due {
            self.began = Some(processor);
        }
        is_due
    }

    /// Ends the running resync. No effect when none is running.
    pub(super) fn end(&mut self, now: Instant, processor: Duration) {
        if let Some(began) = self.began.take() {
            let cost = processor.saturating_sub(began);
            self.due = now + self.pause.max(cost * SHARE);
        }
    }
}

/// Time in which further changes of the desired state are gathered.
const GATHER: Duration = Duration::from_millis(50);
/// Loading takes at most one part in so many of the time, as long as that waits no longer than [`LATEST`].
const LOAD_SHARE: u32 = 5;
/// Longest time in which changes are gathered.
pub(super) const LATEST: Duration = Duration::from_secs(2);

/// The pace of loading: a change is loaded at once, and those that follow it together.
#[derive(Debug)]
pub(super) struct Gather {
    is_due: bool,
    not_before: Instant,
}

impl Gather {
    pub(super) fn new(now: Instant) -> Gather {
        Gather {
            is_due: false,
            not_before: now,
        }
    }

    /// True when something `has_changed`, now or before, and it is time to load.
    pub(super) fn is_due(&mut self, has_changed: bool, now: Instant) -> bool {
        self.is_due |= has_changed;
        self.is_due && now >= self.not_before
    }

    /// The next time to load; none while nothing has changed.
    pub(super) fn due(&self) -> Option<Instant> {
        self.is_due.then_some(self.not_before)
    }

    /// All was loaded, which took `cost`.
    pub(super) fn end(&mut self, now: Instant, cost: Duration) {
        self.is_due = false;
        self.not_before = now + (cost * LOAD_SHARE).clamp(GATHER, LATEST);
    }
}

/// Processor time that this process has used.
pub(super) fn processor_time() -> Duration {
    use nix::time::{ClockId, clock_gettime};
    // The clock always exists; without it resyncs would only be as frequent as allowed.
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_as_frequent_as_asked_for_until_they_cost_too_much() {
        let seconds = Duration::from_secs;
        #[rustfmt::skip]
        let cases = [
            // cost                        pause
            (Duration::ZERO,               seconds(3)),
            (Duration::from_millis(10),    seconds(3)),
            (Duration::from_millis(60),    seconds(3)),
            (Duration::from_millis(100),   seconds(5)),
            (seconds(4),                   seconds(200)),
        ];
        for (cost, pause) in cases {
            let now = Instant::now();
            let mut looks = Looks::new(seconds(3), now, seconds(7));
            assert_eq!(looks.due(), None, "under way");
            assert!(!looks.begin(now + seconds(60), seconds(7)), "one at a time");
            looks.end(now, seconds(7) + cost);
            assert_eq!(looks.due(), Some(now + pause), "{cost:?}");
            looks.end(now + seconds(1), seconds(9));
            assert_eq!(looks.due(), Some(now + pause), "no look was under way");
            assert!(!looks.begin(now + pause / 2, seconds(9)));
            assert!(looks.begin(now + pause, seconds(9)));
        }
    }

    #[test]
    fn a_change_is_loaded_at_once_and_those_that_follow_together() {
        let millis = Duration::from_millis;
        #[rustfmt::skip]
        let cases = [
            // cost        pause
            (millis(1),    millis(50)),
            (millis(30),   millis(150)),
            (millis(900),  millis(2_000)),
        ];
        for (cost, pause) in cases {
            let now = Instant::now();
            let mut source = Gather::new(now);
            assert!(!source.is_due(false, now));
            assert_eq!(source.due(), None);
            assert!(source.is_due(true, now), "the first");
            source.end(now, cost);
            assert!(!source.is_due(false, now + pause), "nothing followed");
            assert!(!source.is_due(true, now + pause / 2), "{cost:?}");
            assert_eq!(source.due(), Some(now + pause), "{cost:?}");
            assert!(source.is_due(false, now + pause), "not forgotten");
        }
    }
}
