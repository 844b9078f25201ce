//! Objects whose topology is gone.

use std::collections::HashSet;

use super::{Key, readiness::Kind, state::State};

/// An object whose topology is not there any more, as far as is observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// Kind of the object.
    pub kind: Kind,
    /// Its namespace (none for a range) and name.
    pub key: Key,
    /// Its `metadata.uid`.
    pub uid: String,
    /// Its `metadata.resourceVersion`.
    pub resource_version: String,
    /// The topology that it was of.
    pub topology: Key,
    /// uid of that topology.
    pub owner: String,
    /// First VNI, where it is a range.
    pub first: Option<u32>,
}

impl State {
    /// Objects of topologies that are not there; those already going are left out.
    pub(super) fn orphans(&self) -> Vec<Orphan> {
        let live: HashSet<&str> = self
            .topologies
            .values()
            .map(|entry| entry.uid.as_str())
            .collect();
        let is_lost = |owner: &String| !live.contains(owner.as_str());
        // Ranges are cluster-scoped: those of unwatched namespaces are left to other operators.
        let is_foreign =
            |topology: &Key| self.readiness.misses(Kind::Topology, &topology.namespace);
        let forwarders = self.forwarders.values().filter(|held| !held.is_going);
        let forwarders = forwarders.filter_map(|held| {
            let owner = held.owner.as_ref().filter(|owner| is_lost(owner))?;
            Some(Orphan {
                kind: Kind::Forwarder,
                key: held.key.clone(),
                uid: held.uid.clone(),
                resource_version: held.resource_version.clone(),
                topology: held.topology.clone(),
                owner: owner.clone(),
                first: None,
            })
        });
        let allocations = self.allocations.iter().filter(|(_, held)| !held.is_going);
        let allocations = allocations.filter_map(|(key, held)| {
            let owner = held.owner.as_ref().filter(|owner| is_lost(owner))?;
            Some(Orphan {
                kind: Kind::Allocation,
                key: key.clone(),
                uid: held.uid.clone(),
                resource_version: held.resource_version.clone(),
                topology: held.topology.clone(),
                owner: owner.clone(),
                first: None,
            })
        });
        let ranges = self.ranges.iter();
        let ranges = ranges.filter(|(_, held)| is_lost(&held.owner) && !is_foreign(&held.topology));
        let ranges = ranges.map(|(key, held)| Orphan {
            kind: Kind::VniRange,
            key: key.clone(),
            uid: held.uid.clone(),
            resource_version: held.resource_version.clone(),
            topology: held.topology.clone(),
            owner: held.owner.clone(),
            first: Some(held.first),
        });
        let names = self.lost_names(&live);
        let of_topology = forwarders.chain(allocations).chain(ranges);
        of_topology.chain(names).collect()
    }
}
