//! Heartbeat of the engine: written by the engine, read by probes and metrics.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::watch;

/// Histogram buckets in seconds: from an answer out of memory to one that waits for Kubernetes.
pub(super) const SECONDS: [f64; 13] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// Grace period after a due heartbeat, beyond which the engine counts as stuck. The longest step
/// between two heartbeats is an observation of thousands of namespaces.
const SILENCE: Duration = Duration::from_secs(120);

/// Heartbeat and counters of the engine. Cheap to clone.
#[derive(Clone)]
pub struct Heartbeat(Arc<Inner>);

struct Inner {
    started: Instant,
    /// Due time of the next heartbeat, in milliseconds since `started`.
    due: AtomicU64,
    counts: Mutex<Counts>,
    rounds: Histogram,
    is_ready: watch::Sender<bool>,
}

/// Counters of the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Forwarders of this node.
    pub forwarders: u64,
    /// Number of their links.
    pub links: u64,
    /// Number of links that are usable in both directions.
    pub links_up: u64,
    /// Links that are suspect.
    pub links_suspect: u64,
    /// Number of writes to the kernel.
    pub kernel_writes: u64,
    /// Number of writes that the kernel refused.
    pub kernel_failures: u64,
    /// Number of full resyncs.
    pub resyncs: u64,
}

impl fmt::Debug for Heartbeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heartbeat").finish_non_exhaustive()
    }
}

impl Default for Heartbeat {
    fn default() -> Heartbeat {
        Heartbeat::new(Instant::now())
    }
}

impl Heartbeat {
    /// Heartbeat of an engine that starts at `now`.
    pub fn new(now: Instant) -> Heartbeat {
        Heartbeat(Arc::new(Inner {
            started: now,
            due: AtomicU64::new(0),
            counts: Mutex::default(),
            rounds: Histogram::new(SECONDS),
            is_ready: watch::channel(false).0,
        }))
    }

    /// Records a heartbeat; the next one is due by `until`.
    pub fn beat(&self, until: Instant) {
        let due = until.saturating_duration_since(self.0.started).as_millis();
        self.0.due.store(due as u64, Ordering::Relaxed);
    }

    /// Time since the heartbeat was due, beyond the grace period; `None` for a live engine.
    pub fn silence(&self, now: Instant) -> Option<Duration> {
        let due = Duration::from_millis(self.0.due.load(Ordering::Relaxed));
        let late = now
            .saturating_duration_since(self.0.started)
            .saturating_sub(due);
        (late > SILENCE).then_some(late)
    }

    /// Updates the counters.
    pub fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.lock());
    }

    /// Current counters.
    pub fn counts(&self) -> Counts {
        *self.lock()
    }

    /// Records a convergence time: from the first marked work until the kernel state was complete.
    pub fn converged(&self, took: Duration) {
        self.0.rounds.observe(took.as_secs_f64());
    }

    /// Sets readiness: whether the plugin is served.
    pub fn set_ready(&self, is_ready: bool) {
        self.0
            .is_ready
            .send_if_modified(|before| std::mem::replace(before, is_ready) != is_ready);
    }

    /// Receiver of readiness: true when the desired state is complete and the plugin is served.
    pub fn readiness(&self) -> watch::Receiver<bool> {
        self.0.is_ready.subscribe()
    }

    /// Current value of [`Heartbeat::readiness`].
    pub fn is_ready(&self) -> bool {
        *self.0.is_ready.borrow()
    }

    pub(super) fn rounds(&self) -> Histogram {
        self.0.rounds.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Every change leaves the numbers whole, so a panic of another thread does not corrupt
        // them.
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_lives_as_long_as_it_keeps_its_word() {
        let start = Instant::now();
        let heartbeat = Heartbeat::new(start);
        assert_eq!(heartbeat.silence(start + SILENCE), None);
        let second = Duration::from_secs(1);
        assert_eq!(
            heartbeat.silence(start + SILENCE + second),
            Some(SILENCE + second)
        );
        let nap = Duration::from_secs(200);
        heartbeat.beat(start + nap);
        assert_eq!(heartbeat.silence(start + nap + SILENCE), None, "it said so");
        assert_eq!(
            heartbeat.silence(start + nap + SILENCE + second),
            Some(SILENCE + second)
        );
        heartbeat.beat(start + nap + SILENCE);
        assert_eq!(
            heartbeat.silence(start + nap + SILENCE + second),
            None,
            "it is back"
        );
    }

    #[test]
    fn readiness_is_told_when_it_changes() {
        let heartbeat = Heartbeat::default();
        let mut readiness = heartbeat.readiness();
        heartbeat.set_ready(false);
        assert!(!readiness.has_changed().unwrap());
        heartbeat.set_ready(true);
        assert!(readiness.has_changed().unwrap() && *readiness.borrow_and_update());
        heartbeat.set_ready(true);
        assert!(!readiness.has_changed().unwrap());
    }
}
