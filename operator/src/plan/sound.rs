//! Whether what is persisted can be carried out: hands, merges and backups write allocations too.

use std::collections::BTreeMap;

use crds::{
    AllocationSpec, cidr,
    expand::{FIRST_VNI, LAST_VNI},
};
use ipnetwork::IpNetwork;

use super::world::World;

/// The highest revision that a Forwarder is believed to carry when nothing persisted is as high. One
/// above can only have come from a hand, and lifting the allocation above it would leave no room.
pub(super) const REVISION_MAX: u64 = 1 << 52;

/// What to do about an allocation that contradicts itself.
const REMEDY: &str = "mend it, or delete it to have it made anew from the Forwarders";

/// What the persisted allocation gives to two, or should give to nobody, and what to do about it.
///
/// A grant whose Forwarder is gone stands in nobody's way: it is about to be released.
pub(super) fn contradiction(world: &World) -> Option<String> {
    let said = said(world, world.persisted()?, false)?;
    let name = &world.topology.metadata.name;
    Some(format!("Allocation {name} {said}: {REMEDY}"))
}

/// Whether nothing in the persisted allocation is given twice, not even to one that this replica has
/// not heard of.
pub(super) fn is_sound(world: &World, persisted: &AllocationSpec) -> bool {
    said(world, persisted, true).is_none()
}

/// Whether `blocks` are one out of each CIDR.
pub(super) fn fits(cidrs: &[IpNetwork], blocks: &[IpNetwork]) -> bool {
    let contains = |(cidr, block): (&IpNetwork, &IpNetwork)| {
        cidr::overlap(*cidr, *block) && cidr.prefix() <= block.prefix()
    };
    blocks.len() == cidrs.len() && cidrs.iter().zip(blocks).all(contains)
}

/// Whether a VNI is one that a topology can be given at all.
pub(super) fn is_possible(vni: u32) -> bool {
    (FIRST_VNI..=LAST_VNI).contains(&vni)
}

fn said(world: &World, persisted: &AllocationSpec, with_gone: bool) -> Option<String> {
    if persisted.revision > 2 * REVISION_MAX {
        return Some(format!("has revision {}", persisted.revision));
    }
    said_of_blocks(world, persisted, with_gone).or_else(|| said_of_vnis(persisted))
}

fn said_of_blocks(world: &World, persisted: &AllocationSpec, with_gone: bool) -> Option<String> {
    let cidrs = &world.topology.spec.addressing.cidrs;
    let existing = world.forwarders.iter();
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

fn said_of_vnis(persisted: &AllocationSpec) -> Option<String> {
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
