//! Link-state database of this node, shared in memory by all writers and readers: no file and no
//! network in between.
//!
//! ```text
//! failover (an end falls) --.                    .--> flooding (own reports, by generation)
//! routing  (ends observed) --+--> LinkStates ----+--> routing, failover (reports of others)
//! flooding (peer reports) -'    (one mutex)     '--> snapshot (files, debounced)
//! ```
//! The lock is held for one step of the database, never while waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use linkstate::{
    End, Generations, LimitExceeded, Lsdb, Observation, Reason, Report, Sequence, State,
};
use nix::time::{ClockId, clock_gettime};
use tokio::sync::watch;

use verdicts::Verdicts;

mod local;
mod remote;
pub mod snapshot;
#[cfg(test)]
mod tests;
mod verdicts;

pub use local::{Catchup, LocalChange};
pub use verdicts::Judged;

/// Node by Forwarder key, from the desired state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owners {
    /// Node by Forwarder key.
    pub node_by_forwarder: BTreeMap<String, String>,
    /// False while Forwarders may be missing.
    pub is_complete: bool,
}

impl Owners {
    /// Node of a Forwarder.
    pub fn node_of(&self, forwarder: &str) -> Option<&str> {
        self.node_by_forwarder.get(forwarder).map(String::as_str)
    }
}

/// Link end: key of the Forwarder, id of the link.
pub type EndKey = (String, String);

/// Report of another node that became the valid one of a Forwarder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Key of the Forwarder.
    pub forwarder: String,
    /// Links whose end is worse than before: see [`Report::fallen`].
    pub fallen: Vec<String>,
}

/// Follower of other nodes' valid reports.
pub trait Follower: Send + Sync {
    /// Called when the valid report of a Forwarder changed.
    fn report_changed(&self, accepted: &Accepted);
}

/// Link-state database.
#[derive(Debug)]
pub struct LinkStates {
    node: String,
    inner: Mutex<Inner>,
    /// Number of changes of own reports.
    generation: watch::Sender<u64>,
    /// Wakes the snapshot writer when files are outdated.
    has_unsaved: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    lsdb: Lsdb,
    owners: Arc<Owners>,
    /// Last sequence of this node, over all its Forwarders.
    last: Sequence,
    generations: Generations,
    /// Forwarders that this process has reported.
    published: BTreeSet<String>,
    /// Number of the last down event by link end: an earlier observation does not raise the end.
    fallen: BTreeMap<EndKey, u64>,
    verdicts: Verdicts,
    /// Current connection by peer.
    sessions: BTreeMap<String, Session>,
    /// Forwarders whose file is outdated.
    unsaved: BTreeSet<String>,
}

#[derive(Debug)]
struct Session {
    id: u64,
    /// Forwarders that were reported on this connection.
    confirmed: BTreeSet<String>,
}

impl LinkStates {
    /// Database of the node called `node`, with the `reports` that an earlier daemon process left.
    /// `incarnation` increases from start to start, such as a timestamp.
    pub fn new(node: &str, reports: Vec<Report>, incarnation: u64) -> LinkStates {
        let mut inner = Inner::default();
        for report in reports {
            let forwarder = report.forwarder.clone();
            let is_own = report.origin == node;
            // Reports beyond the limits of one origin are dropped.
            let report = Arc::new(report);
            if inner.lsdb.merge(Arc::clone(&report)) == Ok(true) && is_own {
                inner.verdicts.continue_from(&report);
                inner.generations.touch(&forwarder);
            }
        }
        let highest = inner.lsdb.highest(node);
        inner.last = Sequence {
            incarnation: incarnation.max(highest.incarnation.saturating_add(1)),
            ..highest
        };
        LinkStates {
            node: node.to_owned(),
            generation: watch::Sender::new(inner.generations.last()),
            has_unsaved: Condvar::new(),
            inner: Mutex::new(inner),
        }
    }

    /// Name of this node.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Receiver of the generation of own reports.
    pub fn generations(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Replaces the owners from the desired state, before the engine reports on new Forwarders.
    /// Returns the Forwarders whose valid report changed by it.
    pub fn set_owners(&self, owners: Owners) -> BTreeSet<String> {
        let mut inner = self.lock();
        let before = std::mem::replace(&mut inner.owners, Arc::new(owners));
        let owners = Arc::clone(&inner.owners);
        if *before == *owners {
            return BTreeSet::new();
        }
        let names = before.node_by_forwarder.keys();
        let names = names.chain(owners.node_by_forwarder.keys());
        let moved = names.filter(|name| before.node_of(name) != owners.node_of(name));
        let mut changed: BTreeSet<String> = moved.cloned().collect();
        for report in inner.own(&self.node) {
            let owner = owners.node_of(&report.forwarder);
            let is_over = owner.map_or(owners.is_complete, |owner| owner != self.node);
            if is_over {
                inner.withdraw_own(&self.node, &report.forwarder);
            }
        }
        if owners.is_complete {
            // The new generation sends the complete set to peers.
            inner.generations.advance();
            let nodes = owners.node_by_forwarder.values();
            let nodes: BTreeSet<&str> = nodes.map(String::as_str).collect();
            let Inner {
                lsdb,
                sessions,
                unsaved,
                ..
            } = &mut *inner;
            let stands = |origin: &str| {
                origin == self.node || nodes.contains(origin) || sessions.contains_key(origin)
            };
            unsaved.extend(lsdb.retain_origins(stands));
            // Files of deleted Forwarders are deleted too.
            let reports = lsdb.reports().map(|report| &report.forwarder);
            let gone = reports.filter(|name| owners.node_of(name).is_none());
            unsaved.extend(gone.cloned());
        }
        inner.unsaved.extend(changed.iter().cloned());
        self.announce(inner);
        changed.retain(|name| owners.node_of(name) != Some(self.node.as_str()));
        changed
    }

    /// Publishes the ends of an own Forwarder, observed at `now` (ms, monotonic) by an observer
    /// that has handled all events up to number `through`. The verdict of the liveness protocol lowers them. An absent link is
    /// withdrawn. False when nothing changed.
    ///
    /// # Errors
    /// [`LimitExceeded`]: the limits that other nodes accept are exceeded.
    pub fn publish(
        &self,
        forwarder: &str,
        observed: &BTreeMap<String, impl Into<Observation> + Copy>,
        through: u64,
        now: u64,
    ) -> Result<bool, LimitExceeded> {
        let mut inner = self.lock();
        let before = inner.lsdb.get(&self.node, forwarder).cloned();
        let before_of = |id: &String| before.as_ref().and_then(|before| before.ends.get(id));
        let mut ends = BTreeMap::new();
        for (id, observation) in observed {
            let observation: Observation = (*observation).into();
            let key = (forwarder.to_owned(), id.clone());
            let is_older = inner.fallen.get(&key).is_some_and(|event| *event > through);
            let end = match before_of(id) {
                Some(before) if is_older && observation.state.passes() => {
                    before.with_mtu(observation.mtu)
                }
                before => {
                    let verdict = inner.verdicts.of(forwarder, id);
                    End::composed(before, observation, verdict, now)
                }
            };
            if !is_older {
                inner.fallen.remove(&key);
            }
            ends.insert(id.clone(), end);
        }
        inner.verdicts.retain(forwarder, |id| ends.contains_key(id));
        let is_same = before.as_ref().is_some_and(|before| before.ends == ends);
        if is_same && inner.published.contains(forwarder) {
            return Ok(false);
        }
        inner.replace_own(&self.node, forwarder, ends)?;
        inner.published.insert(forwarder.to_owned());
        self.announce(inner);
        Ok(true)
    }

    /// Publishes link ends whose interface went down in event number `event` at `now` (ms, monotonic). An end that is down already
    /// stays as it is.
    pub fn fall(&self, ends: &[(EndKey, Reason)], event: u64, now: u64) {
        let mut inner = self.lock();
        let mut by_forwarder: BTreeMap<&str, Vec<(&str, Reason)>> = BTreeMap::new();
        for ((forwarder, link), reason) in ends {
            let all = by_forwarder.entry(forwarder).or_default();
            all.push((link.as_str(), *reason));
            inner
                .fallen
                .insert((forwarder.clone(), link.clone()), event);
        }
        for (forwarder, fallen) in by_forwarder {
            let Some(before) = inner.lsdb.get(&self.node, forwarder).cloned() else {
                continue;
            };
            let mut ends = before.ends.clone();
            for (link, reason) in fallen {
                if let Some(end) = ends.get_mut(link).filter(|end| !end.is_down()) {
                    *end = End::observed(Some(&*end), State::Down, reason, now);
                }
            }
            if ends != before.ends {
                // The number of links is unchanged, so no limit is exceeded.
                let _ = inner.replace_own(&self.node, forwarder, ends);
            }
        }
        self.announce(inner);
    }

    /// Withdraws this node's report of a Forwarder.
    pub fn withdraw(&self, forwarder: &str) {
        let mut inner = self.lock();
        inner.withdraw_own(&self.node, forwarder);
        self.announce(inner);
    }

    /// Valid report of a Forwarder: that of its own node.
    pub fn valid(&self, forwarder: &str) -> Option<Arc<Report>> {
        let inner = self.lock();
        let node = inner.owners.node_of(forwarder)?;
        inner.lsdb.get(node, forwarder).cloned()
    }

    /// Last report of this node on a Forwarder, also of an earlier daemon process.
    pub fn own(&self, forwarder: &str) -> Option<Arc<Report>> {
        self.lock().lsdb.get(&self.node, forwarder).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every step leaves the database whole, so a panic of another thread does not corrupt it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notifies peers and the snapshot writer after a step.
    fn announce(&self, inner: MutexGuard<'_, Inner>) {
        let generation = inner.generations.last();
        let has_unsaved = !inner.unsaved.is_empty();
        drop(inner);
        self.generation.send_if_modified(|last| {
            let is_newer = *last < generation;
            *last = generation.max(*last);
            is_newer
        });
        if has_unsaved {
            self.has_unsaved.notify_all();
        }
    }
}

impl Inner {
    fn own(&self, node: &str) -> Vec<Arc<Report>> {
        let own = self.lsdb.of_origin(node);
        own.map(|(_, report)| Arc::clone(report)).collect()
    }

    fn replace_own(
        &mut self,
        node: &str,
        forwarder: &str,
        ends: BTreeMap<String, End>,
    ) -> Result<(), LimitExceeded> {
        self.last = self.last.next();
        let report = Report {
            origin: node.to_owned(),
            forwarder: forwarder.to_owned(),
            sequence: self.last,
            ends,
        };
        self.lsdb.merge(Arc::new(report))?;
        self.generations.touch(forwarder);
        self.unsaved.insert(forwarder.to_owned());
        Ok(())
    }

    fn withdraw_own(&mut self, node: &str, forwarder: &str) {
        if self.lsdb.get(node, forwarder).is_none() {
            return;
        }
        self.last = self.last.next();
        self.lsdb.withdraw(node, forwarder, self.last);
        self.published.remove(forwarder);
        self.fallen.retain(|(name, _), _| name != forwarder);
        self.verdicts.retain(forwarder, |_| false);
        self.generations.withdraw(forwarder);
        self.unsaved.insert(forwarder.to_owned());
    }
}

/// Milliseconds since boot, including suspend: comparable across restarts of the daemon.
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map(std::time::Duration::from);
    // The clock always exists.
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}
