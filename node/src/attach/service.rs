//! Answers the plugin: who gets which addresses, and when they are free again.
//!
//! Every step on one key waits for the one before it, so that a late release never takes away what
//! a new claim has just been given. Steps on different keys run side by side.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cni::agent::Key;
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

/// Where the plugin's questions are answered.
pub struct AttachService<W> {
    state: Mutex<State>,
    busy: Mutex<HashSet<Key>>,
    idle: Condvar,
    wires: W,
    mailbox: Arc<Mailbox>,
    claim_timeout: Duration,
    /// None where pods are what the plugin says they are.
    pods: Option<Arc<dyn Pods>>,
    /// What was told last of pods that could not be attached, by uid.
    failures: Mutex<HashMap<String, String>>,
    tally: Mutex<PendingPods>,
    /// Leases that were released while the journal could not be written.
    unrecorded: Mutex<BTreeSet<Key>>,
    /// Claims for which the API server is being asked.
    asking: AtomicUsize,
    /// Counts changes of the pods, the catalog and the leases.
    news: watch::Sender<u64>,
}

/// Pods of this node that should be attached and are not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PendingPods {
    /// Those that will be.
    pub waiting: usize,
    /// Those that cannot be.
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
    /// None before the first desired state.
    catalog: Option<Arc<Catalog>>,
    /// Pods with a lease whose interface somebody else deleted.
    lost: BTreeSet<Key>,
}

impl<W: PodWiring> AttachService<W> {
    /// A service with the leases of `book`. Unconfirmed claims without a plugin are collected after
    /// `claim_timeout`.
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

    /// Lets Kubernetes say what pods are.
    #[must_use]
    pub fn with_pods(self, pods: Arc<dyn Pods>) -> AttachService<W> {
        AttachService {
            pods: Some(pods),
            ..self
        }
    }

    /// Replaces what pods can be attached to.
    pub fn open(&self, catalog: Arc<Catalog>) {
        self.state().catalog = Some(catalog);
        self.hear();
    }

    /// Takes that pods came, changed or went.
    pub fn hear(&self) {
        self.news
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Changes whenever something may be answered otherwise than before.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// What pods can be attached to; none before the first desired state.
    pub fn catalog(&self) -> Option<Arc<Catalog>> {
        self.state().catalog.clone()
    }

    /// Replaces how many pods should be attached and are not.
    pub fn tally(&self, tally: PendingPods) {
        *lock(&self.tally) = tally;
    }

    /// How many pods should be attached and are not.
    pub fn missing(&self) -> PendingPods {
        *lock(&self.tally)
    }

    /// Keeps back addresses that the kernel has and no lease.
    pub fn hold(&self, held: BTreeSet<(TopologyKey, std::net::IpAddr)>) {
        self.state().book.leases_mut().hold(held);
    }

    /// Replaces which pods were seen to be without their interface. Their leases stay until the
    /// runtime gives them up, or the daemon attaches them anew.
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

/// A record is written before the state changes, so a panic elsewhere leaves the state whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
