//! What is held, with its indices. Each change says what it concerns.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, OnceLock},
};

use crds::{Node, attach};
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};

use super::{
    Entry, Key,
    held::{Held, HeldAllocation, HeldForwarder, HeldRange},
    names::uid_of,
    read::existing_forwarder,
    readiness::{Kind, Source, Watches},
};
use crate::plan::{Pod, Publish, World};

/// What a change concerns.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Concerned {
    pub(super) topologies: BTreeSet<Key>,
    pub(super) forwarders: BTreeSet<Key>,
    /// Topologies whose names are to be looked at.
    pub(super) names: BTreeSet<Key>,
    /// Topologies that may want a NetworkAttachmentDefinition, or want none any more.
    pub(super) definitions: BTreeSet<Key>,
    pub(super) sweep: bool,
}

/// Everything that is held.
pub(super) struct State {
    pub(super) readiness: Watches,
    /// resourceVersion of each object, so that an older answer never replaces a newer one.
    versions: HashMap<(Kind, Key), u64>,
    /// Highest resourceVersion that each watch has told.
    told: HashMap<Source, u64>,
    pub(super) topologies: BTreeMap<Key, Arc<Entry>>,
    pub(super) forwarders: BTreeMap<Key, Arc<HeldForwarder>>,
    pub(super) forwarders_by_topology: HashMap<Key, BTreeSet<Key>>,
    pub(super) allocations: BTreeMap<Key, HeldAllocation>,
    pub(super) ranges: BTreeMap<Key, HeldRange>,
    pub(super) nodes: BTreeMap<Key, Node>,
    pub(super) all_nodes: OnceLock<Arc<Vec<Node>>>,
    pub(super) pods: BTreeMap<Key, Arc<Pod>>,
    pub(super) services: BTreeMap<Key, Arc<Service>>,
    pub(super) slices: BTreeMap<Key, Arc<EndpointSlice>>,
    /// Keys of the slices of each topology.
    pub(super) slices_by_topology: HashMap<Key, BTreeSet<Key>>,
    /// What the last plan of each topology wants in `status.computed`, by the Forwarder's object.
    pub(super) wanted: HashMap<Key, BTreeMap<Key, Publish>>,
}

impl State {
    pub(super) fn new(sources: Vec<Source>) -> State {
        State {
            readiness: Watches::new(sources),
            versions: HashMap::new(),
            told: HashMap::new(),
            topologies: BTreeMap::new(),
            forwarders: BTreeMap::new(),
            forwarders_by_topology: HashMap::new(),
            allocations: BTreeMap::new(),
            ranges: BTreeMap::new(),
            nodes: BTreeMap::new(),
            all_nodes: OnceLock::new(),
            pods: BTreeMap::new(),
            services: BTreeMap::new(),
            slices: BTreeMap::new(),
            slices_by_topology: HashMap::new(),
            wanted: HashMap::new(),
        }
    }

    pub(super) fn topologies(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.topologies.values()
    }

    pub(super) fn topology(&self, key: &Key) -> Option<&Arc<Entry>> {
        self.topologies.get(key)
    }

    pub(super) fn forwarder(&self, key: &Key) -> Option<&Arc<HeldForwarder>> {
        self.forwarders.get(key)
    }

    pub(super) fn forwarders(&self, topology: &Key) -> impl Iterator<Item = &Arc<HeldForwarder>> {
        let keys = self.forwarders_by_topology.get(topology);
        keys.into_iter()
            .flatten()
            .filter_map(|key| self.forwarders.get(key))
    }

    pub(super) fn nodes(&self) -> Arc<Vec<Node>> {
        let all = self
            .all_nodes
            .get_or_init(|| Arc::new(self.nodes.values().cloned().collect()));
        Arc::clone(all)
    }

    pub(super) fn size(&self, kind: Kind) -> usize {
        match kind {
            Kind::Topology => self.topologies.len(),
            Kind::Forwarder => self.forwarders.len(),
            Kind::Allocation => self.allocations.len(),
            Kind::VniRange => self.ranges.len(),
            Kind::Node => self.nodes.len(),
            Kind::Pod => self.pods.len(),
            Kind::Service => self.services.len(),
            Kind::EndpointSlice => self.slices.len(),
        }
    }

    /// All but the nodes.
    pub(super) fn world(&self, key: &Key) -> Option<World> {
        let entry = self.topologies.get(key)?;
        let topology = entry.topology.as_ref()?;
        let allocation = self.allocations.get(key);
        let allocation = allocation.map(|held| held.existing(&entry.uid));
        let (own, foreign): (Vec<&HeldRange>, Vec<&HeldRange>) = self
            .ranges
            .values()
            .partition(|range| range.owner == entry.uid);
        let sorted = |ranges: Vec<&HeldRange>| {
            let firsts: BTreeSet<u32> = ranges.into_iter().map(|range| range.first).collect();
            firsts.into_iter().collect()
        };
        Some(World {
            topology: topology.as_ref().clone(),
            ignored: entry.ignored.clone(),
            uid: entry.uid.clone(),
            generation: entry.generation,
            is_going: entry.is_going,
            status: entry.status.clone(),
            nodes: Vec::new(),
            pods: self
                .pods_of(topology)
                .map(|pod| pod.as_ref().clone())
                .collect(),
            forwarders: self
                .forwarders(key)
                .map(|held| existing_forwarder(held, &entry.uid))
                .collect(),
            taken: self.taken(key),
            allocation,
            ranges: sorted(own),
            foreign_ranges: sorted(foreign),
        })
    }

    pub(super) fn pods_of<'a>(
        &'a self,
        topology: &'a crds::MicroServiceTopology,
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

    /// Keys of all objects of a kind, in one namespace or in all.
    pub(super) fn keys(&self, kind: Kind, namespace: Option<&str>) -> Vec<Key> {
        let keys: Box<dyn Iterator<Item = &Key>> = match kind {
            Kind::Topology => Box::new(self.topologies.keys()),
            Kind::Forwarder => Box::new(self.forwarders.keys()),
            Kind::Allocation => Box::new(self.allocations.keys()),
            Kind::VniRange => Box::new(self.ranges.keys()),
            Kind::Node => Box::new(self.nodes.keys()),
            Kind::Pod => Box::new(self.pods.keys()),
            Kind::Service => Box::new(self.services.keys()),
            Kind::EndpointSlice => Box::new(self.slices.keys()),
        };
        keys.filter(|key| namespace.is_none_or(|namespace| key.namespace == namespace))
            .cloned()
            .collect()
    }

    /// A list of this watch begins anew: whatever it says is the truth, also when its versions are lower.
    pub(super) fn relist(&mut self, source: &Source) {
        self.told.remove(source);
        self.versions
            .retain(|(kind, key), _| !source.covers(*kind, &key.namespace));
    }

    /// Highest resourceVersion that the watches of a kind have told.
    pub(super) fn highest(&self, kind: Kind) -> u64 {
        let of_kind = self.told.iter().filter(|(source, _)| source.kind == kind);
        of_kind.map(|(_, told)| *told).max().unwrap_or(0)
    }

    fn note_told(&mut self, kind: Kind, key: &Key, version: u64) {
        let source = self.readiness.source(kind, &key.namespace);
        let told = self.told.entry(source).or_default();
        *told = version.max(*told);
    }

    /// Takes what the watch tells, unless an answer to a write was newer.
    pub(super) fn put(&mut self, key: &Key, held: Held, version: u64) -> Concerned {
        self.note_told(held.kind(), key, version);
        self.put_newer(key, held, version)
    }

    /// Takes the answer to a write of our own, unless the watch has told as much already.
    pub(super) fn learn(&mut self, key: &Key, held: Held, version: u64) -> Concerned {
        let source = self.readiness.source(held.kind(), &key.namespace);
        if self.told.get(&source).is_some_and(|told| version <= *told) {
            return Concerned::default();
        }
        self.put_newer(key, held, version)
    }

    fn put_newer(&mut self, key: &Key, held: Held, version: u64) -> Concerned {
        let id = (held.kind(), key.clone());
        if self.versions.get(&id).is_some_and(|known| *known > version) {
            return Concerned::default();
        }
        self.versions.insert(id, version);
        self.replace(held.kind(), key, Some(held))
    }

    /// Takes the end of an object, unless it has been made again since.
    pub(super) fn remove(&mut self, kind: Kind, key: &Key, version: u64) -> Concerned {
        self.note_told(kind, key, version);
        let id = (kind, key.clone());
        if self.versions.get(&id).is_some_and(|known| *known > version) {
            return Concerned::default();
        }
        self.versions.remove(&id);
        self.replace(kind, key, None)
    }

    /// Takes the absence of an object from a complete list.
    pub(super) fn forget(&mut self, kind: Kind, key: &Key) -> Concerned {
        self.versions.remove(&(kind, key.clone()));
        self.replace(kind, key, None)
    }

    /// Takes the end of the object with this uid; `None` when another one is held.
    pub(super) fn unlearn(&mut self, kind: Kind, key: &Key, uid: &str) -> Option<Concerned> {
        let held = match kind {
            Kind::Forwarder => self.forwarders.get(key).map(|held| &held.uid),
            Kind::Allocation => self.allocations.get(key).map(|held| &held.uid),
            Kind::VniRange => self.ranges.get(key).map(|held| &held.uid),
            Kind::Service => uid_of(self.services.get(key)),
            Kind::EndpointSlice => uid_of(self.slices.get(key)),
            Kind::Topology | Kind::Node | Kind::Pod => None,
        };
        let is_held = held.is_some_and(|held| held == uid);
        is_held.then(|| self.replace(kind, key, None))
    }

    fn replace(&mut self, kind: Kind, key: &Key, held: Option<Held>) -> Concerned {
        let mut concerned = Concerned::default();
        match held {
            Some(Held::Topology(entry)) => self.replace_topology(key, Some(entry), &mut concerned),
            Some(Held::Forwarder(held)) => self.replace_forwarder(key, Some(held), &mut concerned),
            Some(Held::Allocation(held)) => {
                self.replace_allocation(key, Some(held), &mut concerned);
            }
            Some(Held::Range(held)) => self.replace_range(key, Some(held), &mut concerned),
            Some(Held::Node(node)) => self.replace_node(key, Some(node), &mut concerned),
            Some(Held::Pod(pod)) => self.replace_pod(key, Some(pod), &mut concerned),
            Some(Held::Service(new)) => self.replace_service(key, Some(new), &mut concerned),
            Some(Held::EndpointSlice(new)) => self.replace_slice(key, Some(new), &mut concerned),
            None => match kind {
                Kind::Topology => self.replace_topology(key, None, &mut concerned),
                Kind::Forwarder => self.replace_forwarder(key, None, &mut concerned),
                Kind::Allocation => self.replace_allocation(key, None, &mut concerned),
                Kind::VniRange => self.replace_range(key, None, &mut concerned),
                Kind::Node => self.replace_node(key, None, &mut concerned),
                Kind::Pod => self.replace_pod(key, None, &mut concerned),
                Kind::Service => self.replace_service(key, None, &mut concerned),
                Kind::EndpointSlice => self.replace_slice(key, None, &mut concerned),
            },
        }
        concerned
    }
}

#[cfg(test)]
mod tests;
