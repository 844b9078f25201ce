//! VXLAN network identifiers: one for each link between nodes, kept for as long as it lives.

use std::collections::{BTreeMap, BTreeSet};

use crate::Forwarder;

/// The first VNI that is given: the upper half of RFC 7348's 24 bits, since others count from 1.
pub const FIRST_VNI: u32 = 1 << 23;
/// The last one.
pub const LAST_VNI: u32 = (1 << 24) - 1;

/// VNIs by link id, as far as there are any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vnis {
    /// The VNI of each link that has one.
    pub given: BTreeMap<String, u32>,
    /// Links that have none, sorted.
    pub missing: Vec<String>,
}

/// VNI of each of `tunnels`: that in `existing`, unless an earlier tunnel has it too or it
/// is in `taken`; otherwise the next unused one of `free`.
pub(super) fn assign(
    tunnels: impl IntoIterator<Item = String>,
    existing: &BTreeMap<String, u32>,
    mut taken: BTreeSet<u32>,
    free: impl IntoIterator<Item = u32>,
) -> Vnis {
    let mut vnis = Vnis::default();
    let mut homeless = Vec::new();
    for id in tunnels {
        match existing.get(&id) {
            Some(vni) if taken.insert(*vni) => drop(vnis.given.insert(id, *vni)),
            _ => homeless.push(id),
        }
    }
    // A link that is gone may still be in a kernel.
    taken.extend(existing.values());
    let mut free = free.into_iter().filter(|vni| taken.insert(*vni));
    for id in homeless {
        match free.next() {
            Some(vni) => drop(vnis.given.insert(id, vni)),
            None => vnis.missing.push(id),
        }
    }
    vnis
}

/// The VNIs that `forwarder` has, with the ids of their links.
pub(super) fn identified(forwarder: &Forwarder) -> impl Iterator<Item = (&str, u32)> {
    forwarder
        .spec
        .links
        .iter()
        .filter_map(|link| Some((link.id.as_str(), link.vni?)))
}
