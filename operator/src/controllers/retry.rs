//! Backoff of objects whose reconciliation failed.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ::telemetry::{Backoff, jittered};
use tokio::time::Instant;

use crate::{apply, observe::Key};

const MIN: Duration = Duration::from_millis(250);
const MAX: Duration = Duration::from_secs(120);
/// Number of rewrites of the same content without a pause.
const REWRITES: u32 = 2;
/// Number of consecutive transient failures after which they are reported: some seconds.
const LASTING: u32 = 4;

/// Failures in a row, object by object: one that fails does not slow down the others.
#[derive(Default)]
pub(super) struct Failures {
    backoffs: Mutex<HashMap<Key, Backoff>>,
}

impl Failures {
    /// Notes a failure, and says how long to wait.
    pub(super) fn failed(&self, key: &Key) -> Duration {
        let mut backoffs = self.backoffs();
        let backoff = backoffs.entry(key.clone());
        jittered(backoff.or_insert(Backoff::new(MIN, MAX)).failed())
    }

    /// True when `error` is worth a report: it is permanent, or has lasted for a while.
    pub(super) fn is_lasting(&self, key: &Key, error: &apply::Error) -> bool {
        let is_old = |backoff: &Backoff| backoff.failures() >= LASTING;
        !error.is_transient() || self.backoffs().get(key).is_some_and(is_old)
    }

    /// Notes a success.
    pub(super) fn succeeded(&self, key: &Key) {
        self.backoffs().remove(key);
    }

    fn backoffs(&self) -> MutexGuard<'_, HashMap<Key, Backoff>> {
        self.backoffs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Repeated writes of the same content that another writer undoes, such as an admission webhook, by object.
#[derive(Default)]
pub(super) struct Rewrites {
    by_key: Mutex<HashMap<Key, Rewrite>>,
}

struct Rewrite {
    /// Hash of the written content.
    fingerprint: u64,
    count: u32,
    backoff: Backoff,
    not_before: Instant,
}

impl Rewrites {
    /// Pause before this content may be written again; `None` when it may be written now.
    pub(super) fn pause(&self, key: &Key, fingerprint: u64) -> Option<Duration> {
        let by_key = self.by_key();
        let same = by_key.get(key).filter(|it| it.fingerprint == fingerprint)?;
        let pause = same.not_before.saturating_duration_since(Instant::now());
        (!pause.is_zero()).then_some(pause)
    }

    /// Notes a write, and says when to see whether it lasts.
    pub(super) fn written(&self, key: &Key, fingerprint: u64) -> Duration {
        let mut by_key = self.by_key();
        let new = || Rewrite {
            fingerprint,
            count: 0,
            backoff: Backoff::new(MIN, MAX),
            not_before: Instant::now(),
        };
        let rewrite = by_key.entry(key.clone()).or_insert_with(new);
        if rewrite.fingerprint != fingerprint {
            *rewrite = new();
        }
        rewrite.count += 1;
        if rewrite.count <= REWRITES {
            return Duration::ZERO;
        }
        let pause = rewrite.backoff.failed();
        rewrite.not_before = Instant::now() + pause;
        pause
    }

    /// Notes that nothing is to be written any more.
    pub(super) fn settled(&self, key: &Key) {
        self.by_key().remove(key);
    }

    fn by_key(&self) -> MutexGuard<'_, HashMap<Key, Rewrite>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_somebody_undoes_each_time_is_written_ever_more_seldom() {
        let rewrites = Rewrites::default();
        let (key, other) = (Key::new("a", "one"), Key::new("a", "other"));
        let start = Instant::now();
        let mut writes = 0;
        while start.elapsed() < Duration::from_secs(10) {
            // Events of the watch trigger reconciles all the time.
            if rewrites.pause(&key, 1).is_none() {
                rewrites.written(&key, 1);
                writes += 1;
            }
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        assert!((3..=20).contains(&writes), "{writes} writes in 10 s");
        assert!(rewrites.pause(&key, 1).is_some());
        assert_eq!(rewrites.pause(&key, 2), None, "another content is not late");
        assert_eq!(rewrites.written(&other, 1), Duration::ZERO);
        rewrites.settled(&key);
        assert_eq!(rewrites.pause(&key, 1), None);
    }

    #[test]
    fn people_are_told_of_what_is_refused_and_of_what_lasts() {
        let failures = Failures::default();
        let key = Key::new("a", "one");
        let answered = |code: u16| apply::Error::Request {
            verb: "create",
            kind: "Forwarder",
            name: "one.f".to_owned(),
            source: Box::new(kube::Error::Api(Box::new(kube::core::Status {
                message: "exceeded quota".to_owned(),
                code,
                ..kube::core::Status::default()
            }))),
        };
        let (refused, broken) = (answered(403), answered(500));
        assert_eq!(
            refused.told(),
            "failed to create Forwarder one.f: exceeded quota"
        );
        for _ in 0..LASTING {
            assert!(failures.is_lasting(&key, &refused));
            assert!(!failures.is_lasting(&key, &broken));
            failures.failed(&key);
        }
        assert!(failures.is_lasting(&key, &broken));
        failures.succeeded(&key);
        assert!(!failures.is_lasting(&key, &broken));
    }

    #[test]
    fn a_success_and_other_objects_begin_anew() {
        let failures = Failures::default();
        let (one, other) = (Key::new("a", "one"), Key::new("a", "other"));
        for _ in 0..5 {
            failures.failed(&one);
        }
        assert!(failures.failed(&one) > MIN);
        assert!(failures.failed(&other) <= MIN);
        failures.succeeded(&one);
        assert!(failures.failed(&one) <= MIN);
    }
}
