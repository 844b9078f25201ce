//! Failover: evicts dead links from the next-hop groups at once, independent of the engine's work.
//!
//! ```text
//! kernel -- monitor --> queue --> thread "failover" --> link states (own end is down) --> flooding
//!          flooding ----^               |-> Fib::evict, under the guard of the Forwarder
//!          (a peer's end is down)       '-> mailbox: the engine follows with shortest paths
//! ```
//! The thread takes no lock that is held while objects are loaded, links are created or paths are
//! computed. The guard of a Forwarder is shared only with the programmer of its routes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::{self, JoinHandle};

use dataplane::Fib;
use linkstate::Reason;

use crate::error::Error;
use crate::mailbox::{LinkEvent, Mailbox};
use crate::routing::link_state::{self, Accepted, EndKey, Follower, LinkStates};

/// Interface: namespace and name.
pub type Interface = (String, String);

/// Mutual exclusion of programming and failover of one Forwarder.
#[derive(Debug, Default)]
pub struct Guard {
    lock: Mutex<()>,
    /// Number of the last event by which a link left the groups.
    last: AtomicU64,
}

impl Guard {
    /// Excludes failover while routes are compared and written. `None` when a link has failed after
    /// event number `through`: a table computed from older events would use that link again.
    pub fn enter(&self, through: u64) -> Option<MutexGuard<'_, ()>> {
        let held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        (self.last.load(Ordering::Acquire) <= through).then_some(held)
    }
}

/// Interfaces of the links of this node's Forwarders.
#[derive(Debug, Default)]
pub struct Bindings {
    /// Own link end by interface.
    pub end_by_interface: HashMap<Interface, EndKey>,
    /// Interface by link end of the peer, on this or another node.
    pub interface_by_peer_end: HashMap<EndKey, Interface>,
    /// Guard by namespace.
    pub guards: HashMap<String, Arc<Guard>>,
}

/// Queue of link events, in their order.
#[derive(Debug, Default)]
struct Queue {
    last: u64,
    /// Last event of each interface.
    links: BTreeMap<Interface, LinkEvent>,
    /// Link ends of peers that went down.
    peers: BTreeSet<EndKey>,
    /// Forwarders of other nodes whose report changed.
    reports: BTreeSet<String>,
    is_over: bool,
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.links.is_empty() && self.peers.is_empty() && self.reports.is_empty()
    }
}

/// State of the failover thread, shared with the producers of events.
pub struct Failover {
    fib: Arc<dyn Fib>,
    link_states: Arc<LinkStates>,
    mailbox: Arc<Mailbox>,
    bindings: RwLock<Arc<Bindings>>,
    queue: Mutex<Queue>,
    wake: Condvar,
}

impl std::fmt::Debug for Failover {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Failover").finish_non_exhaustive()
    }
}

impl Failover {
    /// Failover on `fib`, which forwards every event to `mailbox`.
    pub fn new(fib: Arc<dyn Fib>, link_states: Arc<LinkStates>, mailbox: Arc<Mailbox>) -> Failover {
        Failover {
            fib,
            link_states,
            mailbox,
            bindings: RwLock::default(),
            queue: Mutex::default(),
            wake: Condvar::new(),
        }
    }

    /// Replaces the interfaces of this node's Forwarders.
    pub fn bind(&self, bindings: Bindings) {
        *self
            .bindings
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(bindings);
    }

    /// Guard of a namespace.
    pub fn guard(&self, netns: &str) -> Arc<Guard> {
        self.bindings()
            .guards
            .get(netns)
            .cloned()
            .unwrap_or_default()
    }

    /// Queues an event of an interface in a watched namespace.
    pub fn link_changed(&self, interface: Interface, event: LinkEvent) {
        self.tell(|queue| {
            queue.links.insert(interface, event);
        });
    }

    fn tell(&self, change: impl FnOnce(&mut Queue)) {
        let mut queue = self.queue();
        change(&mut queue);
        drop(queue);
        self.wake.notify_one();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Every change leaves the value whole, so a panic of another thread does not corrupt it.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bindings(&self) -> Arc<Bindings> {
        Arc::clone(&self.bindings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// True when the queue is empty.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.queue().is_empty()
    }

    /// Handles all queued events. False after a stop request.
    pub fn step(&self, waits: bool) -> bool {
        let mut queue = self.queue();
        while waits && queue.is_empty() && !queue.is_over {
            queue = self
                .wake
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if queue.is_over {
            return false;
        }
        if queue.is_empty() {
            return true;
        }
        queue.last += 1;
        let number = queue.last;
        let links = std::mem::take(&mut queue.links);
        let peers = std::mem::take(&mut queue.peers);
        let reports = std::mem::take(&mut queue.reports);
        drop(queue);
        let bindings = self.bindings();
        let mut dead: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut own = Vec::new();
        for (interface, event) in links.iter().filter(|(_, event)| !event.is_up) {
            if let Some(end) = bindings.end_by_interface.get(interface) {
                let reason = if event.exists {
                    Reason::NoCarrier
                } else {
                    Reason::Missing
                };
                own.push((end.clone(), reason));
                dead.entry(&interface.0).or_default().insert(&interface.1);
            }
        }
        for end in &peers {
            if let Some((netns, name)) = bindings.interface_by_peer_end.get(end) {
                dead.entry(netns).or_default().insert(name);
            }
        }
        for netns in dead.keys() {
            if let Some(guard) = bindings.guards.get(*netns) {
                guard.last.store(number, Ordering::Release);
            }
        }
        if !own.is_empty() {
            // Reported first, as it takes microseconds: other nodes do not wait for this kernel.
            self.link_states.fall(&own, number, link_state::now());
        }
        for (netns, names) in &dead {
            self.evict(&bindings, netns, &names.iter().copied().collect::<Vec<_>>());
        }
        // Compared with the kernel, as the fall may be over when the engine looks.
        let evicted: Vec<String> = dead.into_keys().map(str::to_owned).collect();
        self.mailbox.tell(|changes| {
            changes.through = number;
            changes.links.extend(links);
            changes.reports.extend(reports);
            changes.routing.extend(evicted);
        });
        true
    }

    fn evict(&self, bindings: &Bindings, netns: &str, links: &[&str]) {
        let guard = bindings.guards.get(netns);
        let held = guard.map(|it| it.lock.lock().unwrap_or_else(PoisonError::into_inner));
        let evicted = self.fib.evict(netns, links);
        drop(held);
        let links = links.join(", ");
        match evicted {
            Ok(applied) if applied.is_complete() => {
                let groups = applied.writes;
                tracing::info!(
                    netns,
                    links,
                    groups,
                    "link down, evicted from {groups} next-hop groups"
                );
            }
            // The next comparison of routes with the kernel repairs the rest.
            Ok(applied) => {
                let error = applied
                    .failures
                    .first()
                    .map(|it| ::telemetry::chain(&it.source));
                tracing::warn!(
                    netns,
                    links,
                    error,
                    "link down, not evicted from all next-hop groups"
                );
            }
            Err(error) => {
                let error = ::telemetry::chain(&error);
                tracing::warn!(
                    netns,
                    links,
                    error,
                    "link down, not evicted from next-hop groups"
                );
            }
        }
    }
}

impl Follower for Failover {
    fn report_changed(&self, accepted: &Accepted) {
        let Accepted { forwarder, fallen } = accepted;
        self.tell(|queue| {
            let ends = fallen.iter().map(|link| (forwarder.clone(), link.clone()));
            queue.peers.extend(ends);
            queue.reports.insert(forwarder.clone());
        });
    }
}

/// Failover thread; it ends when this is dropped.
#[derive(Debug)]
pub struct FailoverThread {
    failover: Arc<Failover>,
    thread: Option<JoinHandle<()>>,
}

impl FailoverThread {
    /// Starts the thread, in the caller's network namespace.
    ///
    /// # Errors
    /// [`Error::Start`] when the thread cannot be started.
    pub fn start(failover: Arc<Failover>) -> Result<FailoverThread, Error> {
        let works = Arc::clone(&failover);
        let thread = thread::Builder::new()
            .name("failover".into())
            .spawn(move || while works.step(true) {})
            .map_err(|source| Error::Start {
                what: "failover",
                source,
            })?;
        Ok(FailoverThread {
            failover,
            thread: Some(thread),
        })
    }
}

impl Drop for FailoverThread {
    fn drop(&mut self) {
        self.failover.tell(|queue| queue.is_over = true);
        // The panic was logged already.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
