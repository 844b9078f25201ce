//! Mailbox of the engine: one slot for each kind of change, not a queue of events, so a thousand
//! changes of one file take the room of one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Last event of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkEvent {
    /// Carrier is up.
    pub is_up: bool,
    /// False after the interface was deleted.
    pub exists: bool,
}

/// Changes since the engine last took the mailbox.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// The desired state may have changed.
    pub source: bool,
    /// Forwarders of other nodes whose valid link-state report changed.
    pub reports: BTreeSet<String>,
    /// Number of the last link event that is included here and in `reports`.
    pub through: u64,
    /// Last event of each changed link, by namespace and interface.
    pub links: BTreeMap<(String, String), LinkEvent>,
    /// Interfaces of links on which the verdict of the liveness protocol changed.
    pub paths: BTreeSet<(String, String)>,
    /// Namespaces whose routes or next hops changed in the kernel.
    pub routing: BTreeSet<String>,
    /// Kernel events were lost (ENOBUFS): everything may have changed.
    pub kernel_lost: bool,
    /// MTU in bytes by underlay address, when they changed.
    pub underlay: Option<BTreeMap<IpAddr, u32>>,
    /// Pods of this node were added, changed or removed.
    pub pods: bool,
    /// Leases were added or freed.
    pub leases: bool,
    /// Stop request.
    pub stop: bool,
}

impl Pending {
    fn is_empty(&self) -> bool {
        *self == Pending::default()
    }
}

/// Mailbox between threads, tasks and the engine.
#[derive(Debug, Default)]
pub struct Mailbox {
    pending: Mutex<Pending>,
    wake: Condvar,
}

impl Mailbox {
    /// Records a change and wakes the engine.
    pub fn tell(&self, change: impl FnOnce(&mut Pending)) {
        change(&mut self.lock());
        self.wake.notify_one();
    }

    /// Takes all changes, waiting until `deadline` for the first one.
    pub fn take(&self, deadline: Instant) -> Pending {
        let mut pending = self.lock();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if !pending.is_empty() || left.is_zero() {
                return std::mem::take(&mut pending);
            }
            pending = self
                .wake
                .wait_timeout(pending, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// True while a link event or stop request is pending, which interrupts other work.
    pub fn is_urgent(&self) -> bool {
        let pending = self.lock();
        pending.stop
            || pending.kernel_lost
            || !pending.links.is_empty()
            || !pending.paths.is_empty()
            || !pending.reports.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        // Every change leaves the value whole, so a panic of another thread does not corrupt it.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
