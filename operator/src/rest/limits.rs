//! Middleware of every request: limits, a span, a line in the log, a sample in the metrics.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, BodyDataStream, HttpBody},
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use futures::{FutureExt, TryStreamExt, stream};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout_at,
};
use tracing::Instrument;

use super::{Rest, access::Access, problem::Problem};
use crate::telemetry::trace_id;

/// Largest body in bytes: what the API server's store takes for one object.
pub(super) const BODY: usize = 3 << 19;

/// Longest time from request to answer.
const TIME: Duration = Duration::from_secs(30);

/// Longest time for the rest of an answer that is made while it is read.
const READING: Duration = Duration::from_secs(120);

/// Longest time for a body.
pub(super) const BODY_TIME: Duration = Duration::from_secs(10);

/// Largest number of parallel reads.
const READS: usize = 64;

/// Largest number of other parallel requests. They have bodies: slow callers do not block
/// reads.
const WRITES: usize = 32;

/// Largest number of parallel requests of strangers, until the API server knows them.
const STRANGERS: usize = 16;

/// Name of the header in which an answer names its trace.
const TRACE: &str = "x-trace-id";

/// Requests that are being answered.
pub(super) struct Requests {
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
}

impl Requests {
    pub(super) fn new() -> Requests {
        let [reads, writes, strangers] =
            [READS, WRITES, STRANGERS].map(|most| Arc::new(Semaphore::new(most)));
        Requests {
            reads,
            writes,
            strangers,
        }
    }

    /// A permit for one more request. Strangers take no permit of callers that `access` knows, also not while it asks the
    /// API server about them.
    async fn permit(
        &self,
        access: &Access,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<OwnedSemaphorePermit, Problem> {
        let take = |permits: &Arc<Semaphore>| {
            let permit = Arc::clone(permits).try_acquire_owned();
            permit.map_err(|_| Problem::unavailable("too many requests at once; try again"))
        };
        if !access.is_familiar(method, headers) {
            let permit = take(&self.strangers)?;
            if !access.identify(headers).await? {
                return Ok(permit);
            }
        }
        match *method {
            Method::GET | Method::HEAD => take(&self.reads),
            _ => take(&self.writes),
        }
    }
}

/// Puts the limits around `routes`.
pub(super) fn limited(routes: Router<Rest>, rest: &Rest) -> Router<Rest> {
    routes
        .fallback(async |uri: Uri| Problem::not_found(format!("there is no {}", uri.path())))
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            let detail = format!("{} does not take {method}", uri.path());
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
        })
        .layer(DefaultBodyLimit::max(BODY))
        .layer(middleware::from_fn_with_state(rest.clone(), around))
}

async fn around(State(rest): State<Rest>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let path = request.extensions().get::<MatchedPath>();
    let path = path.map_or("none", MatchedPath::as_str).to_owned();
    let trace = traced(request.headers()).unwrap_or_else(trace_id);
    let uri = request.uri().path().to_owned();
    let span = tracing::error_span!("request", %method, path = uri, trace_id = trace);
    let mut response = answered(&rest, request, next)
        .instrument(span.clone())
        .await;
    let (status, took) = (response.status(), started.elapsed());
    let known = known_method(&method);
    rest.0
        .metrics
        .requested(known, &path, status.as_u16(), took);
    span.in_scope(|| {
        let (status, milliseconds) = (status.as_u16(), took.as_millis() as u64);
        match method {
            Method::GET | Method::HEAD => tracing::debug!(status, milliseconds, "request answered"),
            _ => tracing::info!(status, milliseconds, "request answered"),
        }
    });
    if let Ok(trace) = HeaderValue::from_str(&trace) {
        response.headers_mut().insert(TRACE, trace);
    }
    response
}

async fn answered(rest: &Rest, request: Request, next: Next) -> Response {
    let answer = async {
        let (method, headers) = (request.method(), request.headers());
        let permit = rest.0.requests.permit(&rest.0.access, method, headers);
        match permit.await {
            Ok(permit) => next.run(request).await.map(|body| held(body, permit)),
            Err(problem) => problem.into_response(),
        }
    };
    let answer = AssertUnwindSafe(answer).catch_unwind();
    match tokio::time::timeout(TIME, answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => {
            tracing::error!("REST handler panicked");
            let detail = "the operator failed to answer; its log says why";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail).into_response()
        }
        Err(_) => {
            let detail = format!("no answer within {} s", TIME.as_secs());
            Problem::unavailable(detail).into_response()
        }
    }
}

/// A body that is made while it is read keeps its permit until its end, and breaks off when that takes too long.
fn held(body: Body, permit: OwnedSemaphorePermit) -> Body {
    if body.size_hint().exact().is_some() {
        return body;
    }
    let until = tokio::time::Instant::now() + READING;
    let state = (body.into_data_stream(), permit);
    let next = move |(mut chunks, permit): (BodyDataStream, _)| async move {
        let chunk = timeout_at(until, chunks.try_next()).await;
        let chunk = chunk.map_err(axum::Error::new)??;
        Ok::<_, axum::Error>(chunk.map(|chunk| (chunk, (chunks, permit))))
    };
    Body::from_stream(stream::try_unfold(state, next))
}

/// The trace id of `traceparent: 00-TRACE-PARENT-FLAGS` (W3C Trace Context).
fn traced(headers: &HeaderMap) -> Option<String> {
    let parent = headers.get("traceparent")?.to_str().ok()?;
    let trace = parent.split('-').nth(1)?;
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (trace.len() == 32 && trace.bytes().all(is_hex)).then(|| trace.to_owned())
}

/// Anyone may invent methods; metrics know a few.
fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::{self, Bytes};
    use futures::StreamExt;

    use super::*;

    /// One permit, and a body that has it, of these chunks and of ones that never come.
    fn read_to(chunks: &'static [&str], goes_on: bool) -> (Arc<Semaphore>, Body) {
        let permits = Arc::new(Semaphore::new(1));
        let permit = Arc::clone(&permits).try_acquire_owned();
        let chunks = chunks
            .iter()
            .map(|text| Ok(Bytes::from_static(text.as_bytes())));
        let chunks = stream::iter::<_>(chunks.collect::<Vec<Result<_, Infallible>>>());
        let body = match goes_on {
            true => Body::from_stream(chunks.chain(stream::pending())),
            false => Body::from_stream(chunks),
        };
        (permits, held(body, permit.expect("it is free")))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_read_is_a_request_under_way() {
        let (permits, body) = read_to(&["a", "b"], false);
        assert_eq!(permits.available_permits(), 0);
        let read = body::to_bytes(body, 2).await.expect("whole");
        assert_eq!((&read[..], permits.available_permits()), (&b"ab"[..], 1));
        // Who goes away in between frees it too.
        let (permits, body) = read_to(&["a"], true);
        drop(body);
        assert_eq!(permits.available_permits(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_without_an_end_breaks_off() {
        let (permits, body) = read_to(&["a"], true);
        let read = body.into_data_stream().map(|it| it.is_ok()).collect();
        let read: Result<Vec<bool>, _> = tokio::time::timeout(2 * READING, read).await;
        assert_eq!(read, Ok(vec![true, false]), "a chunk, then an error");
        assert_eq!(permits.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_body_that_is_made_already_frees_its_request() {
        let permits = Arc::new(Semaphore::new(1));
        let permit = Arc::clone(&permits).try_acquire_owned();
        let body = held(Body::from("whole"), permit.expect("it is free"));
        assert_eq!(
            (body.size_hint().exact(), permits.available_permits()),
            (Some(5), 1)
        );
    }

    #[tokio::test]
    async fn strangers_take_no_place_of_known_callers() {
        // An API server that knows one token, and never answers about others.
        let service = tower::service_fn(|request: Request<kube::client::Body>| async {
            let body = request.into_body().collect_bytes().await.expect("a body");
            let mut review: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            if review["spec"]["token"] != "good" {
                std::future::pending::<()>().await;
            }
            review["status"] = serde_json::json!({"authenticated": true, "user": {}});
            let body = kube::client::Body::from(review.to_string().into_bytes());
            Ok::<_, Infallible>(Response::new(body))
        });
        let access = Access::new(kube::Client::new(service, "default"), false);
        let requests = Requests::new();
        let headers = |token: &str| {
            let value = format!("Bearer {token}").parse().expect("a header");
            HeaderMap::from_iter([(axum::http::header::AUTHORIZATION, value)])
        };
        let good = headers("good");
        let permit = requests.permit(&access, &Method::GET, &good).await;
        drop(permit.expect("it is known"));

        let strangers: Vec<HeaderMap> = (0..500).map(|it| headers(&format!("t{it}"))).collect();
        let method = Method::GET;
        let asked = strangers
            .iter()
            .map(|it| Box::pin(requests.permit(&access, &method, it)));
        let mut asked: Vec<_> = asked.collect();
        let answers = asked.iter_mut().filter_map(|it| it.now_or_never());
        assert!(
            answers.count() >= 500 - STRANGERS,
            "the rest is refused at once"
        );
        assert_eq!(requests.reads.available_permits(), READS);
        for method in [Method::GET, Method::PUT] {
            let permit = requests.permit(&access, &method, &good).await;
            assert!(permit.is_ok(), "{method}");
        }
        let none = HeaderMap::new();
        let nobody = requests.permit(&access, &Method::GET, &none);
        assert!(nobody.await.is_err(), "no place among strangers");
        drop(asked);
        let nobody = requests.permit(&access, &Method::GET, &none);
        assert!(nobody.await.is_ok());
    }

    #[test]
    fn a_trace_goes_on_where_the_caller_has_one() {
        let id = "0af7651916cd43dd8448eb211c80319c";
        let parent = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", value.parse().expect("a header"));
            traced(&headers)
        };
        let found = parent(&format!("00-{id}-b7ad6b7169203331-01"));
        assert_eq!(found.as_deref(), Some(id));
        assert_eq!(parent("00-xyz-b7ad6b7169203331-01"), None);
        assert_eq!(traced(&HeaderMap::new()), None);
    }
}
