//! The observed state of one topology, put together from all kinds of objects.

use std::{collections::BTreeSet, sync::Arc};

use crds::{AllocationSpec, MicroServiceTopology, allocation::shards::Shard, attach};

use super::{
    super::{Key, cached::CachedAllocation, read::existing_forwarder},
    State,
};
use crate::plan::{Delete, Observed, Pod};

impl State {
    /// The observed state of one topology; `None` when it is gone or cannot be read.
    pub(in crate::observe) fn observed(&self, key: &Key) -> Option<Observed> {
        let entry = self.topologies.get(key)?;
        Some(Observed {
            ignored: entry.ignored.clone(),
            is_going: entry.is_going,
            ..self.proposed(key, entry.topology.as_ref()?)
        })
    }

    /// The same with `topology` in the place of what is applied there, if anything is.
    pub(in crate::observe) fn proposed(
        &self,
        key: &Key,
        topology: &Arc<MicroServiceTopology>,
    ) -> Observed {
        let entry = self.topologies.get(key);
        let uid = entry.map_or("", |entry| entry.uid.as_str());
        let allocation = self.allocations.get(key).map(|held| {
            let mut existing = held.existing(uid, |name| self.shard(key, name, uid));
            if let Some(head) = held.spec.as_ref().filter(|_| existing.is_owned) {
                existing.garbage = self.garbage(key, uid, head);
            }
            existing
        });
        let ranges = |is_own: bool| {
            let ranges = self.ranges.values();
            let ranges = ranges.filter(|range| (range.owner == uid) == is_own);
            let firsts: BTreeSet<u32> = ranges.map(|range| range.first).collect();
            firsts.into_iter().collect()
        };
        let forwarders = self.forwarders(key);
        let (claim, taken_by_others) = self.claims(key, topology);
        Observed {
            uid: uid.to_owned(),
            generation: entry.map_or(1, |entry| entry.generation),
            status: entry.map(|entry| entry.status.clone()).unwrap_or_default(),
            nodes: Arc::clone(&self.nodes().0),
            unfit: Arc::clone(&self.nodes().1),
            load: Arc::clone(&self.load),
            limits: self.limits,
            claim,
            taken_by_others,
            basis: self.basis.get(key).copied().unwrap_or_default(),
            heard: self.heard(),
            pods: self
                .pods_of(topology)
                .map(|pod| pod.as_ref().clone())
                .collect(),
            forwarders: forwarders
                .map(|held| existing_forwarder(held, uid))
                .collect(),
            taken: self.taken(key),
            allocation,
            ranges: ranges(true),
            foreign_ranges: ranges(false),
            ..Observed::new(Arc::clone(topology))
        }
    }

    pub(in crate::observe) fn pods_of<'a>(
        &'a self,
        topology: &'a MicroServiceTopology,
    ) -> Box<dyn Iterator<Item = &'a Arc<Pod>> + 'a> {
        let joins = move |pod: &&Arc<Pod>| attach::concerns(topology, pod);
        let allowed = &topology.spec.allowed_namespaces;
        if allowed.iter().any(|namespace| namespace == "*") {
            return Box::new(self.pods.values().filter(joins));
        }
        let own = std::iter::once(&topology.metadata.namespace);
        let namespaces: BTreeSet<&String> = own.chain(allowed).collect();
        let pods = namespaces.into_iter().flat_map(|namespace| {
            self.pods
                .range(Key::new(namespace, "")..)
                .take_while(move |(key, _)| key.namespace == *namespace)
                .map(|(_, pod)| pod)
        });
        Box::new(pods.filter(joins))
    }

    /// Shards of a topology that its allocation of `revision` does not name, and no later one will.
    fn garbage(&self, topology: &Key, uid: &str, head: &AllocationSpec) -> Vec<Delete> {
        let prefix = format!("{}.", topology.name);
        let named = self
            .allocations
            .range(Key::new(&topology.namespace, &prefix)..)
            .take_while(|(key, _)| {
                key.namespace == topology.namespace && key.name.starts_with(&prefix)
            });
        let is_garbage = |(key, held): &(&Key, &CachedAllocation)| {
            let revision = held.spec.as_ref().map(|spec| spec.revision);
            held.owner.as_deref() == Some(uid)
                && !held.is_going
                && !head.shards.contains(&key.name)
                && revision.is_some_and(|revision| revision <= head.revision)
        };
        let delete = |(key, held): (&Key, &CachedAllocation)| Delete {
            object: key.name.clone(),
            uid: held.uid.clone(),
        };
        named.filter(is_garbage).map(delete).collect()
    }

    /// A shard of the topology with this uid.
    pub(in crate::observe) fn shard(&self, topology: &Key, name: &str, uid: &str) -> Option<Shard> {
        let held = self.allocations.get(&Key::new(&topology.namespace, name))?;
        held.as_shard(name, uid)
    }
}
