//! What is wanted minus what exists, as far as it may be written now.

use std::collections::BTreeSet;

use crds::{AllocationSpec, Forwarder, forwarder::WireType};

use super::{
    Computed, Delete, Fill, Publish,
    allocation::is_end,
    sound,
    wanted::by_name,
    world::{ExistingForwarder, World},
};

/// Wanted Forwarders without an object. One on its way out, or of a former or another topology, is waited for.
pub(super) fn creates(world: &World, wanted: &[Forwarder]) -> Vec<String> {
    let exist: BTreeSet<&str> = world.forwarders.iter().map(|f| f.object.as_str()).collect();
    let missing = wanted
        .iter()
        .filter(|f| !exist.contains(f.metadata.name.as_str()))
        .filter(|f| !world.taken.contains(&f.metadata.name));
    missing.map(|f| f.spec.name.clone()).collect()
}

/// Objects that are not wanted, and are not on their way out.
pub(super) fn deletes(world: &World, wanted: &[Forwarder]) -> Vec<Delete> {
    let surplus = world
        .forwarders
        .iter()
        .filter(|f| !(f.is_going || f.is_owned && is_wanted(f, wanted)));
    let delete = |f: &ExistingForwarder| Delete {
        object: f.object.clone(),
        uid: f.uid.clone(),
    };
    surplus.map(delete).collect()
}

/// How many objects should not be there.
pub(super) fn surplus(world: &World, wanted: &[Forwarder]) -> usize {
    let is_surplus = |f: &&ExistingForwarder| !(f.is_usable() && is_wanted(f, wanted));
    world.forwarders.iter().filter(is_surplus).count()
}

fn is_wanted(existing: &ExistingForwarder, wanted: &[Forwarder]) -> bool {
    let name = existing.spec.name.as_str();
    let found = wanted.binary_search_by(|f| f.spec.name.as_str().cmp(name));
    found.is_ok_and(|at| wanted[at].metadata.name == existing.object)
}

/// Nodes that Forwarders are on, or are named after, and are to be no more.
pub(super) fn doubtful_nodes(world: &World, wanted: &[Forwarder]) -> Vec<String> {
    let wanted = by_name(wanted);
    let is_per_node = world.topology.spec.forwarder_per_node.is_some();
    let left = |(name, existing): (&str, &ExistingForwarder)| {
        let node = match existing.spec.node.as_str() {
            "" if is_per_node => name,
            node => node,
        };
        let stays = wanted.get(name).is_some_and(|f| f.spec.node == node);
        (!node.is_empty() && !stays).then(|| node.to_owned())
    };
    let nodes: BTreeSet<String> = world.usable().into_iter().filter_map(left).collect();
    nodes.into_iter().collect()
}

/// The allocation of a former topology of this name, unless it is on its way out.
pub(super) fn former_allocation(world: &World) -> Option<Delete> {
    let allocation = world.allocation.as_ref()?;
    let is_in_the_way = !allocation.is_owned && !allocation.is_going;
    is_in_the_way.then(|| Delete {
        object: world.topology.metadata.name.clone(),
        uid: allocation.uid.clone(),
    })
}

/// Forwarders that differ and whose grants are persisted.
///
/// That other grants are still to be persisted is no reason to wait: what is granted to a uid stays
/// as it is, and the VNI of a wanted link goes to no other one before both its ends were written
/// without it. Only the ends of a link that is about to be retired wait, to be written once. Out of
/// an allocation that gives something twice nobody is filled.
pub(super) fn fills(world: &World, wanted: &[Forwarder], next: &AllocationSpec) -> Vec<Fill> {
    let Some(persisted) = world.persisted() else {
        return Vec::new();
    };
    if !sound::is_sound(world, persisted) {
        return Vec::new();
    }
    let usable = world.usable();
    let fill = |forwarder: &Forwarder| {
        let existing = *usable.get(forwarder.spec.name.as_str())?;
        let is_permitted = world.written(existing) <= persisted.revision
            && is_persisted(forwarder, existing, persisted)
            && !is_about_to_retire(&existing.spec.name, persisted, next);
        let is_due = existing.spec != forwarder.spec || is_held(world, existing, persisted);
        (is_permitted && is_due).then(|| Fill {
            object: existing.object.clone(),
            uid: existing.uid.clone(),
            resource_version: existing.resource_version.clone(),
            revision: persisted.revision,
            spec: forwarder.spec.clone(),
        })
    };
    wanted.iter().filter_map(fill).collect()
}

fn is_persisted(
    forwarder: &Forwarder,
    existing: &ExistingForwarder,
    persisted: &AllocationSpec,
) -> bool {
    let spec = &forwarder.spec;
    let grant = persisted.blocks.get(&existing.uid);
    let mut tunnels = spec
        .links
        .iter()
        .filter(|link| link.r#type == WireType::Vxlan);
    grant.is_some_and(|grant| grant.blocks == spec.blocks)
        && tunnels
            .all(|link| link.vni.is_some() && link.vni == persisted.vnis.get(&link.id).copied())
}

fn is_about_to_retire(name: &str, persisted: &AllocationSpec, next: &AllocationSpec) -> bool {
    let mut new = next
        .retired
        .iter()
        .filter(|(_, retired)| retired.revision > persisted.revision);
    new.any(|(id, _)| is_end(id, name))
}

/// Whether a retired VNI is kept back because this end was not written since.
fn is_held(world: &World, existing: &ExistingForwarder, persisted: &AllocationSpec) -> bool {
    let mut retired = persisted.retired.iter();
    retired.any(|(id, retired)| {
        world.written(existing) < retired.revision && is_end(id, &existing.spec.name)
    })
}

/// Names of the wanted Forwarders whose objects are not yet as they should be.
pub(super) fn unwritten(world: &World, wanted: &[Forwarder]) -> Vec<String> {
    let usable = world.usable();
    let is_written = |forwarder: &&Forwarder| {
        let existing = usable.get(forwarder.spec.name.as_str());
        existing.is_some_and(|existing| existing.spec == forwarder.spec)
    };
    let unwritten = wanted.iter().filter(|forwarder| !is_written(forwarder));
    unwritten
        .map(|forwarder| forwarder.spec.name.clone())
        .collect()
}

/// Tables that are computed and not published so.
pub(super) fn publishes(world: &World, computed: &Computed) -> Vec<Publish> {
    let wanted = by_name(&computed.forwarders);
    let publish = |(name, existing): (&str, &ExistingForwarder)| {
        if existing.spec != wanted.get(name)?.spec {
            return None;
        }
        let expected = computed.of(computed.graph.forwarder(name)?);
        let is_due = existing.status.computed.as_ref() != Some(&expected);
        is_due.then(|| Publish {
            object: existing.object.clone(),
            uid: existing.uid.clone(),
            computed: expected,
        })
    };
    world.usable().into_iter().filter_map(publish).collect()
}
