//! When to look at everything. Pure.
//!
//! What a foreign hand deletes is mostly told by no event, so it is found by looking. A small node
//! looks every few seconds; a large one so seldom that looking costs next to nothing.

use std::time::{Duration, Instant};

/// Looking takes at most one part in so many of one processor's time.
const SHARE: u32 = 50;

/// The timer of the looks at everything.
#[derive(Debug)]
pub(super) struct Looks {
    /// Least time from the end of one look to the next.
    pause: Duration,
    due: Instant,
    /// Processor time at the start of the look that is under way.
    began: Option<Duration>,
}

impl Looks {
    /// The start of a daemon is a look too: it is under way.
    pub(super) fn new(pause: Duration, now: Instant, processor: Duration) -> Looks {
        Looks {
            pause,
            due: now + pause,
            began: Some(processor),
        }
    }

    /// When the next look is due; none while one is under way.
    pub(super) fn due(&self) -> Option<Instant> {
        self.began.is_none().then_some(self.due)
    }

    /// True when it is time; the look is under way then.
    pub(super) fn begin(&mut self, now: Instant, processor: Duration) -> bool {
        let is_due = self.due().is_some_and(|due| now >= due);
        if is_due {
            self.began = Some(processor);
        }
        is_due
    }

    /// All that was to be looked at was looked at. Nothing, when no look was under way.
    pub(super) fn end(&mut self, now: Instant, processor: Duration) {
        if let Some(began) = self.began.take() {
            let cost = processor.saturating_sub(began);
            self.due = now + self.pause.max(cost * SHARE);
        }
    }
}

/// Processor time that this process has used.
pub(super) fn processor_time() -> Duration {
    use nix::time::{ClockId, clock_gettime};
    // The clock is always there; without it looks would only be as frequent as they may be.
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
