//! Interfaces of links, and the guards of their Forwarders.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::routing::link_state::EndKey;

/// Interface: namespace and name.
pub type Interface = (String, String);

/// Mutual exclusion of programming and failover of one Forwarder.
#[derive(Debug, Default)]
pub struct Guard {
    pub(super) lock: Mutex<()>,
    /// Number of the last event by which a link left the groups.
    pub(super) last: AtomicU64,
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

impl Bindings {
    /// The own ends of these interfaces; an interface without a link has none.
    pub(super) fn ends_of<'a, T>(
        &self,
        all: &'a BTreeMap<Interface, T>,
    ) -> HashMap<EndKey, &'a Interface> {
        let end = |interface| self.end_by_interface.get(interface).cloned();
        let known = all.keys().filter_map(|it| Some((end(it)?, it)));
        known.collect()
    }
}
