//! Audit log of the API server: requests by user.

use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::ApiServer;
use crate::ensure;

/// One request from the audit log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuditEvent {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, ...
    pub verb: String,
    /// Such as `system:serviceaccount:NAMESPACE:NAME`, or `admin`.
    pub user: String,
    /// As the client names itself.
    pub user_agent: String,
    /// Plural of the kind; empty for paths such as /readyz.
    pub resource: String,
    /// Such as `status`; empty for the object itself.
    pub subresource: String,
    /// Empty for what lies in none.
    pub namespace: String,
    /// Empty for lists, and for objects that get their name from the server.
    pub name: String,
    /// The HTTP status of the answer.
    pub code: u16,
    /// The path and query that were asked for.
    pub uri: String,
}

impl AuditEvent {
    /// True for a request that may change stored objects.
    #[must_use]
    pub fn is_write(&self) -> bool {
        ["create", "update", "patch", "delete", "deletecollection"].contains(&self.verb.as_str())
    }
}

impl ApiServer {
    /// All requests since the first start, oldest first; only with [`crate::Options::audit_log`].
    ///
    /// # Errors
    /// When the server was started without an audit log.
    pub fn audit(&self) -> Result<Vec<AuditEvent>> {
        ensure(self.has_audit_log(), || {
            "started without Options::audit_log".to_owned()
        })?;
        let log = fs::read_to_string(self.path("audit.log")).context("no audit log")?;
        // The last line may be half written.
        Ok(log
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .map(event)
            .collect())
    }
}

fn event(line: Value) -> AuditEvent {
    let text = |path: &str| {
        line.pointer(path)
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned()
    };
    let code = line.pointer("/responseStatus/code").and_then(Value::as_u64);
    AuditEvent {
        verb: text("/verb"),
        user: text("/user/username"),
        user_agent: text("/userAgent"),
        resource: text("/objectRef/resource"),
        subresource: text("/objectRef/subresource"),
        namespace: text("/objectRef/namespace"),
        name: text("/objectRef/name"),
        code: code.and_then(|code| u16::try_from(code).ok()).unwrap_or(0),
        uri: text("/requestURI"),
    }
}
