//! Rate limit of requests: honours `Retry-After`, and spaces out watches that end at once.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::header::RETRY_AFTER;
use hyper::{Request, Response, StatusCode};
use tower::Service;

use super::health::Backoff;

/// Longest accepted `Retry-After`.
const LONGEST: Duration = Duration::from_secs(60);
/// Least duration of a working watch; after a shorter one, the next has to wait.
const SHORT: Duration = Duration::from_secs(1);

/// State of the rate limit.
#[derive(Debug, Default)]
pub(super) struct Pace {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// End of the current `Retry-After`.
    alone: Option<Instant>,
    /// Start of the last watch, by address.
    watches: BTreeMap<String, Began>,
}

#[derive(Debug)]
struct Began {
    at: Instant,
    backoff: Backoff,
}

impl Pace {
    /// Remaining time of the current `Retry-After`.
    pub(super) fn alone(&self) -> Duration {
        let alone = self.lock().alone;
        alone.map_or(Duration::ZERO, |at| {
            at.saturating_duration_since(Instant::now())
        })
    }

    /// Pause before a request. Callers pause by themselves after a failure; a watch that ends at
    /// once is no failure to them.
    fn wait<B>(&self, request: &Request<B>) -> Duration {
        let Some(watch) = watch_of(request) else {
            return Duration::ZERO;
        };
        let now = Instant::now();
        let mut state = self.lock();
        state
            .watches
            .retain(|name, began| *name == watch || now < began.at + LONGEST);
        let Some(began) = state.watches.get_mut(&watch) else {
            let backoff = Backoff::default();
            state.watches.insert(watch, Began { at: now, backoff });
            return Duration::ZERO;
        };
        let is_short = now < began.at + SHORT;
        let wait = if is_short {
            began.backoff.next()
        } else {
            Duration::ZERO
        };
        began.at = now + wait;
        wait
    }

    fn note<B>(&self, response: &Response<B>) {
        let is_busy = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::SERVICE_UNAVAILABLE,
        ];
        if !is_busy.contains(&response.status()) {
            return;
        }
        let header = response.headers().get(RETRY_AFTER);
        let seconds = header.and_then(|value| value.to_str().ok()?.parse().ok());
        if let Some(seconds) = seconds {
            let until = Instant::now() + Duration::from_secs(seconds).min(LONGEST);
            let mut state = self.lock();
            state.alone = state.alone.max(Some(until));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change leaves the value whole, so a panic of another thread does not corrupt it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Key of a watch request: its address without the resource version; `None` for other requests.
fn watch_of<B>(request: &Request<B>) -> Option<String> {
    let uri = request.uri();
    let words: Vec<&str> = uri.query()?.split('&').collect();
    if !words.contains(&"watch=true") {
        return None;
    }
    let selector = words.iter().find(|word| word.starts_with("fieldSelector="));
    Some(format!("{}?{}", uri.path(), selector.unwrap_or(&"")))
}

/// Service with the rate limit.
#[derive(Debug)]
pub(super) struct Paced<S> {
    pub(super) inner: S,
    pub(super) pace: Arc<Pace>,
}

impl<S, A, B> Service<Request<A>> for Paced<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let pace = Arc::clone(&self.pace);
        let wait = pace.wait(&request);
        // Nothing is sent before it is polled.
        let answer = self.inner.call(request);
        Box::pin(async move {
            tokio::time::sleep(wait).await;
            let response = answer.await?;
            pace.note(&response);
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(version: u32) -> Request<()> {
        let uri = format!("/api/v1/pods?watch=true&fieldSelector=a&resourceVersion={version}");
        Request::builder().uri(uri).body(()).unwrap()
    }

    #[test]
    fn a_watch_that_ends_at_once_waits_longer_and_longer() {
        let pace = Pace::default();
        assert_eq!(pace.wait(&watch(1)), Duration::ZERO);
        let waits: Vec<Duration> = (2..8).map(|version| pace.wait(&watch(version))).collect();
        assert!(waits.iter().all(|wait| *wait > Duration::ZERO));
        assert!(waits[5] > waits[0] * 4, "{waits:?}");
        let other = Request::builder().uri("/api/v1/nodes?watch=true");
        assert_eq!(pace.wait(&other.body(()).unwrap()), Duration::ZERO);
        let list = Request::builder().uri("/api/v1/pods?limit=100");
        assert_eq!(pace.wait(&list.body(()).unwrap()), Duration::ZERO);
    }

    #[test]
    fn the_server_is_left_alone_for_as_long_as_it_asks_within_reason() {
        let answer = |status: u16, seconds: &str| {
            let answer = Response::builder().status(status);
            answer.header(RETRY_AFTER, seconds).body(()).unwrap()
        };
        let pace = Pace::default();
        for (status, seconds) in [(200, "9"), (429, "soon"), (404, "9")] {
            pace.note(&answer(status, seconds));
        }
        assert_eq!(pace.alone(), Duration::ZERO);
        pace.note(&answer(429, "30"));
        pace.note(&answer(503, "1"));
        let alone = pace.alone();
        assert!(alone > Duration::from_secs(10) && alone <= Duration::from_secs(30));
        pace.note(&answer(503, "86400"));
        assert!(pace.alone() <= LONGEST);
    }
}
