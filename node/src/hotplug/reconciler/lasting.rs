//! Grace period for conditions that usually pass by themselves: a running DEL, a Forwarder under
//! creation.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Grace period.
pub(super) const GRACE: Duration = Duration::from_secs(3);

/// Conditions, with the time since when they hold.
#[derive(Debug)]
pub(super) struct Lasting<T>(BTreeMap<T, Instant>);

impl<T: Ord> Lasting<T> {
    pub(super) fn new() -> Lasting<T> {
        Lasting(BTreeMap::new())
    }

    /// Replaces the current conditions; the time of earlier ones is kept.
    pub(super) fn note(&mut self, seen: BTreeSet<T>, now: Instant) {
        self.0.retain(|what, _| seen.contains(what));
        for what in seen {
            self.0.entry(what).or_insert(now);
        }
    }

    /// Conditions that hold for longer than the grace period.
    pub(super) fn due(&self, now: Instant) -> BTreeSet<T>
    where
        T: Clone,
    {
        let due = self.0.iter().filter(|(_, since)| is_due(**since, now));
        due.map(|(what, _)| what.clone()).collect()
    }

    /// End of each running grace period.
    pub(super) fn next(&self, now: Instant) -> impl Iterator<Item = Instant> {
        let since = self.0.values();
        since
            .map(|since| *since + GRACE)
            .filter(move |at| *at > now)
    }
}

pub(super) fn is_due(since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since) >= GRACE
}
