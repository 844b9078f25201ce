//! Errors of requests to the API server.

use std::time::Duration;

use ::telemetry::chain;
use thiserror::Error;

use super::events::shortened;

/// Largest message about a failure in a status, in bytes.
const TOLD_MAX: usize = 512;

/// Failed request to the API server.
#[derive(Debug, Error)]
pub enum Error {
    /// The API server refused or was unreachable.
    #[error("failed to {} {kind} {name}", what(verb))]
    Request {
        /// Verb of the request.
        verb: &'static str,
        /// Kind of the object.
        kind: &'static str,
        /// Name of the object.
        name: String,
        /// Reason.
        #[source]
        source: Box<kube::Error>,
    },
    /// No answer in time.
    #[error("failed to {} {kind} {name}: no answer within {limit:?}", what(verb))]
    TimedOut {
        /// Verb of the request.
        verb: &'static str,
        /// Kind of the object.
        kind: &'static str,
        /// Name of the object.
        name: String,
        /// Timeout.
        limit: Duration,
    },
    /// No free VNI range was found.
    #[error("failed to claim {missing} more ranges of VNIs")]
    NoRange {
        /// Number of missing ranges.
        missing: usize,
    },
}

impl Error {
    /// Another writer was faster, or the object is gone: observe again.
    pub fn is_conflict(&self) -> bool {
        matches!(self.code(), Some(404 | 409 | 410))
    }

    /// The object does not exist.
    pub fn is_absent(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_not_found)
    }

    /// An object of this name exists already.
    pub fn is_taken(&self) -> bool {
        self.status()
            .is_some_and(kube::core::Status::is_already_exists)
    }

    /// The API server cannot apply to the stored object: its fields have other types than the
    /// schema.
    pub(super) fn is_mistyped(&self) -> bool {
        self.status().is_some_and(|status| {
            status.code == 500
                && status
                    .message
                    .contains("failed to create typed live object")
        })
    }

    /// The object is too large for the API server or etcd, permanently.
    pub fn is_too_large(&self) -> bool {
        let says_so = |status: &kube::core::Status| {
            let words = [
                "request is too large",
                "larger than max",
                "Request entity too large",
            ];
            status.code == 413 || words.iter().any(|words| status.message.contains(words))
        };
        self.status().is_some_and(says_so)
    }

    /// HTTP status of the answer, where there was one.
    pub fn code(&self) -> Option<u16> {
        self.status().map(|status| status.code)
    }

    /// Reason in one CamelCase word of a fixed set, for a metric.
    pub fn reason(&self) -> &'static str {
        if self.is_too_large() {
            return "TooLarge";
        }
        match self.code() {
            Some(403) => "Forbidden",
            Some(429) => "TooManyRequests",
            Some(400..500) => "Refused",
            Some(_) => "ServerError",
            None => match self {
                Error::NoRange { .. } => "NoRange",
                Error::TimedOut { .. } => "TimedOut",
                Error::Request { .. } => "Unreachable",
            },
        }
    }

    /// True when a later retry may succeed without a change of configuration.
    pub fn is_transient(&self) -> bool {
        match self.status() {
            Some(status) => (status.code == 429 || status.code >= 500) && !self.is_too_large(),
            None => true,
        }
    }

    /// Message of the API server, for users without access to the log.
    pub fn told(&self) -> String {
        let said = self.status().map(|status| status.message.as_str());
        let text = match said.filter(|said| !said.is_empty()) {
            Some(said) => format!("{self}: {said}"),
            None => chain(self),
        };
        shortened(&text, TOLD_MAX).to_owned()
    }

    fn status(&self) -> Option<&kube::core::Status> {
        match self {
            Error::Request { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            Error::TimedOut { .. } | Error::NoRange { .. } => None,
        }
    }
}

/// Verb as used in a sentence.
fn what(verb: &str) -> &str {
    match verb {
        "status" => "write the status of",
        verb => verb,
    }
}
