//! Attachment service: answers the plugin, leases addresses to pods and frees them.
//!
//! All operations on one key are serialised, so that a late release never takes the addresses of a
//! newer claim. Operations on different keys run in parallel.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cni::node_protocol::Key;
use nix::time::{ClockId, clock_gettime};
use tokio::sync::watch;

use crate::attach::admission::Catalog;
use crate::attach::lease_store::LeaseStore;
use crate::attach::pod_links::PodWiring;
use crate::mailbox::Mailbox;
use crate::objects::pods::Pods;
use crds::TopologyKey;

mod add;
mod adoption;
mod del;
mod dispatch;
mod events;
mod gc;
mod key_lock;
mod query;
mod restore;
mod status;
#[cfg(test)]
mod tests;
mod unattach;

pub use adoption::Adopted;
pub(crate) use adoption::may_cut;
pub use dispatch::Answer;

/// Service behind the plugin's socket.
pub struct AttachService<W> {
    state: Mutex<State>,
    busy: Mutex<HashSet<Key>>,
    idle: Condvar,
    wires: W,
    mailbox: Arc<Mailbox>,
    claim_timeout: Duration,
    /// Pods of Kubernetes; `None` where the plugin's request is the only source.
    pods: Option<Arc<dyn Pods>>,
    /// Last reported failure of pods that could not be attached, by uid.
    failures: Mutex<HashMap<String, String>>,
    tally: Mutex<PendingPods>,
    /// Keys released while the journal could not be written.
    unrecorded: Mutex<BTreeSet<Key>>,
    /// Number of claims that wait for the API server.
    asking: AtomicUsize,
    /// Number of changes of the pods, the catalog and the leases.
    news: watch::Sender<u64>,
}

/// Numbers of this node's pods that should be attached and are not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PendingPods {
    /// Pods whose attachment is pending.
    pub waiting: usize,
    /// Pods that cannot be attached.
    pub refused: usize,
}

impl<W> fmt::Debug for AttachService<W> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AttachService")
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct State {
    book: LeaseStore,
    /// Admission catalog; `None` before the first desired state.
    catalog: Option<Arc<Catalog>>,
    /// Keys of leases whose interface was deleted by somebody else.
    lost: BTreeSet<Key>,
}

impl<W: PodWiring> AttachService<W> {
    /// Service with the leases of `book`. Unconfirmed claims without a plugin process are collected
    /// after `claim_timeout`.
    pub fn new(
        book: LeaseStore,
        wires: W,
        mailbox: Arc<Mailbox>,
        claim_timeout: Duration,
    ) -> AttachService<W> {
        let state = Mutex::new(State {
            book,
            catalog: None,
            lost: BTreeSet::new(),
        });
        AttachService {
            state,
            busy: Mutex::default(),
            idle: Condvar::new(),
            wires,
            mailbox,
            claim_timeout,
            pods: None,
            failures: Mutex::default(),
            tally: Mutex::default(),
            unrecorded: Mutex::default(),
            asking: AtomicUsize::new(0),
            news: watch::Sender::new(0),
        }
    }

    /// Sets the source of pod objects.
    #[must_use]
    pub fn with_pods(self, pods: Arc<dyn Pods>) -> AttachService<W> {
        AttachService {
            pods: Some(pods),
            ..self
        }
    }

    /// Replaces the admission catalog.
    pub fn open(&self, catalog: Arc<Catalog>) {
        self.state().catalog = Some(catalog);
        self.hear();
    }

    /// Notifies the service that pods were added, changed or removed.
    pub fn hear(&self) {
        self.news
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Receiver that changes whenever an answer may differ from an earlier one.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Admission catalog; `None` before the first desired state.
    pub fn catalog(&self) -> Option<Arc<Catalog>> {
        self.state().catalog.clone()
    }

    /// Replaces the numbers of pods that should be attached and are not.
    pub fn tally(&self, tally: PendingPods) {
        *lock(&self.tally) = tally;
    }

    /// Numbers of pods that should be attached and are not.
    pub fn missing(&self) -> PendingPods {
        *lock(&self.tally)
    }

    /// Reserves addresses that the kernel has without a lease.
    pub fn hold(&self, held: BTreeSet<(TopologyKey, std::net::IpAddr)>) {
        self.state().book.leases_mut().hold(held);
    }

    /// Replaces the keys without an interface. Their leases stay until the runtime releases them,
    /// or the daemon attaches them again.
    pub fn miss(&self, lost: BTreeSet<Key>) {
        let before = std::mem::replace(&mut self.state().lost, lost.clone());
        if before != lost {
            self.hear();
        }
    }

    fn changed(&self) {
        self.mailbox.tell(|pending| pending.leases = true);
        self.hear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// A record is written before the state changes, so a panic of another thread leaves the state
/// whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Seconds since the boot: the time of day may be set while a plugin is at work.
fn now() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME);
    now.map_or(0, |now| u64::try_from(now.tv_sec()).unwrap_or(0))
}
