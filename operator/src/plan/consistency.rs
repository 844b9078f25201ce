//! Consistency of the persisted allocation: hands, merges and backups write allocations too.

use std::collections::BTreeMap;

use crds::{
    AllocationSpec, Forwarder, cidr,
    expand::{FIRST_VNI, LAST_VNI},
};
use ipnetwork::IpNetwork;

use super::observed::{Observed, REVISION_MAX};

/// Advice about an allocation that contradicts itself.
const REMEDY: &str = "repair it, or delete it to have it recreated from the Forwarders";

/// Grants that the persisted allocation makes twice, or should not make at all, and how to repair them.
///
/// A grant whose Forwarder is gone is no conflict: it is about to be released.
pub(super) fn contradiction(observed: &Observed) -> Option<String> {
    let fault = fault(observed, observed.persisted()?, false)?;
    let name = &observed.topology.metadata.name;
    Some(format!("Allocation {name} {fault}: {REMEDY}"))
}

/// Obstacle that keeps anything from being given now.
pub(super) fn closed(observed: &Observed, wanted: &[Forwarder]) -> Option<String> {
    let name = &observed.topology.metadata.name;
    match &observed.allocation {
        Some(allocation) if !allocation.is_owned || allocation.is_going => Some(format!(
            "Allocation {name} of a former topology is to go first"
        )),
        Some(allocation) if allocation.spec.is_none() => Some(format!(
            "Allocation {name} cannot be read: mend or delete it"
        )),
        _ => contradiction(observed).or_else(|| foreign(observed, wanted)),
    }
}

fn foreign(observed: &Observed, wanted: &[Forwarder]) -> Option<String> {
    let mut existing = observed.forwarders.iter();
    let foreign = existing.find(|f| !f.is_owned).map(|f| &f.object);
    let mut names = wanted.iter().map(|f| &f.metadata.name);
    let object = foreign.or_else(|| names.find(|object| observed.taken.contains(*object)))?;
    Some(format!(
        "Forwarder {object} is not of this topology and is to go first"
    ))
}

/// True when the persisted allocation grants nothing twice, including grants to Forwarders that
/// this replica does not know.
pub(super) fn is_consistent(observed: &Observed, persisted: &AllocationSpec) -> bool {
    fault(observed, persisted, true).is_none()
}

/// True when `blocks` are one out of each CIDR.
pub(super) fn fits(cidrs: &[IpNetwork], blocks: &[IpNetwork]) -> bool {
    let contains = |(cidr, block): (&IpNetwork, &IpNetwork)| {
        cidr::overlap(*cidr, *block) && cidr.prefix() <= block.prefix()
    };
    blocks.len() == cidrs.len() && cidrs.iter().zip(blocks).all(contains)
}

/// True for a VNI that may be granted to a topology.
pub(super) fn is_possible(vni: u32) -> bool {
    (FIRST_VNI..=LAST_VNI).contains(&vni)
}

fn fault(observed: &Observed, persisted: &AllocationSpec, with_gone: bool) -> Option<String> {
    if persisted.revision > 2 * REVISION_MAX {
        return Some(format!("has revision {}", persisted.revision));
    }
    fault_of_blocks(observed, persisted, with_gone).or_else(|| fault_of_vnis(persisted))
}

fn fault_of_blocks(
    observed: &Observed,
    persisted: &AllocationSpec,
    with_gone: bool,
) -> Option<String> {
    let cidrs = &observed.topology.spec.addressing.cidrs;
    let existing = observed.forwarders.iter();
    let names: BTreeMap<&String, &String> = existing.map(|f| (&f.uid, &f.spec.name)).collect();
    let mut held = Vec::new();
    for (uid, grant) in &persisted.blocks {
        let name = names.get(uid).copied();
        let Some(name) = name.or_else(|| with_gone.then_some(&grant.forwarder)) else {
            continue;
        };
        if !fits(cidrs, &grant.blocks) {
            let (given, cidrs) = (enumerate(&grant.blocks), enumerate(cidrs));
            return Some(format!("gives {given} to {name}, not a block of {cidrs}"));
        }
        held.extend(grant.blocks.iter().map(|block| (*block, name)));
    }
    // Of blocks in this order, the first that overlaps any other overlaps the one after it.
    held.sort_unstable_by_key(|(block, name)| (block.network(), block.prefix(), *name));
    let mut pairs = held.windows(2);
    let twice = pairs.find(|pair| cidr::overlap(pair[0].0, pair[1].0))?;
    let [(block, one), (other_block, other)] = [twice[0], twice[1]];
    Some(if block == other_block {
        format!("gives {block} to {one} and {other}")
    } else {
        format!("gives {block} to {one} and {other_block} of it to {other}")
    })
}

fn fault_of_vnis(persisted: &AllocationSpec) -> Option<String> {
    let given = persisted.vnis.iter().map(|(id, vni)| (id, *vni));
    let retired = persisted.retired.iter();
    let retired = retired.map(|(id, retired)| (id, retired.vni));
    let mut ids: BTreeMap<u32, &String> = BTreeMap::new();
    for (id, vni) in given.chain(retired) {
        if !is_possible(vni) {
            return Some(format!(
                "gives VNI {vni} to link {id}, not one of {FIRST_VNI} to {LAST_VNI}"
            ));
        }
        let one = *ids.entry(vni).or_insert(id);
        if one != id {
            return Some(format!("gives VNI {vni} to links {one} and {id}"));
        }
    }
    None
}

/// Networks for people.
pub(super) fn enumerate(networks: &[IpNetwork]) -> String {
    let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
    networks.join(", ")
}
