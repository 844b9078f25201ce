//! How long an object that failed is left alone.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    apply,
    observe::{Key, jittered},
};

const MIN: Duration = Duration::from_millis(250);
const MAX: Duration = Duration::from_secs(120);
/// Failures in a row after which people are told of one that might pass by itself: some seconds of them.
const LASTING: u32 = 4;

/// Failures in a row, object by object: one that fails does not slow down the others.
#[derive(Default)]
pub(super) struct Failures {
    counts: Mutex<HashMap<Key, u32>>,
}

impl Failures {
    /// Notes a failure, and says how long to wait.
    pub(super) fn failed(&self, key: &Key) -> Duration {
        let mut counts = self.counts();
        let count = counts.entry(key.clone()).or_default();
        *count += 1;
        jittered(delay(*count))
    }

    /// Whether people are to be told of `error`: it does not pass by itself, or has not for a while.
    pub(super) fn is_lasting(&self, key: &Key, error: &apply::Error) -> bool {
        let is_old = |count: &u32| *count >= LASTING;
        !error.is_transient() || self.counts().get(key).is_some_and(is_old)
    }

    /// Notes a success.
    pub(super) fn succeeded(&self, key: &Key) {
        self.counts().remove(key);
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Key, u32>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Doubles from failure to failure.
fn delay(count: u32) -> Duration {
    MIN.saturating_mul(2_u32.saturating_pow(count.saturating_sub(1)))
        .min(MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_longer_after_each_failure_up_to_a_limit() {
        let delays: Vec<Duration> = [1, 2, 3, 10, 1_000].into_iter().map(delay).collect();
        assert_eq!(delays[..3], [MIN, MIN * 2, MIN * 4]);
        assert_eq!(delays[3..], [MAX, MAX]);
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
