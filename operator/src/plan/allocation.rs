//! The next allocation, and the grants of it that go into Forwarders.
//!
//! ```text
//! blocks:  -> granted to a uid -> (uid gone) -> released, the last 64 -> free
//! VNIs:    -> granted to a link -> (link gone) -> retired -> (both ends written since) -> free
//! ```

use std::collections::{BTreeMap, BTreeSet};

use crds::{
    AllocationSpec, Forwarder,
    allocation::{BlockGrant, RetiredVni},
    forwarder::WireType,
};
use ipnetwork::IpNetwork;
use topology::Prefix;

use super::{
    consistency,
    observed::{ExistingForwarder, Observed},
    vni,
};

/// Largest number of remembered released grants.
const RELEASED_MAX: usize = 64;

/// The allocation to persist.
#[derive(Debug, Default)]
pub(super) struct Allocated {
    /// Equal to the persisted one when nothing is to be given or taken back.
    pub(super) next: AllocationSpec,
    /// Number of links without a VNI, for want of ranges.
    pub(super) missing: usize,
    /// Reason for which Forwarders get no block.
    pub(super) why: Option<String>,
}

/// The next allocation, from the persisted one.
pub(super) fn next(observed: &Observed, desired: &[Forwarder]) -> Allocated {
    let before = observed.persisted().cloned().unwrap_or_default();
    let owned = observed.forwarders.iter().filter(|f| f.is_owned);
    let carried = owned.map(|f| observed.written(f)).max().unwrap_or(0);
    let is_behind = observed.persisted().is_none() || before.revision < carried;
    let revision = before.revision.max(carried).saturating_add(1);
    let mut next = before.clone();
    if is_behind {
        recover(observed, &mut next);
    }
    let why = grant_blocks(observed, desired, &mut next).err();
    let missing = grant_vnis(observed, desired, &mut next, revision);
    if next != before || is_behind {
        next.revision = revision;
    }
    Allocated { next, missing, why }
}

/// Adds to an allocation that was deleted, or is older than its Forwarders, the grants that
/// Forwarders carry and it lacks.
fn recover(observed: &Observed, next: &mut AllocationSpec) {
    let retired = next.retired.values().map(|retired| retired.vni);
    let mut taken: BTreeSet<u32> = next.vnis.values().copied().chain(retired).collect();
    for existing in observed.forwarders.iter().filter(|f| f.is_owned) {
        let grant = BlockGrant {
            forwarder: existing.spec.name.clone(),
            blocks: existing.spec.blocks.clone(),
            ..BlockGrant::default()
        };
        let is_known = next.blocks.contains_key(&existing.uid);
        let is_given = |next: &AllocationSpec| next.blocks.values().any(|g| overlap(g, &grant));
        if !grant.blocks.is_empty() && !is_known && !is_given(next) {
            next.released.retain(|other| !overlap(other, &grant));
            next.blocks.insert(existing.uid.clone(), grant);
        }
        for link in &existing.spec.links {
            let is_known = next.vnis.contains_key(&link.id) || next.retired.contains_key(&link.id);
            let possible = link.vni.filter(|vni| consistency::is_possible(*vni));
            if let Some(vni) = possible.filter(|vni| !is_known && taken.insert(*vni)) {
                next.vnis.insert(link.id.clone(), vni);
            }
        }
    }
}

/// Releases the grants of those that are gone, and gives a block to each Forwarder without one.
///
/// Those that are desired and do not exist yet take part too, so that who is granted a block first
/// changes nothing for the others.
fn grant_blocks(
    observed: &Observed,
    desired: &[Forwarder],
    next: &mut AllocationSpec,
) -> Result<(), String> {
    let alive: BTreeSet<&str> = observed.forwarders.iter().map(|f| f.uid.as_str()).collect();
    let (kept, gone): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut next.blocks)
        .into_iter()
        .partition(|(uid, _)| alive.contains(uid.as_str()));
    next.blocks = kept;
    next.released.extend(gone.into_values());
    let forgotten = next.released.len().saturating_sub(RELEASED_MAX);
    next.released.drain(..forgotten);

    let usable = observed.usable();
    let mut keys = BTreeMap::new();
    for forwarder in desired {
        let name = forwarder.spec.name.as_str();
        match usable.get(name) {
            Some(existing) if next.blocks.contains_key(&existing.uid) => {}
            existing => drop(keys.insert(key(name, ""), existing.map(|f| (name, f.uid.clone())))),
        }
    }
    if keys.values().all(Option::is_none) {
        return Ok(());
    }
    let held = next.blocks.iter();
    let mut existing: BTreeMap<String, Vec<Prefix>> = held
        .map(|(uid, grant)| (key(&grant.forwarder, uid), prefixes(&grant.blocks)))
        .collect();
    let names: Vec<String> = existing.keys().chain(keys.keys()).cloned().collect();
    // Not among the names: given again when nothing else is free.
    for (position, grant) in next.released.iter().enumerate() {
        existing.insert(format!("\0{position}"), prefixes(&grant.blocks));
    }
    let addressing = &observed.topology.spec.addressing;
    let given = |index: usize| addressing.block_prefixes.get(index).copied();
    let lengths: Vec<Option<u8>> = (0..addressing.cidrs.len()).map(given).collect();
    let assigned = topology::assign(&prefixes(&addressing.cidrs), &lengths, &existing, &names);
    for (key, blocks) in assigned.map_err(|error| error.to_string())? {
        if let Some(Some((name, uid))) = keys.get(&key) {
            let grant = BlockGrant {
                forwarder: (*name).to_owned(),
                blocks: blocks.into_iter().filter_map(network).collect(),
                ..BlockGrant::default()
            };
            next.released.retain(|other| !overlap(other, &grant));
            next.blocks.insert(uid.clone(), grant);
        }
    }
    Ok(())
}

fn overlap(one: &BlockGrant, other: &BlockGrant) -> bool {
    let mut pairs = one
        .blocks
        .iter()
        .flat_map(|block| other.blocks.iter().map(move |other| (block, other)));
    pairs.any(|(block, other)| crds::cidr::overlap(*block, *other))
}

/// Byte order of keys is that of names.
fn key(name: &str, uid: &str) -> String {
    format!("{name}\0{uid}")
}

fn prefixes(networks: &[IpNetwork]) -> Vec<Prefix> {
    let prefix = |network: &IpNetwork| Prefix {
        addr: network.network(),
        len: network.prefix(),
    };
    networks.iter().map(prefix).collect()
}

fn network(prefix: Prefix) -> Option<IpNetwork> {
    IpNetwork::new(prefix.addr, prefix.len).ok()
}

/// Retires the VNIs of removed links, forgets those that are safe, and grants one to each new
/// link while there are any. Returns the number of missing ones.
fn grant_vnis(
    observed: &Observed,
    desired: &[Forwarder],
    next: &mut AllocationSpec,
    revision: u64,
) -> usize {
    let tunnels = tunnels(desired);
    let is_ours = |vni: u32| !vni::is_foreign(observed, vni);
    let ends = ends(observed);
    next.retired
        .retain(|id, retired| !is_safe(observed, &ends, id, retired));
    let before = std::mem::take(&mut next.vnis);
    for (id, vni) in before {
        if tunnels.contains(&id) && is_ours(vni) {
            next.vnis.insert(id, vni);
        } else {
            let retired = RetiredVni {
                vni,
                revision,
                ..RetiredVni::default()
            };
            next.retired.insert(id, retired);
        }
    }
    let homeless: Vec<&String> = tunnels
        .iter()
        .filter(|id| !next.vnis.contains_key(*id))
        .collect();
    let taken = next.vnis.values().copied();
    let taken: BTreeSet<u32> = taken.chain(next.retired.values().map(|r| r.vni)).collect();
    let mut free = vni::free(observed, &taken).into_iter();
    let mut missing = 0;
    for id in homeless {
        // The same link may get its former VNI.
        let revived = next.retired.get(id).map(|retired| retired.vni);
        if let Some(vni) = revived.filter(|vni| is_ours(*vni)) {
            next.retired.remove(id);
            next.vnis.insert(id.clone(), vni);
        } else if let Some(vni) = free.next() {
            next.vnis.insert(id.clone(), vni);
        } else {
            missing += 1;
        }
    }
    missing
}

/// Ids of the links that need a VNI.
fn tunnels(desired: &[Forwarder]) -> BTreeSet<String> {
    let links = desired.iter().flat_map(|forwarder| &forwarder.spec.links);
    let tunnels = links.filter(|link| link.r#type == WireType::Vxlan);
    tunnels.map(|link| link.id.clone()).collect()
}

/// Forwarder objects by the Forwarder's name, with any owner.
fn ends(observed: &Observed) -> BTreeMap<&str, Vec<&ExistingForwarder>> {
    let mut ends: BTreeMap<&str, Vec<&ExistingForwarder>> = BTreeMap::new();
    for existing in &observed.forwarders {
        let of_name = ends.entry(&existing.spec.name).or_default();
        of_name.push(existing);
    }
    ends
}

/// True when nobody can write this VNI into an end of this link any more: each existing end was
/// written since, and is never written from a lower revision. A missing end is granted nothing in
/// the revisions that have the VNI.
fn is_safe(
    observed: &Observed,
    ends: &BTreeMap<&str, Vec<&ExistingForwarder>>,
    id: &str,
    retired: &RetiredVni,
) -> bool {
    let carries = |link: &crds::forwarder::ForwarderLink| link.vni == Some(retired.vni);
    let mut existing = ends_of(id).filter_map(|end| ends.get(end)).flatten();
    existing
        .all(|end| observed.written(end) >= retired.revision && !end.spec.links.iter().any(carries))
}

/// The names of the Forwarders that the link of this id (`A/B`, `A/B#2`) joins.
pub(super) fn ends_of(id: &str) -> impl Iterator<Item = &str> {
    let ends = id.split_once('#').map_or(id, |(ends, _)| ends);
    ends.split('/')
}

/// Puts into the desired Forwarders what `next` grants them.
pub(super) fn grant(observed: &Observed, desired: &mut [Forwarder], next: &AllocationSpec) {
    let usable = observed.usable();
    for Forwarder { spec, .. } in desired {
        let existing = usable.get(spec.name.as_str());
        let grant = existing.and_then(|existing| next.blocks.get(&existing.uid));
        spec.blocks = grant.map(|grant| grant.blocks.clone()).unwrap_or_default();
        for link in &mut spec.links {
            link.vni = match link.r#type {
                WireType::Vxlan => next.vnis.get(&link.id).copied(),
                WireType::Veth => None,
            };
        }
    }
}
