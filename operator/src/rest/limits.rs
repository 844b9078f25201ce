//! What holds for every request: limits, a span, a line in the log, a sample in the metrics.

use std::{
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use tracing::Instrument;

use super::{Rest, problem::Problem};
use crate::telemetry::trace_id;

/// Largest body in bytes: what the API server's store takes for one object.
pub(super) const BODY: usize = 3 << 19;

/// Longest time from request to answer.
const TIME: Duration = Duration::from_secs(30);

/// Most requests that are answered at once.
pub(super) const REQUESTS: usize = 64;

/// Name of the header in which an answer names its trace.
const TRACE: &str = "x-trace-id";

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
            Method::GET | Method::HEAD => tracing::debug!(status, milliseconds, "answered"),
            _ => tracing::info!(status, milliseconds, "answered"),
        }
    });
    if let Ok(trace) = HeaderValue::from_str(&trace) {
        response.headers_mut().insert(TRACE, trace);
    }
    response
}

async fn answered(rest: &Rest, request: Request, next: Next) -> Response {
    let Ok(_permit) = rest.0.requests.try_acquire() else {
        return Problem::unavailable("too many requests at once; try again").into_response();
    };
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(TIME, answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => {
            tracing::error!("a handler panicked");
            let detail = "the operator failed to answer; its log says why";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail).into_response()
        }
        Err(_) => {
            let detail = format!("no answer within {} s", TIME.as_secs());
            Problem::unavailable(detail).into_response()
        }
    }
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
    use super::*;

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
