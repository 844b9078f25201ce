//! What the engine has yet to look at. It has a slot for each thing that may change, not a queue of
//! events: a thousand changes of one file take the room of one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The last word on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkEvent {
    /// Packets can pass.
    pub is_up: bool,
    /// False when it went.
    pub exists: bool,
}

/// What has happened since the engine last looked.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// The desired state may have changed.
    pub source: bool,
    /// Forwarders of other nodes whose valid report of link states is another one.
    pub reports: BTreeSet<String>,
    /// Number of the last event of links that is taken into account here and in `reports`.
    pub through: u64,
    /// These links changed: namespace and interface, and what the last word on it was.
    pub links: BTreeMap<(String, String), LinkEvent>,
    /// The routing of these namespaces changed under our hands.
    pub routing: BTreeSet<String>,
    /// Kernel events were lost: everything may have changed.
    pub kernel_lost: bool,
    /// The underlay's addresses with their MTU, when they changed.
    pub underlay: Option<BTreeMap<IpAddr, u32>>,
    /// Pods of this node came, changed or went.
    pub pods: bool,
    /// Leases came or went.
    pub leases: bool,
    /// The daemon is to end.
    pub stop: bool,
}

impl Pending {
    fn is_empty(&self) -> bool {
        *self == Pending::default()
    }
}

/// Where threads and tasks leave word for the engine.
#[derive(Debug, Default)]
pub struct Mailbox {
    pending: Mutex<Pending>,
    wake: Condvar,
}

impl Mailbox {
    /// Leaves word.
    pub fn tell(&self, change: impl FnOnce(&mut Pending)) {
        change(&mut self.lock());
        self.wake.notify_one();
    }

    /// Takes what there is, waiting until `deadline` for something to be there.
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

    /// True when something came that must not wait behind other work.
    pub fn is_urgent(&self) -> bool {
        let pending = self.lock();
        pending.stop
            || pending.kernel_lost
            || !pending.links.is_empty()
            || !pending.reports.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        // Every change leaves the value whole, so a panic elsewhere does not spoil it.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
