//! Dispatch of the plugin's requests.

use cni::known;
use cni::node_protocol::{Claim, Key, Reply, Request};

use super::AttachService;
use crate::attach::leases::{Phase, Record};
use crate::attach::pod_links::PodWiring;
use crate::error::Error;

/// Answer to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Final answer.
    Now(Reply),
    /// Pending answer that depends on an unknown pod, with the reason: worth a retry after a
    /// change.
    Awaited(String),
}

impl<W: PodWiring> AttachService<W> {
    /// Answers one request. `plugin` is the process id of the plugin.
    pub fn answer(&self, request: &Request, plugin: Option<i32>) -> Reply {
        match self.ask(request, plugin, true) {
            Answer::Now(reply) => reply,
            Answer::Awaited(reason) => self.give_up(request, reason),
        }
    }

    /// Final answer to a request that waited long enough for its pod.
    pub fn give_up(&self, request: &Request, reason: String) -> Reply {
        match request {
            Request::Claim(claim) => self.in_doubt(claim, reason),
            _ => Reply::TryLater { reason },
        }
    }

    /// Answer while the owner of a pod is unknown: the same as without a daemon.
    pub(super) fn in_doubt(&self, claim: &Claim, reason: String) -> Reply {
        let state_dir = self.state().book.state_dir().to_owned();
        if !known::passes(&state_dir, claim) {
            return Reply::TryLater { reason };
        }
        let container = &claim.key.container_id;
        tracing::info!(
            container,
            reason,
            "pod passed through, known not to be attached"
        );
        Reply::NotOurs
    }

    /// Answers one request, or returns the reason for a wait. `is_first` is false for a retry,
    /// which does not ask the API server.
    pub fn ask(&self, request: &Request, plugin: Option<i32>, is_first: bool) -> Answer {
        let answered = match request {
            Request::Claim(claim) => return self.ask_claim(claim, plugin, is_first),
            Request::Confirm { key } => self.confirm(key),
            Request::Abort { key } => self.abort(key),
            Request::Release { key, netns, pod } => self.release(key).and_then(|mut released| {
                released.extend(self.release_live(netns.as_deref(), pod.as_ref())?);
                Ok(Reply::Released(released))
            }),
            Request::Check { key } => Ok(self.check(key)),
            Request::Collect { network, valid } => self.collect(network, valid),
            Request::Status => Ok(self.status()),
        };
        Answer::Now(answered.unwrap_or_else(|error| later(&error)))
    }

    fn ask_claim(&self, claim: &Claim, plugin: Option<i32>, is_first: bool) -> Answer {
        let answered = self.claim(claim, plugin, is_first);
        answered.unwrap_or_else(|error| Answer::Now(later(&error)))
    }

    fn confirm(&self, key: &Key) -> Result<Reply, Error> {
        let _turn = self.wait_for(key);
        let lease = self.state().book.leases().get(key).cloned();
        match lease.as_ref().map(|lease| (lease.phase, lease)) {
            Some((Phase::Pending, lease)) => {
                self.state()
                    .book
                    .record(Record::Confirmed { key: key.clone() })?;
                self.changed();
                self.tell_attached(lease);
                Ok(Reply::Done)
            }
            Some((Phase::Confirmed, _)) => Ok(Reply::Done),
            Some((Phase::Releasing, _)) | None => Ok(Reply::TryLater {
                reason: "the claim was given up meanwhile".to_owned(),
            }),
        }
    }

    /// The plugin has undone its part: equal to a DEL, but only of an unconfirmed claim.
    fn abort(&self, key: &Key) -> Result<Reply, Error> {
        let _turn = self.wait_for(key);
        let lease = self.state().book.leases().get(key).cloned();
        if let Some(lease) = lease.filter(|lease| lease.phase != Phase::Confirmed) {
            self.free(&lease)?;
        }
        Ok(Reply::Done)
    }

    fn check(&self, key: &Key) -> Reply {
        match self.state().book.leases().get(key) {
            Some(lease) if lease.phase == Phase::Confirmed => Reply::Lease(lease.attachments()),
            _ => Reply::NoLease,
        }
    }
}

fn later(error: &Error) -> Reply {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "failed to answer the plugin"
    );
    Reply::TryLater {
        reason: error.to_string(),
    }
}
