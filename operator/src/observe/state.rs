//! Cached objects with their indices. Each change returns the affected keys.

mod memory;
mod observed;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, OnceLock},
};

use crds::{Node, forwarder::SharedValues};
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::Resource;

use self::memory::Claims;
use super::{
    Entry, Key,
    cached::{Cached, CachedAllocation, CachedForwarder, CachedNode, CachedRange},
    interest,
    readiness::{Kind, Source, Watches},
};
use crate::plan::{Limits, Pod, Publish, Unfit, Versions};

/// Every node, and those that are unfit for new Forwarders.
pub(super) type Nodes = (Arc<Vec<Node>>, Arc<BTreeMap<String, Unfit>>);

/// Keys that a change affects.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Concerned {
    pub(super) topologies: BTreeSet<Key>,
    pub(super) forwarders: BTreeSet<Key>,
    /// Topologies whose names are to be reconciled.
    pub(super) names: BTreeSet<Key>,
    /// Topologies that may want a NetworkAttachmentDefinition, or want none any more.
    pub(super) definitions: BTreeSet<Key>,
    pub(super) sweep: bool,
    /// True when topologies that wait for room may have it now.
    pub(super) has_room: bool,
}

/// State of the cache.
pub(super) struct State {
    pub(super) readiness: Watches,
    /// resourceVersion of each object, so that an older answer never replaces a newer one.
    versions: HashMap<(Kind, Key), u64>,
    /// Highest resourceVersion that each watch has delivered.
    told: HashMap<Source, u64>,
    /// A resourceVersion that a list of a kind is not older than. Versions count changes of all kinds.
    listed: HashMap<Kind, u64>,
    pub(super) topologies: BTreeMap<Key, Arc<Entry>>,
    pub(super) forwarders: BTreeMap<Key, Arc<CachedForwarder>>,
    /// Values that Forwarders repeat, each once.
    pub(super) shared: SharedValues,
    pub(super) forwarders_by_topology: HashMap<Key, BTreeSet<Key>>,
    pub(super) allocations: BTreeMap<Key, CachedAllocation>,
    pub(super) ranges: BTreeMap<Key, CachedRange>,
    pub(super) nodes: BTreeMap<Key, CachedNode>,
    pub(super) all_nodes: OnceLock<Nodes>,
    /// Labels of the nodes that daemons run on, beside those of Linux.
    pub(super) node_selector: BTreeMap<String, String>,
    /// Bounds that the administrator sets.
    pub(super) limits: Limits,
    /// Number of Forwarders by node.
    pub(super) load: Arc<HashMap<String, u32>>,
    /// Memory that topologies take and ask for.
    pub(super) claims: Claims,
    /// The newest changes that concerned each topology.
    basis: HashMap<Key, Versions>,
    pub(super) pods: BTreeMap<Key, Arc<Pod>>,
    pub(super) services: BTreeMap<Key, Arc<Service>>,
    pub(super) slices: BTreeMap<Key, Arc<EndpointSlice>>,
    /// Keys of the slices of each topology.
    pub(super) slices_by_topology: HashMap<Key, BTreeSet<Key>>,
    /// Desired `status.computed` from the last plan of each topology, by Forwarder object.
    pub(super) wanted: HashMap<Key, BTreeMap<Key, Publish>>,
}

impl State {
    pub(super) fn new(sources: Vec<Source>) -> State {
        State {
            readiness: Watches::new(sources),
            versions: HashMap::new(),
            told: HashMap::new(),
            listed: HashMap::new(),
            topologies: BTreeMap::new(),
            forwarders: BTreeMap::new(),
            shared: SharedValues::default(),
            forwarders_by_topology: HashMap::new(),
            allocations: BTreeMap::new(),
            ranges: BTreeMap::new(),
            nodes: BTreeMap::new(),
            all_nodes: OnceLock::new(),
            node_selector: BTreeMap::new(),
            limits: Limits::default(),
            load: Arc::default(),
            claims: Claims::default(),
            basis: HashMap::new(),
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

    pub(super) fn forwarder(&self, key: &Key) -> Option<&Arc<CachedForwarder>> {
        self.forwarders.get(key)
    }

    pub(super) fn forwarders(&self, topology: &Key) -> impl Iterator<Item = &Arc<CachedForwarder>> {
        let keys = self.forwarders_by_topology.get(topology);
        keys.into_iter()
            .flatten()
            .filter_map(|key| self.forwarders.get(key))
    }

    /// Every node, and those that are unfit for new Forwarders.
    pub(super) fn nodes(&self) -> &Nodes {
        self.all_nodes.get_or_init(|| {
            let nodes = self.nodes.values().map(|held| held.node.clone());
            let unfit = self.nodes.values().filter_map(|held| {
                let unfit = interest::no_daemon(&self.node_selector, &held.node).or(held.unfit)?;
                Some((held.node.name.clone(), unfit))
            });
            (Arc::new(nodes.collect()), Arc::new(unfit.collect()))
        })
    }

    /// Newest versions that the watches have delivered.
    pub(super) fn heard(&self) -> Versions {
        let listed = |kind| self.listed.get(&kind).copied().unwrap_or(0);
        let heard = |kind| self.highest(kind).max(listed(kind));
        Versions {
            forwarders: heard(Kind::Forwarder),
            nodes: heard(Kind::Node),
            pods: heard(Kind::Pod),
        }
    }

    /// Newest delivered version of any kind.
    pub(super) fn newest(&self) -> u64 {
        self.told.values().copied().max().unwrap_or(0)
    }

    /// A list of this kind that began when `version` was the newest is complete: all of before is in it, also
    /// deleted objects, which are in no list.
    pub(super) fn listed_since(&mut self, kind: Kind, version: u64) {
        let listed = self.listed.entry(kind).or_default();
        *listed = version.max(*listed);
    }

    /// Notes that a change of this kind and version concerns topologies.
    fn note(&mut self, kind: Kind, version: u64, concerned: &Concerned) {
        let mut change = Versions::default();
        match kind {
            Kind::Forwarder => change.forwarders = version,
            Kind::Node => change.nodes = version,
            Kind::Pod => change.pods = version,
            Kind::Topology | Kind::Allocation | Kind::VniRange => return,
            Kind::Service | Kind::EndpointSlice => return,
        }
        for key in &concerned.topologies {
            let basis = self.basis.entry(key.clone()).or_default();
            *basis = basis.max(change);
        }
    }

    /// Another topology of this name is planned from its own changes.
    pub(super) fn forget_basis(&mut self, key: &Key) {
        self.basis.remove(key);
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

    /// Starts a new list of this watch: its content counts, even with lower versions.
    pub(super) fn relist(&mut self, source: &Source) {
        self.told.remove(source);
        self.listed.remove(&source.kind);
        self.versions
            .retain(|(kind, key), _| !source.covers(*kind, &key.namespace));
    }

    /// Highest resourceVersion that the watches of a kind have delivered.
    pub(super) fn highest(&self, kind: Kind) -> u64 {
        let of_kind = self.told.iter().filter(|(source, _)| source.kind == kind);
        of_kind.map(|(_, told)| *told).max().unwrap_or(0)
    }

    fn note_told(&mut self, kind: Kind, key: &Key, version: u64) {
        let source = self.readiness.source(kind, &key.namespace);
        let told = self.told.entry(source).or_default();
        *told = version.max(*told);
    }

    /// Stores an object of a watch, unless the answer to a write was newer.
    pub(super) fn put(&mut self, key: &Key, held: Cached, version: u64) -> Concerned {
        self.note_told(held.kind(), key, version);
        self.put_newer(key, held, version)
    }

    /// Stores the answer to an own write, unless the watch has delivered that version already.
    pub(super) fn learn(&mut self, key: &Key, held: Cached, version: u64) -> Concerned {
        let source = self.readiness.source(held.kind(), &key.namespace);
        if self.told.get(&source).is_some_and(|told| version <= *told) {
            return Concerned::default();
        }
        self.put_newer(key, held, version)
    }

    fn put_newer(&mut self, key: &Key, held: Cached, version: u64) -> Concerned {
        let id = (held.kind(), key.clone());
        if self.versions.get(&id).is_some_and(|known| *known > version) {
            return Concerned::default();
        }
        self.versions.insert(id, version);
        let kind = held.kind();
        let concerned = self.replace(kind, key, Some(held));
        self.note(kind, version, &concerned);
        concerned
    }

    /// Takes the end of an object, unless it has been made again since.
    pub(super) fn remove(&mut self, kind: Kind, key: &Key, version: u64) -> Concerned {
        self.note_told(kind, key, version);
        let id = (kind, key.clone());
        if self.versions.get(&id).is_some_and(|known| *known > version) {
            return Concerned::default();
        }
        self.versions.remove(&id);
        let concerned = self.replace(kind, key, None);
        self.note(kind, version, &concerned);
        concerned
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
            Kind::Service => self.services.get(key).and_then(uid_of),
            Kind::EndpointSlice => self.slices.get(key).and_then(uid_of),
            Kind::Topology | Kind::Node | Kind::Pod => None,
        };
        let is_held = held.is_some_and(|held| held == uid);
        is_held.then(|| self.replace(kind, key, None))
    }

    fn replace(&mut self, kind: Kind, key: &Key, held: Option<Cached>) -> Concerned {
        let mut concerned = Concerned::default();
        match held {
            Some(Cached::Topology(entry)) => {
                self.replace_topology(key, Some(entry), &mut concerned)
            }
            Some(Cached::Forwarder(held)) => {
                self.replace_forwarder(key, Some(held), &mut concerned)
            }
            Some(Cached::Allocation(held)) => {
                self.replace_allocation(key, Some(held), &mut concerned);
            }
            Some(Cached::Range(held)) => self.replace_range(key, Some(held), &mut concerned),
            Some(Cached::Node(node)) => self.replace_node(key, Some(node), &mut concerned),
            Some(Cached::Pod(pod)) => self.replace_pod(key, Some(pod), &mut concerned),
            Some(Cached::Service(new)) => self.replace_service(key, Some(new), &mut concerned),
            Some(Cached::EndpointSlice(new)) => self.replace_slice(key, Some(new), &mut concerned),
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

fn uid_of<T: Resource>(object: &Arc<T>) -> Option<&String> {
    object.meta().uid.as_ref()
}

#[cfg(test)]
mod tests;
