//! What to believe of what is heard, and what of it the files should hold. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::error::Error;
use super::message::Message;
use super::told::Own;
use super::view::View;
use crate::link_state::Report;

/// Most links that are kept of one peer, over all its Forwarders.
const MAX_LINKS: usize = 1 << 18;
/// Most Forwarders that are kept of one peer.
const MAX_FORWARDERS: usize = 1 << 14;
/// Longest key of a Forwarder in bytes: a namespace, a dot, an object's name.
const MAX_KEY: usize = 63 + 1 + 253;

/// What is to be done to the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// The file of a Forwarder is to hold this.
    Write(String, Arc<Report>),
    /// The file of a Forwarder is to go.
    Remove(String),
}

/// The connection on which a peer is heard.
#[derive(Debug)]
struct Session {
    id: u64,
    /// Forwarders that were reported on it.
    confirmed: BTreeSet<String>,
}

/// All that is known.
#[derive(Debug, Default)]
pub(super) struct Store {
    node: String,
    view: Arc<View>,
    /// What the files hold, ours and others'.
    files: BTreeMap<String, Arc<Report>>,
    /// What each peer said last, also of Forwarders that are not known to be its own, or not yet.
    said: BTreeMap<String, BTreeMap<String, Arc<Report>>>,
    sessions: BTreeMap<String, Session>,
}

impl Store {
    /// A store of the node called `node`, with the files that a daemon before this one left.
    pub(super) fn new(node: &str, files: BTreeMap<String, Report>) -> Store {
        let mut store = Store {
            node: node.to_owned(),
            ..Store::default()
        };
        for (forwarder, report) in files {
            let report = Arc::new(report);
            if report.origin != node {
                let said = store.said.entry(report.origin.clone()).or_default();
                said.insert(forwarder.clone(), Arc::clone(&report));
            }
            store.files.insert(forwarder, report);
        }
        store
    }

    /// Takes a new desired state.
    pub(super) fn set_view(&mut self, view: Arc<View>) -> Vec<Action> {
        self.view = view;
        let (view, sessions) = (&self.view, &self.sessions);
        self.said.retain(|peer, _| {
            !view.is_complete || view.peers.contains_key(peer) || sessions.contains_key(peer)
        });
        self.settle_all()
    }

    /// Takes what a file was seen to hold; none where there is no file.
    pub(super) fn see(&mut self, forwarder: &str, report: Option<Report>) -> Vec<Action> {
        match report {
            Some(report)
                if self
                    .files
                    .get(forwarder)
                    .is_some_and(|known| **known == report) =>
            {
                return Vec::new();
            }
            Some(report) => drop(self.files.insert(forwarder.to_owned(), Arc::new(report))),
            None => drop(self.files.remove(forwarder)),
        }
        self.settle([forwarder.to_owned()])
    }

    /// Takes what all files were seen to hold.
    pub(super) fn see_all(&mut self, files: BTreeMap<String, Report>) -> Vec<Action> {
        let files = files.into_iter();
        self.files = files
            .map(|(name, report)| (name, Arc::new(report)))
            .collect();
        self.settle_all()
    }

    /// A peer is heard on a new connection, which counts from now on.
    pub(super) fn open(&mut self, peer: &str, id: u64) {
        let session = Session {
            id,
            confirmed: BTreeSet::new(),
        };
        self.sessions.insert(peer.to_owned(), session);
    }

    /// A connection ended; what was heard on it stands. True when it was the one that counted.
    pub(super) fn close(&mut self, peer: &str, id: u64) -> bool {
        let counts = self
            .sessions
            .get(peer)
            .is_some_and(|session| session.id == id);
        if counts {
            self.sessions.remove(peer);
        }
        counts
    }

    /// Takes what a peer says on a connection; nothing where a newer one counts.
    ///
    /// # Errors
    /// When it is nothing that a peer may say. The connection is to be closed then.
    pub(super) fn hear(
        &mut self,
        peer: &str,
        id: u64,
        message: Message,
    ) -> Result<Vec<Action>, Error> {
        let Some(session) = self
            .sessions
            .get_mut(peer)
            .filter(|session| session.id == id)
        else {
            return Ok(Vec::new());
        };
        let said = self.said.entry(peer.to_owned()).or_default();
        let touched = match message {
            Message::Report {
                forwarder,
                seq,
                links,
            } => {
                check(&forwarder)?;
                let report = Report {
                    origin: peer.to_owned(),
                    seq,
                    links,
                };
                said.insert(forwarder.clone(), Arc::new(report));
                if let Err(error) = limit(said) {
                    said.remove(&forwarder);
                    return Err(error);
                }
                session.confirmed.insert(forwarder.clone());
                vec![forwarder]
            }
            Message::Withdrawn { forwarder } => {
                said.remove(&forwarder);
                session.confirmed.remove(&forwarder);
                vec![forwarder]
            }
            Message::Whole { unsaid } => {
                let stands =
                    |name: &String| session.confirmed.contains(name) || unsaid.contains(name);
                let gone = said.extract_if(.., |name, _| !stands(name));
                gone.map(|(name, _)| name).collect()
            }
            Message::Unknown => Vec::new(),
            Message::Hello { .. } | Message::Ping | Message::Pong => {
                let message = message.kind();
                return Err(Error::Unexpected { message });
            }
        };
        Ok(self.settle(touched))
    }

    /// What this node has to tell.
    pub(super) fn own(&self) -> Own {
        let reports: BTreeMap<_, _> = self
            .files
            .iter()
            .filter(|(name, report)| report.origin == self.node && self.is_mine(name))
            .map(|(name, report)| (name.clone(), Arc::clone(report)))
            .collect();
        let mine = self.view.node_by_forwarder.iter();
        let mine = mine.filter(|(_, node)| **node == self.node);
        let unsaid = mine.map(|(name, _)| name.clone());
        Own {
            unsaid: unsaid.filter(|name| !reports.contains_key(name)).collect(),
            is_whole: self.view.is_complete,
            reports,
        }
    }

    /// Whether the engine of this node says what the file of a Forwarder holds.
    fn is_mine(&self, forwarder: &str) -> bool {
        match self.view.node_of(forwarder) {
            Some(node) => node == self.node,
            // Until everything is known, it may be.
            None => !self.view.is_complete && self.has_said(&self.node, forwarder),
        }
    }

    fn has_said(&self, origin: &str, forwarder: &str) -> bool {
        let report = self.files.get(forwarder);
        report.is_some_and(|report| report.origin == origin)
    }

    fn settle_all(&mut self) -> Vec<Action> {
        let view = Arc::clone(&self.view);
        let names = view.node_by_forwarder.keys().chain(self.files.keys());
        let names: BTreeSet<String> = names.cloned().collect();
        self.settle(names)
    }

    /// What is to be done so that the files of these Forwarders hold what is believed.
    fn settle(&mut self, forwarders: impl IntoIterator<Item = String>) -> Vec<Action> {
        let mut actions = Vec::new();
        for name in forwarders {
            if self.is_mine(&name) {
                continue;
            }
            match (self.believed(&name), self.files.get(&name)) {
                (Some(believed), held) if held != Some(&believed) => {
                    self.files.insert(name.clone(), Arc::clone(&believed));
                    actions.push(Action::Write(name, believed));
                }
                (None, Some(held)) if self.is_over(&name, held) => {
                    self.files.remove(&name);
                    actions.push(Action::Remove(name));
                }
                _ => {}
            }
        }
        actions
    }

    /// What the node that a Forwarder is on said of it.
    fn believed(&self, forwarder: &str) -> Option<Arc<Report>> {
        let node = self.view.node_of(forwarder)?;
        self.said.get(node)?.get(forwarder).cloned()
    }

    /// Whether a report that nobody stands by any more may go.
    fn is_over(&self, forwarder: &str, held: &Report) -> bool {
        // Nothing is removed for what may only not be known yet.
        self.view.is_complete || self.view.node_of(forwarder) == Some(&held.origin)
    }
}

/// Keys become names of files.
fn check(forwarder: &str) -> Result<(), Error> {
    let is_plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    let is_key = (1..=MAX_KEY).contains(&forwarder.len())
        && forwarder.bytes().all(is_plain)
        && !forwarder.starts_with('.');
    if is_key {
        return Ok(());
    }
    Err(Error::Name {
        name: forwarder.chars().take(MAX_KEY).collect(),
    })
}

fn limit(said: &BTreeMap<String, Arc<Report>>) -> Result<(), Error> {
    let links: usize = said.values().map(|report| report.links.len()).sum();
    for (what, count, limit) in [
        ("Forwarders", said.len(), MAX_FORWARDERS),
        ("links", links, MAX_LINKS),
    ] {
        if count > limit {
            return Err(Error::TooMany { what, limit });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
