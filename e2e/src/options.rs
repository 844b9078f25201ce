//! Options of an API server.

use std::time::Duration;

/// Options of an [`ApiServer`](crate::ApiServer), from [`options`](crate::ApiServer::options).
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub(crate) has_audit_log: bool,
    pub(crate) compaction: Option<Duration>,
    pub(crate) more_flags: Vec<String>,
}

impl Options {
    /// Writes every request, without bodies, to the audit log that [`ApiServer::audit`](crate::ApiServer::audit) reads.
    #[must_use]
    pub fn audit_log(mut self) -> Self {
        self.has_audit_log = true;
        self
    }

    /// Forgets old revisions so often: watches from before two such intervals then expire. Default 5 minutes.
    #[must_use]
    pub fn compaction_interval(mut self, interval: Duration) -> Self {
        self.compaction = Some(interval);
        self
    }

    /// One more flag for kube-apiserver, as on its command line.
    #[must_use]
    pub fn flag(mut self, flag: &str) -> Self {
        self.more_flags.push(flag.to_owned());
        self
    }
}
