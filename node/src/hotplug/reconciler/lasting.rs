//! What passes by itself within a while is let pass: a DEL under way, a Forwarder on its way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The while.
pub(super) const GRACE: Duration = Duration::from_secs(3);

/// What is so, and since when.
#[derive(Debug)]
pub(super) struct Lasting<T>(BTreeMap<T, Instant>);

impl<T: Ord> Lasting<T> {
    pub(super) fn new() -> Lasting<T> {
        Lasting(BTreeMap::new())
    }

    /// Takes note of all that is so now; the rest is forgotten.
    pub(super) fn note(&mut self, seen: BTreeSet<T>, now: Instant) {
        self.0.retain(|what, _| seen.contains(what));
        for what in seen {
            self.0.entry(what).or_insert(now);
        }
    }

    /// What has been so for longer than passes by itself.
    pub(super) fn due(&self, now: Instant) -> BTreeSet<T>
    where
        T: Clone,
    {
        let due = self.0.iter().filter(|(_, since)| is_due(**since, now));
        due.map(|(what, _)| what.clone()).collect()
    }

    /// When each will be due that is not yet.
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
