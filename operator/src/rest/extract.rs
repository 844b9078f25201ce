//! Extractors of axum whose failures are problem details too.

use std::convert::Infallible;

use axum::{
    body::Bytes,
    extract::{
        FromRequest, FromRequestParts, Path, Query, Request,
        rejection::{BytesRejection, PathRejection, QueryRejection},
    },
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::timeout;

use super::{limits, problem::Problem};

/// Placeholders of the route.
pub(super) struct In<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for In<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<In<T>, Problem> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        let problem = |error: PathRejection| Problem::new(error.status(), error.body_text());
        path.map(|Path(value)| In(value)).map_err(problem)
    }
}

/// Parameters after `?`.
pub(super) struct Asked<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Asked<T>, Problem> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        let problem = |error: QueryRejection| Problem::new(error.status(), error.body_text());
        query.map(|Query(value)| Asked(value)).map_err(problem)
    }
}

/// Body of a request, not read yet: it is read only after the caller is authorized.
pub(super) struct Body(Request);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Body, Infallible> {
        Ok(Body(request))
    }
}

impl Body {
    /// Reads the whole body, in bounded size and time; one that is announced as too large is not read at all.
    ///
    /// # Errors
    /// 413 when it is too large, 408 when it takes too long, 400 when it breaks off.
    pub(super) async fn read(self) -> Result<Bytes, Problem> {
        let length = self.0.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > limits::BODY as u64) {
            let detail = format!("expected at most {} bytes", limits::BODY);
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
        }
        let bytes = timeout(limits::BODY_TIME, Bytes::from_request(self.0, &())).await;
        let late = |_| {
            let seconds = limits::BODY_TIME.as_secs();
            let detail = format!("expected the body within {seconds} s");
            Problem::new(StatusCode::REQUEST_TIMEOUT, detail)
        };
        let broken = |error: BytesRejection| Problem::new(error.status(), error.body_text());
        bytes.map_err(late)?.map_err(broken)
    }
}

/// `?from=FORWARDER`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct From {
    pub(super) from: Option<String>,
}

/// `If-Match: "RESOURCE VERSION"`; `*` and no such header mean any.
pub(super) fn if_match(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::IF_MATCH)?.to_str().ok()?.trim();
    let version = value.trim_start_matches("W/").trim_matches('"');
    (version != "*").then(|| version.to_owned())
}
