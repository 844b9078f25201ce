//! Views of the API server in memory: one topology as a replica that lags behind has it.

use std::{collections::BTreeMap, sync::Arc};

use crds::{
    AllocationSpec, ForwarderStatus,
    allocation::shards::{Shard, assemble, split},
};
use operator::plan::{Delete, ExistingAllocation, ExistingForwarder, Limits, Observed, Versions};

use crate::server::{Object, Seen, Server, State};

impl Server {
    /// One topology as a replica sees it that has seen each kind up to some revision.
    pub(crate) fn observed(&self, seen: &Seen, topology: &str) -> Option<Observed> {
        let [topologies, forwarders, allocations, ranges, nodes, pods] =
            seen.map(|at| &self.history[at]);
        let object = topologies.topologies.get(topology)?;
        let uid = object.uid.clone();
        let (own, foreign): (Vec<_>, Vec<_>) =
            ranges.ranges.values().partition(|range| range.owner == uid);
        let nodes_now = nodes.nodes.values().map(|node| node.spec.clone());
        let versions = |nodes, pods| Versions {
            nodes,
            pods,
            ..Versions::default()
        };
        let mut observed = Observed {
            uid,
            generation: object.number as i64,
            nodes: Arc::new(nodes_now.collect()),
            pods: pods.pods.values().map(|pod| pod.spec.clone()).collect(),
            ranges: own.into_iter().map(|range| range.spec.first).collect(),
            foreign_ranges: foreign.into_iter().map(|range| range.spec.first).collect(),
            limits: Limits {
                shard_bytes: self.shard_bytes,
                ..Limits::default()
            },
            basis: versions(nodes.last.nodes, pods.last.pods),
            heard: versions(seen[4] as u64, seen[5] as u64),
            ..Observed::new(Arc::new(object.spec.clone()))
        };
        look_at_allocation(&mut observed, allocations);
        look_at_forwarders(&mut observed, forwarders);
        Some(observed)
    }
}

/// Puts the allocation of this state into an observed one.
pub(crate) fn look_at_allocation(observed: &mut Observed, state: &State) {
    let name = observed.topology.metadata.name.clone();
    let head = state.allocations.get(&name);
    observed.allocation = head.map(|object| existing(&observed.uid, object, state, &name));
}

fn existing(
    topology: &str,
    head: &Object<AllocationSpec>,
    state: &State,
    name: &str,
) -> ExistingAllocation {
    let shards = head.spec.shards.iter().filter_map(|name| {
        let object = state.allocations.get(name)?;
        let spec = object.spec.clone();
        let name = name.clone();
        Some(Shard { name, spec })
    });
    let shards: Vec<Shard> = shards.collect();
    let is_garbage = |(other, object): &(&String, &Object<AllocationSpec>)| {
        other.starts_with(&format!("{name}."))
            && object.owner == head.owner
            && !head.spec.shards.contains(other)
            && object.spec.revision <= head.spec.revision
    };
    let garbage = state.allocations.iter().filter(is_garbage);
    ExistingAllocation {
        uid: head.uid.clone(),
        resource_version: head.version.to_string(),
        is_owned: head.owner == topology,
        is_going: head.is_going,
        spec: whole(state, name).map(Arc::new),
        shards,
        garbage: garbage
            .map(|(name, object)| Delete {
                object: name.clone(),
                uid: object.uid.clone(),
            })
            .collect(),
        basis: head.basis,
        annotations: BTreeMap::new(),
    }
}

/// The allocation of a topology with all its shards; `None` when one is not there.
pub(crate) fn whole(state: &State, topology: &str) -> Option<AllocationSpec> {
    let head = &state.allocations.get(topology)?.spec;
    let shard = |name: &str| state.allocations.get(name).map(|object| &object.spec);
    assemble(head, shard).ok()
}

/// The head and the shards as which a replica writes an allocation.
pub(crate) fn parts(observed: &Observed, next: &AllocationSpec) -> (AllocationSpec, Vec<Shard>) {
    let before = observed.allocation.as_ref();
    let before = before.map_or(&[][..], |before| &before.shards);
    let name = observed.topology.metadata.name.as_str();
    split(
        (name, &observed.uid),
        next,
        before,
        observed.limits.shard_bytes,
    )
}

/// Puts the Forwarders of this state into an observed topology.
pub(crate) fn look_at_forwarders(observed: &mut Observed, state: &State) {
    let of_it = state.forwarders.iter();
    let of_it = of_it.filter(|(_, f)| f.spec.topology == observed.topology.metadata.name);
    let forwarders = of_it.map(|(name, object)| ExistingForwarder {
        object: name.clone(),
        uid: object.uid.clone(),
        resource_version: object.version.to_string(),
        is_owned: object.owner == observed.uid,
        is_going: object.is_going,
        revision: object.number,
        basis: object.basis,
        spec: Arc::new(object.spec.clone()),
        status: Arc::new(ForwarderStatus::default()),
    });
    observed.forwarders = forwarders.collect();
}
