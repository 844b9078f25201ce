//! Replacement of cached values, with updates of the indices and of the affected keys.

use std::{collections::BTreeSet, mem, sync::Arc};

use crds::attach;
use kube::ResourceExt;

use super::{
    Entry, Key,
    cached::{Cached, CachedAllocation, CachedForwarder, CachedNode, CachedRange},
    interest,
    readiness::Kind,
    state::{Concerned, State},
};
use crate::plan::{Pod, network_attachment::is_wanted};

impl Cached {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Cached::Topology(_) => Kind::Topology,
            Cached::Forwarder(_) => Kind::Forwarder,
            Cached::Allocation(_) => Kind::Allocation,
            Cached::Range(_) => Kind::VniRange,
            Cached::Node(_) => Kind::Node,
            Cached::Pod(_) => Kind::Pod,
            Cached::Service(_) => Kind::Service,
            Cached::EndpointSlice(_) => Kind::EndpointSlice,
        }
    }
}

/// Replaces the entry by `new`.
fn swap<T>(map: &mut std::collections::BTreeMap<Key, T>, key: &Key, new: Option<T>) -> Option<T> {
    match new {
        Some(new) => map.insert(key.clone(), new),
        None => map.remove(key),
    }
}

impl State {
    pub(super) fn replace_topology(
        &mut self,
        key: &Key,
        new: Option<Arc<Entry>>,
        concerned: &mut Concerned,
    ) {
        let old = self.topologies.get(key).cloned();
        let new = new.map(|mut new| {
            if let Some(old) = old.as_ref().filter(|old| old.uid == new.uid) {
                let entry = Arc::make_mut(&mut new);
                entry.computed = old.computed.clone();
                // What a plan found stays found until the declaration is another.
                if entry.generation == old.generation {
                    entry.seen = old.seen;
                    if entry.problems.is_empty() {
                        entry.problems = old.problems.clone();
                    }
                }
            }
            new
        });
        let is_same = match (&old, &new) {
            (Some(old), Some(new)) => {
                old.uid == new.uid
                    && old.generation == new.generation
                    && old.is_going == new.is_going
                    && old.status == new.status
            }
            _ => false,
        };
        if !is_same {
            concerned.topologies.insert(key.clone());
        }
        let is_lost = old
            .as_ref()
            .is_some_and(|old| new.as_ref().is_none_or(|new| new.uid != old.uid));
        concerned.sweep |= is_lost;
        if is_lost {
            self.wanted.remove(key);
            self.forget_basis(key);
            self.claims.waiting.remove(key);
            concerned.has_room = true;
        }
        let is_other = old.as_ref().map(|old| &old.uid) != new.as_ref().map(|new| &new.uid);
        let generation = |entry: &Arc<Entry>| entry.generation;
        if is_other || old.as_ref().map(generation) != new.as_ref().map(generation) {
            concerned.names.insert(key.clone());
            self.claims.forget(key);
        }
        let is_wanted = |entry: &Arc<Entry>| is_wanted(entry.object.annotations());
        if is_other || old.as_ref().map(is_wanted) != new.as_ref().map(is_wanted) {
            concerned.definitions.insert(key.clone());
        }
        swap(&mut self.topologies, key, new);
    }

    pub(super) fn replace_forwarder(
        &mut self,
        key: &Key,
        new: Option<Arc<CachedForwarder>>,
        concerned: &mut Concerned,
    ) {
        let old = self.forwarders.get(key).cloned();
        let is_same = match (&old, &new) {
            (Some(old), Some(new)) => {
                let resource_version = old.resource_version.clone();
                let mut as_old = new.as_ref().clone();
                as_old.resource_version = resource_version;
                // Which pods are attached says nothing of how to get there.
                as_old.attached.clone_from(&old.attached);
                as_old == **old
            }
            _ => false,
        };
        if let Some(old) = &old
            && let Some(keys) = self.forwarders_by_topology.get_mut(&old.topology)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.forwarders_by_topology.remove(&old.topology);
            }
        }
        if let Some(new) = &new {
            let keys = self.forwarders_by_topology.entry(new.topology.clone());
            keys.or_default().insert(key.clone());
        }
        // Also when it goes: ranges wait for it.
        for held in [&old, &new].into_iter().flatten() {
            concerned.sweep |= self.is_lost(held.owner.as_ref(), &held.topology);
        }
        let reports = [&old, &new].map(|held| held.as_ref().map(|held| held.reports()));
        if reports[0] != reports[1] {
            let of_either = [&old, &new].into_iter().flatten();
            let names = of_either.filter(|held| !held.attached.is_empty());
            concerned
                .names
                .extend(names.map(|held| held.topology.clone()));
        }
        if !is_same {
            let topologies = [&old, &new].into_iter().flatten();
            concerned
                .topologies
                .extend(topologies.map(|held| held.topology.clone()));
            concerned.topologies.extend(self.named_like(key));
            let is_computed_other = match (&old, &new) {
                (Some(old), Some(new)) => {
                    old.uid != new.uid || old.status.computed != new.status.computed
                }
                _ => new.is_some(),
            };
            if is_computed_other {
                concerned.forwarders.insert(key.clone());
            }
        }
        self.count(old.as_deref(), new.as_deref());
        concerned.has_room |= self.claims.count(old.as_deref(), new.as_deref());
        swap(&mut self.forwarders, key, new);
    }

    /// Lets a decoded Forwarder hold what is cached of it, or of others, in place of equal values of its own.
    pub(super) fn share(&mut self, new: &mut CachedForwarder) {
        let old = self.forwarders.get(&new.key);
        match old.filter(|old| old.spec == new.spec) {
            Some(old) => new.spec = Arc::clone(&old.spec),
            None => self.shared.share(Arc::make_mut(&mut new.spec)),
        }
    }

    /// Counts the Forwarders of each node.
    fn count(&mut self, old: Option<&CachedForwarder>, new: Option<&CachedForwarder>) {
        let [old, new] = [old, new].map(|held| held.map(|held| held.spec.node.as_str()));
        if old == new {
            return;
        }
        let load = Arc::make_mut(&mut self.load);
        if let Some(count) = old.and_then(|node| load.get_mut(node)) {
            *count = count.saturating_sub(1);
        }
        if let Some(node) = new.filter(|node| !node.is_empty()) {
            *load.entry(node.to_owned()).or_default() += 1;
        }
        if let Some(node) = old.filter(|node| load.get(*node) == Some(&0)) {
            load.remove(node);
        }
    }

    /// Names of Forwarder objects that this topology's may have, and that say they are of another one.
    pub(super) fn taken(&self, topology: &Key) -> BTreeSet<String> {
        let prefix = format!("{}.", topology.name);
        let named = self
            .forwarders
            .range(Key::new(&topology.namespace, &prefix)..)
            .take_while(|(key, _)| {
                key.namespace == topology.namespace && key.name.starts_with(&prefix)
            });
        let taken = named.filter(|(_, held)| held.topology != *topology);
        taken.map(|(key, _)| key.name.clone()).collect()
    }

    /// Topologies that a Forwarder object of this name stands in the way of, if it is not theirs.
    fn named_like(&self, forwarder: &Key) -> impl Iterator<Item = Key> {
        let dots = forwarder.name.match_indices('.');
        let keys = dots.map(|(at, _)| Key::new(&forwarder.namespace, &forwarder.name[..at]));
        keys.filter(|key| self.topologies.contains_key(key))
    }

    pub(super) fn replace_allocation(
        &mut self,
        key: &Key,
        new: Option<CachedAllocation>,
        concerned: &mut Concerned,
    ) {
        // Also when it goes: ranges wait for it.
        for held in [self.allocations.get(key), new.as_ref()]
            .into_iter()
            .flatten()
        {
            concerned.sweep |= self.is_lost(held.owner.as_ref(), &held.topology);
        }
        let old = self.allocations.get(key);
        let is_same = match (old, &new) {
            (Some(old), Some(new)) => {
                old.uid == new.uid && old.owner == new.owner && old.spec == new.spec
            }
            (old, new) => old.is_none() && new.is_none(),
        };
        if !is_same {
            let either = [old, new.as_ref()].into_iter().flatten();
            let topologies = either.map(|held| held.topology.clone());
            concerned.topologies.extend(topologies);
        }
        swap(&mut self.allocations, key, new);
    }

    pub(super) fn replace_range(
        &mut self,
        key: &Key,
        new: Option<CachedRange>,
        concerned: &mut Concerned,
    ) {
        if let Some(new) = &new {
            concerned.sweep |= self.is_lost(Some(&new.owner), &new.topology);
        }
        let old = self.ranges.get(key);
        let identity = |range: &CachedRange| (range.topology.clone(), range.owner.clone());
        if old.map(identity) != new.as_ref().map(identity) {
            let both = [old, new.as_ref()].into_iter().flatten();
            concerned
                .topologies
                .extend(both.map(|range| range.topology.clone()));
        }
        swap(&mut self.ranges, key, new);
    }

    /// Heartbeats change nothing that is cached of a node.
    pub(super) fn replace_node(
        &mut self,
        key: &Key,
        new: Option<CachedNode>,
        concerned: &mut Concerned,
    ) {
        let old = swap(&mut self.nodes, key, new.clone());
        if old == new {
            return;
        }
        mem::take(&mut self.all_nodes);
        self.claims.forget_nodes();
        let either: Vec<&CachedNode> = [&old, &new].into_iter().flatten().collect();
        // Who is placed stays: that a node is ready again matters to those that wait for one.
        let is_same_node = match &either[..] {
            [old, new] => old.node == new.node,
            _ => false,
        };
        let is_concerned = |entry: &&Arc<Entry>| {
            let Some(topology) = &entry.topology else {
                return false;
            };
            // One that waits for a node may have it now.
            !entry.problems.is_empty()
                || entry.computed.is_none()
                || !is_same_node
                    && either
                        .iter()
                        .any(|held| interest::may_hold(&topology.spec, &held.node))
                || !is_same_node
                    && self
                        .forwarders(&entry.key)
                        .any(|held| held.spec.node == key.name)
        };
        let keys = self.topologies.values().filter(is_concerned);
        concerned
            .topologies
            .extend(keys.map(|entry| entry.key.clone()));
    }

    pub(super) fn replace_pod(
        &mut self,
        key: &Key,
        new: Option<Arc<Pod>>,
        concerned: &mut Concerned,
    ) {
        let old = swap(&mut self.pods, key, new.clone());
        if old == new {
            return;
        }
        let either: Vec<Arc<Pod>> = [old, new].into_iter().flatten().collect();
        let is_concerned = |entry: &&Arc<Entry>| {
            let joins = |topology: &Arc<crds::MicroServiceTopology>| {
                either.iter().any(|pod| attach::concerns(topology, pod))
            };
            entry.topology.as_ref().is_some_and(joins)
        };
        let keys = self.topologies.values().filter(is_concerned);
        let keys: Vec<Key> = keys.map(|entry| entry.key.clone()).collect();
        concerned.names.extend(keys.iter().cloned());
        concerned.topologies.extend(keys);
    }

    fn is_lost(&self, owner: Option<&String>, topology: &Key) -> bool {
        owner.is_some_and(|owner| {
            let entry = self.topologies.get(topology);
            entry.is_none_or(|entry| entry.uid != *owner)
                && !self.readiness.misses(Kind::Topology, &topology.namespace)
        })
    }
}
