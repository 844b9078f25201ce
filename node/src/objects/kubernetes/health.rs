//! Health of the API server's requests; each change is logged once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use telemetry::jittered;

/// First pause after a failure.
const FIRST: Duration = Duration::from_millis(250);
/// Longest pause: an API server that recovers is used again within this time.
const LAST: Duration = Duration::from_secs(5);

/// Failing requests by kind, numbers of writes, and the state of the cache.
#[derive(Debug, Default)]
pub struct Health {
    failing: Mutex<BTreeMap<String, Failure>>,
    written: AtomicU64,
    refused: AtomicU64,
    /// Reason why the object cache is not written.
    not_kept: Mutex<Option<String>>,
}

#[derive(Debug)]
struct Failure {
    code: Option<u16>,
    /// Time of a watch's first failure; `None` for other requests.
    unheard: Option<Instant>,
}

impl Health {
    /// Time for which a watch has failed; zero without a failure.
    pub fn unheard_for(&self) -> Duration {
        let failing = self.failing();
        let since = failing.values().filter_map(|it| it.unheard).min();
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Numbers of successful and of failed writes.
    pub fn writes(&self) -> (u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.written), read(&self.refused))
    }

    /// Reason why the object cache is not written; `None` while it is.
    pub fn not_kept(&self) -> Option<String> {
        let not_kept = self.not_kept.lock();
        not_kept.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the reason, and returns the earlier one.
    pub(super) fn set_not_kept(&self, problem: Option<String>) -> Option<String> {
        let mut not_kept = self.not_kept.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *not_kept, problem)
    }

    /// Counts a write.
    pub(super) fn wrote(&self, is_done: bool) {
        let count = if is_done {
            &self.written
        } else {
            &self.refused
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Records a failed write `what`, with the HTTP status of the answer if there was one.
    pub(super) fn failed(&self, what: &str, code: Option<u16>, error: &str) {
        self.note(what, code, None, error);
    }

    /// As [`Health::failed`], for a watch.
    pub(super) fn unheard(&self, what: &str, code: Option<u16>, error: &str) {
        self.note(what, code, Some(Instant::now()), error);
    }

    fn note(&self, what: &str, code: Option<u16>, unheard: Option<Instant>, error: &str) {
        let mut failing = self.failing();
        let before = failing.get(what);
        let is_known = match code {
            // An unreachable server is one failure, whatever the request.
            None => failing.values().any(|it| it.code.is_none()),
            Some(_) => before.is_some_and(|it| it.code == code),
        };
        let unheard = before.and_then(|it| it.unheard).or(unheard);
        failing.insert(what.to_owned(), Failure { code, unheard });
        if is_known {
            tracing::debug!(
                what,
                ?code,
                error,
                "API server request still fails, retried"
            );
        } else {
            tracing::warn!(what, ?code, error, "API server request failed, retried");
        }
    }

    /// Records that the request `what` succeeded.
    pub(super) fn succeeded(&self, what: &str) {
        let mut failing = self.failing();
        let Some(Failure { code, .. }) = failing.remove(what) else {
            return;
        };
        if code.is_some() || !failing.values().any(|it| it.code.is_none()) {
            tracing::info!(what, "API server request succeeds again");
        }
    }

    /// Forgets the failure of `what`, which is not requested any more.
    pub(super) fn forget(&self, what: &str) {
        self.failing().remove(what);
    }

    #[cfg(test)]
    pub(super) fn all_failing(&self) -> Vec<String> {
        self.failing().keys().cloned().collect()
    }

    fn failing(&self) -> MutexGuard<'_, BTreeMap<String, Failure>> {
        // Every change leaves the value whole, so a panic of another thread does not corrupt it.
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Pauses that double with each failure.
#[derive(Debug)]
pub(super) struct Backoff(telemetry::Backoff);

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff(telemetry::Backoff::new(FIRST, LAST))
    }
}

impl Backoff {
    /// Next pause with jitter; starts again at the first one after a time without failures.
    pub(super) fn next(&mut self) -> Duration {
        jittered(self.0.failed_at(Instant::now()))
    }
}

/// True for failures that concern all requests: no answer, 401, 429 and overload.
pub(super) fn is_for_all(code: Option<u16>) -> bool {
    matches!(code, None | Some(401 | 429 | 502..=504))
}

/// Error chain in one line; of a refusal only the API server's message, which is complete.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    if let Some(said) = causes.into_iter().find_map(said) {
        return said.to_owned();
    }
    ::telemetry::chain(error)
}

/// Message of the API server.
fn said<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a str> {
    let status = match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => status,
        _ => error.downcast_ref::<Box<kube::core::Status>>()?,
    };
    Some(status.message.as_str()).filter(|words| !words.is_empty())
}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher;

    use super::*;

    #[test]
    fn of_a_refusal_the_words_are_told_and_nothing_else() {
        let refusal = |words: &str| {
            let status = kube::core::Status::failure(words, "Forbidden").with_code(403);
            watcher::Error::WatchStartFailed(kube::Error::Api(Box::new(status)))
        };
        assert_eq!(chain(&refusal("pods is forbidden")), "pods is forbidden");
        assert!(chain(&refusal("")).contains("Forbidden"));
        let status = kube::core::Status::failure("too old", "Expired");
        let expired = watcher::Error::WatchError(Box::new(status));
        assert_eq!(chain(&expired), "too old");
    }

    #[test]
    fn nothing_is_heard_for_as_long_as_a_watch_fails_and_no_write_counts() {
        let health = Health::default();
        assert_eq!(health.unheard_for(), Duration::ZERO);
        health.failed("an event", Some(403), "forbidden");
        assert_eq!(health.unheard_for(), Duration::ZERO);
        health.unheard("pods", None, "refused");
        health.unheard("nodes", Some(403), "forbidden");
        health.succeeded("pods");
        let before = health.unheard_for();
        assert!(before > Duration::ZERO);
        health.unheard("nodes", Some(403), "forbidden");
        assert!(health.unheard_for() >= before, "it fails still");
        health.forget("nodes");
        assert_eq!(health.unheard_for(), Duration::ZERO);
        assert_eq!(health.all_failing(), ["an event"]);
    }

    #[test]
    fn writes_are_counted_by_how_they_end() {
        let health = Health::default();
        for is_done in [true, true, false] {
            health.wrote(is_done);
        }
        assert_eq!(health.writes(), (2, 1));
    }
}
