//! Difference of the desired and the existing objects, as far as it may be written now.

use std::collections::{BTreeMap, BTreeSet};

use crds::{AllocationSpec, Forwarder, forwarder::WireType};

use super::{
    Computed, Delete, Fill, Publish,
    allocation::ends_of,
    consistency,
    desired::by_name,
    observed::{ExistingForwarder, Observed},
};

/// Desired Forwarders without an object. One on its way out, or of a former or another topology, is waited for.
pub(super) fn creates(observed: &Observed, desired: &[Forwarder]) -> Vec<String> {
    let exist: BTreeSet<&str> = observed
        .forwarders
        .iter()
        .map(|f| f.object.as_str())
        .collect();
    let missing = desired
        .iter()
        .filter(|f| !exist.contains(f.metadata.name.as_str()))
        .filter(|f| !observed.taken.contains(&f.metadata.name));
    missing.map(|f| f.spec.name.clone()).collect()
}

/// Objects that are not desired, and are not on their way out.
pub(super) fn deletes(observed: &Observed, desired: &[Forwarder]) -> Vec<Delete> {
    let surplus = observed
        .forwarders
        .iter()
        .filter(|f| !(f.is_going || f.is_owned && is_desired(f, desired)));
    let delete = |f: &ExistingForwarder| Delete {
        object: f.object.clone(),
        uid: f.uid.clone(),
    };
    surplus.map(delete).collect()
}

/// Number of superfluous objects.
pub(super) fn surplus(observed: &Observed, desired: &[Forwarder]) -> usize {
    let is_surplus = |f: &&ExistingForwarder| !(f.is_usable() && is_desired(f, desired));
    observed.forwarders.iter().filter(is_surplus).count()
}

fn is_desired(existing: &ExistingForwarder, desired: &[Forwarder]) -> bool {
    let name = existing.spec.name.as_str();
    let found = desired.binary_search_by(|f| f.spec.name.as_str().cmp(name));
    found.is_ok_and(|at| desired[at].metadata.name == existing.object)
}

/// Nodes that Forwarders are on, or are named after, and are to be no more.
pub(super) fn doubtful_nodes(observed: &Observed, desired: &[Forwarder]) -> Vec<String> {
    let desired = by_name(desired);
    let is_per_node = observed.topology.spec.forwarder_per_node.is_some();
    let left = |(name, existing): (&str, &ExistingForwarder)| {
        let node = match existing.spec.node.as_str() {
            "" if is_per_node => name,
            node => node,
        };
        let stays = desired.get(name).is_some_and(|f| f.spec.node == node);
        (!node.is_empty() && !stays).then(|| node.to_owned())
    };
    let nodes: BTreeSet<String> = observed.usable().into_iter().filter_map(left).collect();
    nodes.into_iter().collect()
}

/// Announcements that are taken back: bare Forwarders of a declaration that is rejected for want of room.
pub(super) fn withdrawn(observed: &Observed) -> Vec<Delete> {
    let bare = observed.usable().into_values().filter(|f| f.is_bare());
    let delete = |f: &ExistingForwarder| Delete {
        object: f.object.clone(),
        uid: f.uid.clone(),
    };
    bare.map(delete).collect()
}

/// The allocation of a former topology of this name, unless it is on its way out.
pub(super) fn former_allocation(observed: &Observed) -> Option<Delete> {
    let allocation = observed.allocation.as_ref()?;
    let is_in_the_way = !allocation.is_owned && !allocation.is_going;
    is_in_the_way.then(|| Delete {
        object: observed.topology.metadata.name.clone(),
        uid: allocation.uid.clone(),
    })
}

/// Forwarders that differ and whose grants are persisted.
///
/// Other grants that are still to be persisted are no reason to wait: the grants of a uid stay
/// as they are, and the VNI of a desired link goes to no other one before both its ends were written
/// without it. Only the ends of a link that is about to be retired wait, to be written once. Out of
/// an allocation with a duplicate grant, no Forwarder is filled.
pub(super) fn fills(
    observed: &Observed,
    desired: &[Forwarder],
    next: &AllocationSpec,
) -> Vec<Fill> {
    let Some(persisted) = observed.persisted() else {
        return Vec::new();
    };
    if !consistency::is_consistent(observed, persisted) {
        return Vec::new();
    }
    let usable = observed.usable();
    let new = next.retired.iter();
    let new = new.filter(|(_, retired)| retired.revision > persisted.revision);
    let about_to_retire: BTreeSet<&str> = new.flat_map(|(id, _)| ends_of(id)).collect();
    let retired_at = retired_at(persisted);
    let fill = |forwarder: &Forwarder| {
        let name = forwarder.spec.name.as_str();
        let existing = *usable.get(name)?;
        let written = observed.written(existing);
        let is_permitted = written <= persisted.revision
            && is_persisted(forwarder, existing, persisted)
            && !about_to_retire.contains(name);
        // A retired VNI is kept back until both its ends are written.
        let is_held = retired_at
            .get(name)
            .is_some_and(|retired| written < *retired);
        let is_due = is_held || *existing.spec != forwarder.spec;
        (is_permitted && is_due).then(|| Fill {
            object: existing.object.clone(),
            uid: existing.uid.clone(),
            resource_version: existing.resource_version.clone(),
            revision: persisted.revision,
            basis: observed.basis_over(existing.basis),
            spec: forwarder.spec.clone(),
        })
    };
    desired.iter().filter_map(fill).collect()
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

/// The latest revision in which a VNI of a link of each Forwarder was retired, by the Forwarder's name.
fn retired_at(persisted: &AllocationSpec) -> BTreeMap<&str, u64> {
    let mut latest: BTreeMap<&str, u64> = BTreeMap::new();
    for (id, retired) in &persisted.retired {
        for end in ends_of(id) {
            let revision = latest.entry(end).or_default();
            *revision = retired.revision.max(*revision);
        }
    }
    latest
}

/// Names of the desired Forwarders whose objects are not yet as they should be.
pub(super) fn unwritten(observed: &Observed, desired: &[Forwarder]) -> Vec<String> {
    let usable = observed.usable();
    let is_written = |forwarder: &&Forwarder| {
        let existing = usable.get(forwarder.spec.name.as_str());
        existing.is_some_and(|existing| *existing.spec == forwarder.spec)
    };
    let unwritten = desired.iter().filter(|forwarder| !is_written(forwarder));
    unwritten
        .map(|forwarder| forwarder.spec.name.clone())
        .collect()
}

/// Tables whose digests are computed and not published.
pub(super) fn publishes(
    observed: &Observed,
    desired: &[Forwarder],
    computed: &Computed,
) -> Vec<Publish> {
    let desired = by_name(desired);
    let publish = |(name, existing): (&str, &ExistingForwarder)| {
        if *existing.spec != desired.get(name)?.spec {
            return None;
        }
        let expected = computed.of(computed.graph.forwarder(name)?);
        // An epoch with the same table is no news: it changes with every pod edge of the topology.
        let published = existing.status.computed.as_ref();
        let is_due = published.is_none_or(|published| published.digest != expected.digest);
        is_due.then(|| Publish {
            object: existing.object.clone(),
            uid: existing.uid.clone(),
            computed: expected,
        })
    };
    observed.usable().into_iter().filter_map(publish).collect()
}
