//! Routes of metrics and probes.

use crate::{Check, Probes, scrape::Scraper};
use axum::{
    Router,
    extract::{RawQuery, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

/// Media type of the text format of Prometheus.
const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Routes `/metrics`, with the text that `scrape` returns, and `/livez`, `/readyz`, `/healthz`, which take `?verbose`.
///
/// `scrape` runs on a thread of its own, once for all requests that wait, until the router is dropped.
pub fn router(scrape: impl Fn() -> String + Send + 'static, probes: Probes) -> Router {
    let scraper = Scraper::start(scrape);
    let live = |State(probes): State<Probes>, RawQuery(query): RawQuery| async move {
        answer("livez", &probes.live(), query.as_deref())
    };
    let health = |State(probes): State<Probes>, RawQuery(query): RawQuery| async move {
        answer("healthz", &probes.live(), query.as_deref())
    };
    let ready = |State(probes): State<Probes>, RawQuery(query): RawQuery| async move {
        answer("readyz", &probes.ready(), query.as_deref())
    };
    let metrics = |State(scraper): State<Scraper>| async move {
        match scraper.text().await {
            Some(text) => ([(header::CONTENT_TYPE, MEDIA_TYPE)], text).into_response(),
            None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    };
    Router::new()
        .route("/livez", get(live))
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .with_state(probes)
        .merge(
            Router::new()
                .route("/metrics", get(metrics))
                .with_state(scraper),
        )
}

/// An answer in the form of the API server: `ok`, or each check on a line when one fails or the caller wants it.
fn answer(name: &str, checks: &[(&str, Check)], query: Option<&str>) -> Response {
    let is_verbose = query.is_some_and(|query| query.split('&').any(is_verbose));
    let has_failed = checks.iter().any(|(_, check)| check.has_failed());
    if !has_failed && !is_verbose {
        return "ok".into_response();
    }
    let line = |(name, check): &(&str, Check)| match check {
        Check::Ok => format!("[+]{name} ok\n"),
        Check::Warning(reason) => format!("[!]{name} warning: {reason}\n"),
        Check::Failed(reason) => format!("[-]{name} failed: {reason}\n"),
    };
    let mut text: String = checks.iter().map(line).collect();
    let (status, end) = match has_failed {
        false => (StatusCode::OK, "passed"),
        true => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
    };
    text += &format!("{name} check {end}\n");
    (status, text).into_response()
}

fn is_verbose(parameter: &str) -> bool {
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    name == "verbose" && !["false", "0"].contains(&value)
}
