//! Failover: evicts dead and suspect links from the next-hop groups at once, independent of the engine's work. A group whose members
//! all are stays as it is: a suspect link is the last resort.
//!
//! ```text
//! kernel -- monitor --> queue --> thread "failover" --> link states (own end is down or suspect) --> flooding
//! liveness (verdicts) --^               |-> Fib::evict, under the guard of the Forwarder
//! flooding -------------^               '-> mailbox: the engine follows with shortest paths
//! (a peer's end is down or suspect)
//! ```
//! The thread takes no lock that is held while objects are loaded, links are created or paths are
//! computed. The guard of a Forwarder is shared only with the programmer of its routes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::{self, JoinHandle};

use dataplane::Fib;
use linkstate::{PathVerdict, Reason};

use crate::error::Error;
use crate::mailbox::{LinkEvent, Mailbox};
use crate::routing::link_state::{self, Accepted, EndKey, Follower, Judged, LinkStates};

mod bindings;
mod queue;

pub use bindings::{Bindings, Guard, Interface};
use queue::{Events, Queue};

/// Interfaces whose link leaves the groups, by namespace.
type Dead<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

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
            queue.events.links.insert(interface, event);
        });
    }

    /// Queues the verdict of the liveness protocol on the link of an own interface. Repeated, it changes nothing; on an interface
    /// without a link it is dropped.
    pub fn path_changed(&self, interface: Interface, verdict: PathVerdict) {
        self.tell(|queue| {
            queue.events.paths.insert(interface, verdict);
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
        let events = std::mem::take(&mut queue.events);
        drop(queue);
        self.handle(events, number);
        true
    }

    fn handle(&self, events: Events, number: u64) {
        let Events {
            links,
            paths,
            peers,
            reports,
        } = events;
        let bindings = self.bindings();
        let mut dead = Dead::new();
        // Reported first, as it takes microseconds: other nodes do not wait for this kernel.
        self.fall(&bindings, &links, number, &mut dead);
        let own = bindings.ends_of(&paths);
        let judged = self.judge(&own, &paths, number);
        let interfaces = |ends: &[EndKey]| {
            let own = ends.iter().filter_map(|end| own.get(end).copied());
            own.cloned().collect::<Vec<Interface>>()
        };
        let (changed, doubted) = (interfaces(&judged.changed), interfaces(&judged.doubted));
        // Both ends of a link may be on this node.
        let opposite = judged.doubted.iter().chain(&peers);
        let opposite = opposite.filter_map(|end| bindings.interface_by_peer_end.get(end));
        for (netns, name) in doubted.iter().chain(opposite) {
            dead.entry(netns).or_default().insert(name);
        }
        for netns in dead.keys() {
            if let Some(guard) = bindings.guards.get(*netns) {
                guard.last.store(number, Ordering::Release);
            }
        }
        for (netns, names) in &dead {
            self.evict(&bindings, netns, &names.iter().copied().collect::<Vec<_>>());
        }
        // Compared with the kernel, as the fall may be over when the engine looks.
        let evicted: Vec<String> = dead.into_keys().map(str::to_owned).collect();
        self.mailbox.tell(|changes| {
            changes.through = number;
            changes.links.extend(links);
            changes.paths.extend(changed);
            changes.reports.extend(reports);
            changes.routing.extend(evicted);
        });
    }

    /// Reports own ends whose interface is down.
    fn fall<'a>(
        &self,
        bindings: &Bindings,
        links: &'a BTreeMap<Interface, LinkEvent>,
        number: u64,
        dead: &mut Dead<'a>,
    ) {
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
        if !own.is_empty() {
            self.link_states.fall(&own, number, link_state::now());
        }
    }

    /// Reports own ends on which the verdict changed.
    fn judge(
        &self,
        own: &HashMap<EndKey, &Interface>,
        paths: &BTreeMap<Interface, PathVerdict>,
        number: u64,
    ) -> Judged {
        let verdicts = own.iter();
        let verdicts: Vec<_> = verdicts
            .map(|(end, interface)| (end.clone(), paths[*interface]))
            .collect();
        if verdicts.is_empty() {
            return Judged::default();
        }
        let judged = self.link_states.judge(&verdicts, number, link_state::now());
        for (forwarder, link) in &judged.changed {
            let verdict = paths[own[&(forwarder.clone(), link.clone())]];
            let PathVerdict { receive, transmit } = verdict;
            match verdict.is_alive() {
                true => tracing::info!(forwarder, link, "link alive, used by its ends first"),
                false => tracing::info!(forwarder, link, ?receive, ?transmit, "link suspect"),
            }
        }
        judged
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
                    "link evicted from {groups} next-hop groups"
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
                    "link not evicted from all next-hop groups"
                );
            }
            Err(error) => {
                let error = ::telemetry::chain(&error);
                tracing::warn!(netns, links, error, "link not evicted from next-hop groups");
            }
        }
    }
}

impl liveness::Verdicts for Failover {
    fn path_changed(&self, netns: &str, interface: &str, verdict: PathVerdict) {
        Failover::path_changed(self, (netns.to_owned(), interface.to_owned()), verdict);
    }
}

impl Follower for Failover {
    fn report_changed(&self, accepted: &Accepted) {
        let Accepted { forwarder, fallen } = accepted;
        self.tell(|queue| {
            let ends = fallen.iter().map(|link| (forwarder.clone(), link.clone()));
            queue.events.peers.extend(ends);
            queue.events.reports.insert(forwarder.clone());
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
