//! Schedule of full resyncs. Pure.
//!
//! Most foreign changes of the kernel raise no event, so they are found by observation. A small
//! node observes every few seconds; a large one so seldom that the cost is negligible.

use std::time::{Duration, Instant};

/// Largest share of one processor's time for observations, as its reciprocal.
const SHARE: u32 = 50;

/// Timer of full resyncs.
#[derive(Debug)]
pub(in crate::routing) struct Looks {
    /// Least time from the end of one resync to the next.
    pause: Duration,
    due: Instant,
    /// Processor time at the start of the running resync.
    began: Option<Duration>,
}

impl Looks {
    /// The start of a daemon counts as a running resync.
    pub(in crate::routing) fn new(pause: Duration, now: Instant, processor: Duration) -> Looks {
        Looks {
            pause,
            due: now + pause,
            began: Some(processor),
        }
    }

    /// Time of the next resync; `None` while one is running.
    pub(in crate::routing) fn due(&self) -> Option<Instant> {
        self.began.is_none().then_some(self.due)
    }

    /// True when a resync is due; it is running then.
    pub(in crate::routing) fn begin(&mut self, now: Instant, processor: Duration) -> bool {
        let is_due = self.due().is_some_and(|due| now >= due);
        if is_due {
            self.began = Some(processor);
        }
        is_due
    }

    /// Ends the running resync. No effect when none is running.
    pub(in crate::routing) fn end(&mut self, now: Instant, processor: Duration) {
        if let Some(began) = self.began.take() {
            let cost = processor.saturating_sub(began);
            self.due = now + self.pause.max(cost * SHARE);
        }
    }
}

/// Processor time that this process has used.
pub(in crate::routing) fn processor_time() -> Duration {
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
}
