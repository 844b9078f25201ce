//! Error responses: problem details for HTTP APIs (RFC 9457).

use std::error::Error;

use ::telemetry::chain;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Problem details (RFC 9457), with the fields that are wrong as an extension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Problem {
    /// Always `about:blank`: the status says what kind of problem it is.
    pub(super) r#type: String,
    /// Title of the status.
    pub(super) title: String,
    /// The status code of the answer.
    pub(super) status: u16,
    /// Problem and expected value.
    pub(super) detail: String,
    /// Each field that is wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) errors: Vec<FieldError>,
}

/// One field that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct FieldError {
    /// Where, such as `spec.links[2].weight`; empty for the whole document.
    pub(super) path: String,
    /// Problem and expected value.
    pub(super) message: String,
}

/// The media type of [`Problem`].
pub(super) const MEDIA_TYPE: &str = "application/problem+json";

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem {
            r#type: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
        }
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, detail)
    }

    /// Temporary failure (503): a retry may succeed soon.
    pub(super) fn unavailable(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// Internal error (500): the caller gets no details, the log does.
    pub(super) fn internal(error: &dyn Error) -> Problem {
        tracing::error!(error = chain(error), "REST request failed");
        let detail = "the operator failed to answer; its log says why";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    }

    /// A declaration with these problems.
    pub(super) fn invalid(problems: Vec<crds::Problem>) -> Problem {
        let error = |problem: crds::Problem| FieldError {
            path: problem.path,
            message: problem.message,
        };
        let detail = match problems.len() {
            1 => problems[0].to_string(),
            count => format!("{count} problems; the first: {}", problems[0]),
        };
        Problem {
            errors: problems.into_iter().map(error).collect(),
            ..Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
        }
    }

    /// Rejected declaration, with these problems: nothing is computed.
    pub(super) fn rejected(problems: Vec<crds::Problem>) -> Problem {
        let Problem { detail, errors, .. } = Problem::invalid(problems);
        Problem {
            errors,
            ..Problem::new(
                StatusCode::CONFLICT,
                format!("the topology is rejected: {detail}"),
            )
        }
    }

    /// One field with one problem.
    pub(super) fn field(path: &str, message: impl Into<String>) -> Problem {
        Problem::invalid(vec![crds::Problem::new(path, message)])
    }

    /// Refusal of the API server to a request made for the caller.
    pub(super) fn of_api_server(error: kube::Error) -> Problem {
        let kube::Error::Api(status) = error else {
            return Problem::unreachable(&error);
        };
        let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::BAD_GATEWAY);
        let causes = status
            .details
            .into_iter()
            .flat_map(|details| details.causes);
        let error = |cause: kube::core::response::StatusCause| FieldError {
            path: cause.field,
            message: cause.message,
        };
        Problem {
            errors: causes.map(error).collect(),
            ..Problem::new(code, status.message)
        }
    }

    /// The API server did not answer, or not to what the operator itself asked.
    pub(super) fn unreachable(error: &kube::Error) -> Problem {
        tracing::warn!(error = chain(error), "API server request failed");
        Problem::unavailable("failed to ask the API server; try again")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_string(&self).expect("plain data is JSON");
        let mut response = (status, body).into_response();
        let mut insert = |name, value| {
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(value))
        };
        insert(header::CONTENT_TYPE, MEDIA_TYPE);
        match status {
            StatusCode::UNAUTHORIZED => drop(insert(header::WWW_AUTHENTICATE, "Bearer")),
            StatusCode::SERVICE_UNAVAILABLE => drop(insert(header::RETRY_AFTER, "1")),
            _ => {}
        }
        response
    }
}
