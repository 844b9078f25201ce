//! Status of flooding, for probes and metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Status of flooding at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// Nodes that share a topology with this one, by name.
    pub peers: BTreeMap<String, Peer>,
    /// Problems that stop all flooding, by part (`key`, `port`, `open-files`); empty without one.
    pub problems: BTreeMap<&'static str, String>,
}

/// Status of one peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// True while our reports are sent to it.
    pub is_told: bool,
    /// True while its reports are received.
    pub is_heard: bool,
    /// Last problem; `None` while both directions work.
    pub problem: Option<String>,
}

impl Peer {
    /// True while reports flow in both directions.
    pub fn is_connected(&self) -> bool {
        self.is_told && self.is_heard
    }
}

impl Overview {
    /// Number of peers with reports in both directions.
    pub fn connected_count(&self) -> usize {
        let peers = self.peers.values();
        peers.filter(|peer| peer.is_connected()).count()
    }

    /// Number of peers.
    pub fn total_count(&self) -> usize {
        self.peers.len()
    }
}

/// Current status of flooding.
#[derive(Debug, Default)]
pub struct Status(Mutex<Overview>);

impl Status {
    /// Copy of the current status.
    pub fn now(&self) -> Overview {
        self.lock().clone()
    }

    /// Replaces the set of peers.
    pub(super) fn set_peers<'a>(&self, names: impl Iterator<Item = &'a String>) {
        let mut overview = self.lock();
        let mut known = std::mem::take(&mut overview.peers);
        overview.peers = names
            .map(|name| (name.clone(), known.remove(name).unwrap_or_default()))
            .collect();
    }

    /// Updates the status of a peer; other nodes are ignored.
    pub(super) fn set_peer(&self, name: &str, change: impl FnOnce(&mut Peer)) {
        if let Some(peer) = self.lock().peers.get_mut(name) {
            change(peer);
            if peer.is_connected() {
                peer.problem = None;
            }
        }
    }

    /// Records the problem of a peer. True when it is a new one.
    pub(super) fn is_news(&self, name: &str, problem: &str) -> bool {
        let mut is_news = false;
        self.set_peer(name, |peer| {
            is_news = peer.problem.as_deref() != Some(problem);
            peer.problem = Some(problem.to_owned());
        });
        is_news
    }

    /// Records the problem of a part, and logs it once.
    pub(super) fn set_problem(&self, part: &'static str, problem: Option<String>) {
        let mut overview = self.lock();
        let before = overview.problems.get(part);
        if before == problem.as_ref() {
            return;
        }
        match problem {
            Some(problem) => {
                tracing::warn!(part, problem, "link states are not exchanged");
                overview.problems.insert(part, problem);
            }
            None => {
                tracing::info!(part, "link states are exchanged again");
                overview.problems.remove(part);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Overview> {
        // Every change leaves the value whole, so a panic of another thread does not corrupt it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
