//! Services and EndpointSlices with our label, and the attached pods that they are made for.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use crds::forwarder::TOPOLOGY_LABEL;
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::{Resource, ResourceExt};

use super::{
    Entry, Key,
    orphans::Orphan,
    readiness::Kind,
    state::{Concerned, State},
};
use crate::plan::{
    Pod,
    names::{AttachedPod, NamesWorld, Reporter, controller, planned},
};

/// The topology that an object says it is of.
fn topology_of<T: ResourceExt>(object: &T) -> Key {
    let name = object.labels().get(TOPOLOGY_LABEL).cloned();
    Key::new(
        object.namespace().unwrap_or_default(),
        name.unwrap_or_default(),
    )
}

impl State {
    /// Input for the names of one topology; `None` when it is gone, going, or its declaration cannot be read: then
    /// its names stay as they are.
    pub(super) fn names(&self, key: &Key) -> Option<NamesWorld> {
        let entry = self.topologies.get(key).filter(|entry| !entry.is_going)?;
        let pods = self.attached_pods(entry)?;
        let (services, others): (Vec<_>, Vec<_>) = self
            .services
            .range(Key::new(&key.namespace, "")..)
            .take_while(|(of, _)| of.namespace == key.namespace)
            .map(|(_, service)| service)
            .partition(|service| topology_of(service.as_ref()) == *key);
        let slices = self.slices_by_topology.get(key).into_iter().flatten();
        let slices = slices.filter_map(|key| self.slices.get(key));
        let taken = others
            .iter()
            .filter(|other| controller(other.meta()).is_some());
        Some(NamesWorld {
            namespace: key.namespace.clone(),
            topology: key.name.clone(),
            uid: entry.uid.clone(),
            pods: pods.into_iter().collect(),
            services: services.into_iter().cloned().collect(),
            slices: slices.cloned().collect(),
            taken: taken.map(|other| other.name_any()).collect(),
        })
    }

    /// The pods of a topology that nodes report and that are planned. A pod that is gone or going is none of them,
    /// whatever its node still reports.
    fn attached_pods(&self, entry: &Entry) -> Option<BTreeSet<AttachedPod>> {
        let topology = entry.topology.as_ref()?;
        let own = self
            .forwarders(&entry.key)
            .filter(|held| held.owner.as_ref() == Some(&entry.uid) && !held.is_going);
        let reporters = own.map(|held| Reporter {
            name: &held.spec.name,
            node: &held.spec.node,
            blocks: &held.spec.blocks,
            attached: &held.attached,
        });
        let reporters: Vec<Reporter<'_>> = reporters.collect();
        if reporters
            .iter()
            .all(|reporter| reporter.attached.is_empty())
        {
            return Some(BTreeSet::new());
        }
        let pods: Vec<&Pod> = self.pods_of(topology).map(AsRef::as_ref).collect();
        let is_watched = |namespace: &str| self.readiness.covers(Kind::Pod, namespace);
        Some(planned(topology, &reporters, &pods, is_watched))
    }

    pub(super) fn replace_service(
        &mut self,
        key: &Key,
        new: Option<Arc<Service>>,
        concerned: &mut Concerned,
    ) {
        let old = match new.clone() {
            Some(new) => self.services.insert(key.clone(), new),
            None => self.services.remove(key),
        };
        self.concern_names(old, new, concerned);
    }

    pub(super) fn replace_slice(
        &mut self,
        key: &Key,
        new: Option<Arc<EndpointSlice>>,
        concerned: &mut Concerned,
    ) {
        let old = match new.clone() {
            Some(new) => self.slices.insert(key.clone(), new),
            None => self.slices.remove(key),
        };
        if let Some(old) = &old {
            let topology = topology_of(old.as_ref());
            if let Some(keys) = self.slices_by_topology.get_mut(&topology) {
                keys.remove(key);
                if keys.is_empty() {
                    self.slices_by_topology.remove(&topology);
                }
            }
        }
        if let Some(new) = &new {
            let keys = self.slices_by_topology.entry(topology_of(new.as_ref()));
            keys.or_default().insert(key.clone());
        }
        self.concern_names(old, new, concerned);
    }

    fn concern_names<T: ResourceExt>(
        &self,
        old: Option<Arc<T>>,
        new: Option<Arc<T>>,
        concerned: &mut Concerned,
    ) {
        for object in [old, new].into_iter().flatten() {
            let key = topology_of(object.as_ref());
            let topology = self.topologies.get(&key).map(|entry| &entry.uid);
            let owner = controller(object.meta());
            concerned.sweep |= owner.is_some() && owner != topology;
            concerned.names.insert(key);
        }
    }

    /// Names of topologies that are none of those that live.
    pub(super) fn lost_names(&self, live: &HashSet<&str>) -> Vec<Orphan> {
        let services = self.services.values();
        let services = services.filter_map(|object| orphan(Kind::Service, object.as_ref(), live));
        let slices = self.slices.values();
        let slices = slices.filter_map(|object| orphan(Kind::EndpointSlice, object.as_ref(), live));
        services.chain(slices).collect()
    }
}

fn orphan<T: ResourceExt>(kind: Kind, object: &T, live: &HashSet<&str>) -> Option<Orphan> {
    let metadata = object.meta();
    let owner = controller(metadata).filter(|owner| !live.contains(owner.as_str()))?;
    metadata.deletion_timestamp.is_none().then(|| Orphan {
        kind,
        key: Key::new(object.namespace().unwrap_or_default(), object.name_any()),
        uid: object.uid().unwrap_or_default(),
        resource_version: object.resource_version().unwrap_or_default(),
        topology: topology_of(object),
        owner: owner.clone(),
        first: None,
    })
}
