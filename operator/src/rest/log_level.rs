//! The log level: read and changed while the operator runs.

use axum::{Json, extract::State, http::HeaderMap};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Rest, access::Right, extract::Body, problem::Problem};

/// Directives of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LogLevel {
    /// A level (`off`, `error`, `warn`, `info`, `debug`, `trace`), or several with modules: `info,operator::rest=debug`.
    level: String,
}

const PATH: &str = "/loglevel";

#[utoipa::path(
    get, path = "/loglevel", operation_id = "readLogLevel", tag = "operator",
    summary = "What is logged", security((), ("bearer" = [])),
    responses(
        (status = 200, description = "What is logged.", content_type = "application/json", body = ref("#/components/schemas/LogLevel")),
        (status = "default", description = "What is wrong.", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
    )
)]
pub(super) async fn read(
    State(rest): State<Rest>,
    headers: HeaderMap,
) -> Result<Json<LogLevel>, Problem> {
    let right = Right::Path {
        verb: "get",
        path: PATH,
    };
    rest.0.access.allow_read(&headers, right).await?;
    let level = rest.0.logs.level();
    Ok(Json(LogLevel { level }))
}

#[utoipa::path(
    put, path = "/loglevel", operation_id = "changeLogLevel", tag = "operator",
    summary = "Change what this replica logs until it ends", security(("bearer" = [])),
    description = "Needs the right to `put` the path `/loglevel`.",
    request_body(content = ref("#/components/schemas/LogLevel"), content_type = "application/json"),
    responses(
        (status = 200, description = "What is logged from now on.", content_type = "application/json", body = ref("#/components/schemas/LogLevel")),
        (status = 422, description = "This is no level.", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
        (status = "default", description = "What is wrong.", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
    )
)]
pub(super) async fn change(
    State(rest): State<Rest>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<LogLevel>, Problem> {
    let right = Right::Path {
        verb: "put",
        path: PATH,
    };
    let caller = rest.0.access.allow(&headers, right).await?;
    let body = body.read().await?;
    let wanted: LogLevel = serde_json::from_slice(&body)
        .map_err(|error| Problem::field("", format!("expected {{\"level\": ...}}: {error}")))?;
    let level = rest.0.logs.set_level(&wanted.level);
    let level = level.map_err(|error| Problem::field("level", error.to_string()))?;
    tracing::info!(user = caller.user, level, "log filter changed");
    Ok(Json(LogLevel { level }))
}
