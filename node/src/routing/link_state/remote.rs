//! Reports of other nodes, received on connections of peers; the newest connection of a peer
//! counts.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use linkstate::{LimitExceeded, Report, Sequence};

use super::{Accepted, Inner, LinkStates, Session};

impl LinkStates {
    /// Highest known sequence number of a node's reports.
    pub fn highest_of(&self, node: &str) -> Sequence {
        self.lock().lsdb.highest(node)
    }

    /// Re-issues all own reports above `known`: a peer has newer ones, from a time that this node
    /// has lost.
    pub fn raise(&self, known: Sequence) {
        let mut inner = self.lock();
        let is_forgotten = match known.incarnation.cmp(&inner.last.incarnation) {
            Ordering::Less => false,
            // Two starts with the same incarnation, as when the clock was set back between them.
            Ordering::Equal => known > inner.last,
            Ordering::Greater => true,
        };
        // Above the highest there is none; a peer takes what is said on a new connection.
        let above = known.incarnation.checked_add(1).filter(|_| is_forgotten);
        let Some(incarnation) = above else {
            return;
        };
        inner.last.incarnation = incarnation;
        for report in inner.own(&self.node) {
            // The number of links is unchanged, so no limit is exceeded.
            let _ = inner.replace_own(&self.node, &report.forwarder, report.ends.clone());
        }
        self.announce(inner);
    }

    /// Opens a connection of a peer, which replaces the earlier one.
    pub fn open(&self, peer: &str, id: u64) {
        let confirmed = BTreeSet::new();
        let session = Session { id, confirmed };
        self.lock().sessions.insert(peer.to_owned(), session);
    }

    /// Closes a connection; its reports stay. True when it was the current one.
    pub fn close(&self, peer: &str, id: u64) -> bool {
        let mut inner = self.lock();
        let counts = inner.is_current(peer, id);
        if counts {
            inner.sessions.remove(peer);
        }
        counts
    }

    /// Takes a report that was received on a connection; `None` when a newer connection exists or
    /// the report is not newer. The first one on a Forwarder counts whatever was known before.
    ///
    /// # Errors
    /// [`LimitExceeded`]: the connection is to be closed.
    pub fn hear(
        &self,
        peer: &str,
        id: u64,
        report: Report,
    ) -> Result<Option<Accepted>, LimitExceeded> {
        let mut inner = self.lock();
        if !inner.is_current(peer, id) || report.origin != peer {
            return Ok(None);
        }
        let forwarder = report.forwarder.clone();
        let before = inner.lsdb.get(peer, &forwarder).cloned();
        let report = Arc::new(report);
        let is_newer = match inner.is_confirmed(peer, &forwarder) {
            true => inner.lsdb.merge(Arc::clone(&report))?,
            false => inner.lsdb.replace(Arc::clone(&report))?,
        };
        if let Some(session) = inner.sessions.get_mut(peer) {
            session.confirmed.insert(forwarder.clone());
        }
        if !is_newer {
            return Ok(None);
        }
        inner.unsaved.insert(forwarder.clone());
        let is_valid = inner.owners.node_of(&forwarder) == Some(peer);
        let fallen = report
            .fallen(before.as_deref())
            .map(str::to_owned)
            .collect();
        self.announce(inner);
        Ok(is_valid.then_some(Accepted { forwarder, fallen }))
    }

    /// Applies a peer's withdrawal of its report on a Forwarder.
    pub fn hear_withdrawn(
        &self,
        peer: &str,
        id: u64,
        forwarder: &str,
        sequence: Sequence,
    ) -> Option<Accepted> {
        let mut inner = self.lock();
        if !inner.is_current(peer, id) {
            return None;
        }
        let before = inner.lsdb.get(peer, forwarder).cloned();
        if before.is_some() && !inner.is_confirmed(peer, forwarder) {
            inner.lsdb.forget(peer, forwarder);
        }
        if !inner.lsdb.withdraw(peer, forwarder, sequence) {
            return None;
        }
        if let Some(session) = inner.sessions.get_mut(peer) {
            session.confirmed.remove(forwarder);
        }
        inner.unsaved.insert(forwarder.to_owned());
        let accepted = inner.absent(peer, forwarder, before.as_deref());
        self.announce(inner);
        accepted
    }

    /// Ends a peer's full synchronisation: its other reports are removed, except those of `pending`
    /// Forwarders, which it has not yet observed.
    pub fn hear_whole(&self, peer: &str, id: u64, pending: &BTreeSet<String>) -> Vec<Accepted> {
        let mut inner = self.lock();
        if !inner.is_current(peer, id) {
            return Vec::new();
        }
        let confirmed = inner.sessions.get(peer).map(|it| it.confirmed.clone());
        let confirmed = confirmed.unwrap_or_default();
        let stands = |name: &str| confirmed.contains(name) || pending.contains(name);
        let before = inner.lsdb.of_origin(peer).filter(|(name, _)| !stands(name));
        let before: Vec<(String, Arc<Report>)> = before
            .map(|(name, report)| (name.to_owned(), Arc::clone(report)))
            .collect();
        inner.lsdb.retain(peer, stands);
        let mut accepted = Vec::new();
        for (forwarder, report) in before {
            accepted.extend(inner.absent(peer, &forwarder, Some(&report)));
            inner.unsaved.insert(forwarder);
        }
        self.announce(inner);
        accepted
    }
}

impl Inner {
    fn is_current(&self, peer: &str, id: u64) -> bool {
        let session = self.sessions.get(peer);
        session.is_some_and(|session| session.id == id)
    }

    /// True when a peer reported on the Forwarder on its current connection.
    fn is_confirmed(&self, peer: &str, forwarder: &str) -> bool {
        let session = self.sessions.get(peer);
        session.is_some_and(|session| session.confirmed.contains(forwarder))
    }

    /// Change of the valid report after the report of `peer` was removed.
    fn absent(&self, peer: &str, forwarder: &str, before: Option<&Report>) -> Option<Accepted> {
        let is_valid = self.owners.node_of(forwarder) == Some(peer);
        let nothing = Report::default();
        is_valid.then(|| Accepted {
            forwarder: forwarder.to_owned(),
            fallen: nothing.fallen(before).map(str::to_owned).collect(),
        })
    }
}
