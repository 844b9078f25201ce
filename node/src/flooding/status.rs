//! How the exchange is doing, for probes and metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How the exchange is doing, now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// The nodes that share a topology with this one, by name.
    pub peers: BTreeMap<String, Peer>,
    /// What keeps the exchange from working at all, by part (`key`, `port`, `files`); empty where it works.
    pub problems: BTreeMap<&'static str, String>,
}

/// How it is with one peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// It takes our reports.
    pub is_told: bool,
    /// It sends its reports.
    pub is_heard: bool,
    /// What was wrong last; none while both ways work.
    pub problem: Option<String>,
}

impl Peer {
    /// True while reports go both ways.
    pub fn is_connected(&self) -> bool {
        self.is_told && self.is_heard
    }
}

impl Overview {
    /// Peers with which reports go both ways.
    pub fn connected_count(&self) -> usize {
        let peers = self.peers.values();
        peers.filter(|peer| peer.is_connected()).count()
    }

    /// All peers.
    pub fn total_count(&self) -> usize {
        self.peers.len()
    }
}

/// How the exchange is doing, kept up to date by it.
#[derive(Debug, Default)]
pub struct Status(Mutex<Overview>);

impl Status {
    /// How it is now.
    pub fn now(&self) -> Overview {
        self.lock().clone()
    }

    /// Sets who the peers are.
    pub(super) fn set_peers<'a>(&self, names: impl Iterator<Item = &'a String>) {
        let mut overview = self.lock();
        let mut known = std::mem::take(&mut overview.peers);
        overview.peers = names
            .map(|name| (name.clone(), known.remove(name).unwrap_or_default()))
            .collect();
    }

    /// Changes what is known of a peer; a node that is none is not taken up.
    pub(super) fn set_peer(&self, name: &str, change: impl FnOnce(&mut Peer)) {
        if let Some(peer) = self.lock().peers.get_mut(name) {
            change(peer);
            if peer.is_connected() {
                peer.problem = None;
            }
        }
    }

    /// Says what is wrong with a peer. True when that was not said before.
    pub(super) fn is_news(&self, name: &str, problem: &str) -> bool {
        let mut is_news = false;
        self.set_peer(name, |peer| {
            is_news = peer.problem.as_deref() != Some(problem);
            peer.problem = Some(problem.to_owned());
        });
        is_news
    }

    /// Says what is wrong with a part, and logs it once.
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
                tracing::info!(part, "is well again");
                overview.problems.remove(part);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Overview> {
        // Every change leaves the value whole, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
