//! The routes of metrics and probes.

use axum::{
    Router,
    extract::{RawQuery, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

use super::{Check, Metrics, Probes};

/// `/metrics`, `/livez`, `/readyz`, `/healthz`; probes take `?verbose`.
pub fn router(metrics: Metrics, probes: Probes) -> Router {
    let live = |State(probes): State<Probes>, RawQuery(query): RawQuery| async move {
        answer("livez", &probes.live(), query.as_deref())
    };
    let health = |State(probes): State<Probes>, RawQuery(query): RawQuery| async move {
        answer("healthz", &probes.live(), query.as_deref())
    };
    let ready = |State(probes): State<Probes>, RawQuery(query): RawQuery| async move {
        answer("readyz", &probes.ready(), query.as_deref())
    };
    let scrape = || async move {
        (
            [(header::CONTENT_TYPE, exposition::MEDIA_TYPE)],
            metrics.text(),
        )
    };
    Router::new()
        .route("/livez", get(live))
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .with_state(probes)
        .route("/metrics", get(scrape))
}

/// As the API server answers: `ok`, or each check on a line when one fails or the asker wants it.
fn answer(name: &str, checks: &[(String, Check)], query: Option<&str>) -> Response {
    let is_verbose = query.is_some_and(|query| query.split('&').any(is_verbose));
    let is_ok = checks.iter().all(|(_, check)| check.is_ok());
    if is_ok && !is_verbose {
        return "ok".into_response();
    }
    let line = |(name, check): &(String, Check)| match check {
        Ok(()) => format!("[+]{name} ok\n"),
        Err(reason) => format!("[-]{name} failed: {reason}\n"),
    };
    let mut text: String = checks.iter().map(line).collect();
    let (status, end) = match is_ok {
        true => (StatusCode::OK, "passed"),
        false => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
    };
    text += &format!("{name} check {end}\n");
    (status, text).into_response()
}

fn is_verbose(parameter: &str) -> bool {
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    name == "verbose" && !["false", "0"].contains(&value)
}
