//! VXLAN network identifiers: one for each link between nodes, kept for as long as it lives.

use std::collections::{BTreeMap, BTreeSet};

use super::wiring::Wire;
use crate::{Forwarder, Problem, forwarder::WireType};

/// The first VNI that is given: the upper half of RFC 7348's 24 bits, since others count from 1.
pub const FIRST_VNI: u32 = 1 << 23;
/// The last one.
pub const LAST_VNI: u32 = (1 << 24) - 1;

/// A VNI for each VXLAN link, by link id.
///
/// A link keeps that of `own` unless another topology has it; others get the lowest that none of
/// `everyone` has.
///
/// # Errors
/// When all are in use.
pub(super) fn assign(
    wires: &[(Wire<'_>, WireType)],
    own: &BTreeMap<&str, &Forwarder>,
    everyone: &[Forwarder],
) -> Result<BTreeMap<String, u32>, Vec<Problem>> {
    let before: BTreeMap<&str, u32> = own.values().flat_map(|f| identified(f)).collect();
    let is_own = |forwarder: &&Forwarder| {
        own.get(forwarder.spec.name.as_str())
            .is_some_and(|own| std::ptr::eq(*own, *forwarder))
    };
    let foreign = everyone.iter().filter(|forwarder| !is_own(forwarder));
    let mut taken: BTreeSet<u32> = foreign.flat_map(identified).map(|(_, vni)| vni).collect();
    let mut vnis = BTreeMap::new();
    let mut homeless = Vec::new();
    let tunnels = wires
        .iter()
        .filter(|(_, wire_type)| *wire_type == WireType::Vxlan);
    for id in tunnels.map(|(wire, _)| wire.id()) {
        match before.get(id.as_str()) {
            Some(vni) if taken.insert(*vni) => drop(vnis.insert(id, *vni)),
            _ => homeless.push(id),
        }
    }
    taken.extend(before.values());
    let mut free = (FIRST_VNI..=LAST_VNI).filter(|vni| !taken.contains(vni));
    for id in homeless {
        let Some(vni) = free.next() else {
            return Err(vec![Problem::new(
                "spec.links",
                format!("no VNI is left for link {id}"),
            )]);
        };
        vnis.insert(id, vni);
    }
    Ok(vnis)
}

fn identified(forwarder: &Forwarder) -> impl Iterator<Item = (&str, u32)> {
    forwarder
        .spec
        .links
        .iter()
        .filter_map(|link| Some((link.id.as_str(), link.vni?)))
}
