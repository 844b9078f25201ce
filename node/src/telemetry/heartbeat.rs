//! How the engine is doing: kept up to date by it, read by probes and metrics.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::watch;

/// Upper bounds of durations: from an answer out of memory to one that waits for Kubernetes.
pub(super) const SECONDS: [f64; 13] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// An engine that is silent for longer than it said it would be, and this, is stuck. The longest
/// stretch between two beats is a look at thousands of namespaces.
const SILENCE: Duration = Duration::from_secs(120);

/// Facts about the engine. Cheap to clone.
#[derive(Clone)]
pub struct Heartbeat(Arc<Inner>);

struct Inner {
    started: Instant,
    /// Milliseconds from `started` to when the next beat is due.
    due: AtomicU64,
    counts: Mutex<Counts>,
    rounds: Histogram,
    is_ready: watch::Sender<bool>,
}

/// What the engine has, and what it has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Forwarders of this node.
    pub forwarders: u64,
    /// Their links.
    pub links: u64,
    /// Of these, what can be used in both directions.
    pub links_up: u64,
    /// Writes to the kernel.
    pub kernel_writes: u64,
    /// Of these, what the kernel refused.
    pub kernel_failures: u64,
    /// Looks at the whole kernel state.
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
    /// Those of an engine that starts at `now`.
    pub fn new(now: Instant) -> Heartbeat {
        Heartbeat(Arc::new(Inner {
            started: now,
            due: AtomicU64::new(0),
            counts: Mutex::default(),
            rounds: Histogram::new(SECONDS),
            is_ready: watch::channel(false).0,
        }))
    }

    /// The engine is alive, and says when it will say so again at the latest.
    pub fn beat(&self, until: Instant) {
        let due = until.saturating_duration_since(self.0.started).as_millis();
        self.0.due.store(due as u64, Ordering::Relaxed);
    }

    /// How long the engine has been silent without having said so; none when it is alive.
    pub fn silence(&self, now: Instant) -> Option<Duration> {
        let due = Duration::from_millis(self.0.due.load(Ordering::Relaxed));
        let late = now
            .saturating_duration_since(self.0.started)
            .saturating_sub(due);
        (late > SILENCE).then_some(late)
    }

    /// Changes what is counted.
    pub fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.lock());
    }

    /// What is counted.
    pub fn counts(&self) -> Counts {
        *self.lock()
    }

    /// Everything that was due is in the kernel, so long after the first of it was due.
    pub fn converged(&self, took: Duration) {
        self.0.rounds.observe(took.as_secs_f64());
    }

    /// From now on plugins get an answer, or none any more.
    pub fn set_ready(&self, is_ready: bool) {
        self.0
            .is_ready
            .send_if_modified(|before| std::mem::replace(before, is_ready) != is_ready);
    }

    /// Whether the desired state is complete, and plugins are answered by it.
    pub fn readiness(&self) -> watch::Receiver<bool> {
        self.0.is_ready.subscribe()
    }

    /// As [`Heartbeat::readiness`], now.
    pub fn is_ready(&self) -> bool {
        *self.0.is_ready.borrow()
    }

    pub(super) fn rounds(&self) -> Histogram {
        self.0.rounds.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Numbers: a panic elsewhere leaves them whole.
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
