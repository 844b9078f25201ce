//! Schedule of loads of the desired state. Pure.

use std::time::{Duration, Instant};

/// Time in which further changes of the desired state are gathered.
const GATHER: Duration = Duration::from_millis(50);
/// Largest share of the time for loads, as its reciprocal; a change waits no longer than [`LATEST`].
const LOAD_SHARE: u32 = 5;
/// Longest time in which changes are gathered.
pub(in crate::routing) const LATEST: Duration = Duration::from_secs(2);

/// The pace of loading: a change is loaded at once, and those that follow it together.
#[derive(Debug)]
pub(in crate::routing) struct Gather {
    is_due: bool,
    not_before: Instant,
}

impl Gather {
    pub(in crate::routing) fn new(now: Instant) -> Gather {
        Gather {
            is_due: false,
            not_before: now,
        }
    }

    /// True when something `has_changed`, now or before, and it is time to load.
    pub(in crate::routing) fn is_due(&mut self, has_changed: bool, now: Instant) -> bool {
        self.is_due |= has_changed;
        self.is_due && now >= self.not_before
    }

    /// The next time to load; none while nothing has changed.
    pub(in crate::routing) fn due(&self) -> Option<Instant> {
        self.is_due.then_some(self.not_before)
    }

    /// All was loaded, which took `cost`.
    pub(in crate::routing) fn end(&mut self, now: Instant, cost: Duration) {
        self.is_due = false;
        self.not_before = now + (cost * LOAD_SHARE).clamp(GATHER, LATEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
