//! Services and EndpointSlices of Apps, from the attached pods. Pure.
//!
//! ```text
//! reports of nodes -> planned -> attached pods of an App -> Service TOPOLOGY-APP (headless, no selector) -> EndpointSlices with the topology's addresses
//! ```
//! The cluster's DNS makes of it `TOPOLOGY-APP.NAMESPACE.svc` and `POD.TOPOLOGY-APP.NAMESPACE.svc`.
//! A foreign object of such a name is left unchanged.

mod objects;
mod reported;
mod slices;

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
    sync::Arc,
};

use crds::{MicroServiceTopology, names};
use k8s_openapi::{
    api::{core::v1::Service, discovery::v1::EndpointSlice},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{Resource, ResourceExt, core::ObjectMeta};

use self::{
    objects::{deletes, is_like, on},
    slices::Sharding,
};
use super::Delete;

pub use reported::{Reporter, planned};
pub use slices::SLICE_MAX;

/// Label of a Service and of its slices with the name of the App.
pub const APP_LABEL: &str = "beemesh.io/app";
/// Label of a slice with the name of its Service.
pub const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// All that is observed of the names of one topology.
#[derive(Clone, Debug, Default)]
pub struct NamesWorld {
    /// The topology's namespace.
    pub namespace: String,
    /// Its name.
    pub topology: String,
    /// `metadata.uid` of it.
    pub uid: String,
    /// The pods that are attached to it, in any order.
    pub pods: Vec<AttachedPod>,
    /// The Services of its namespace that carry its label.
    pub services: Vec<Arc<Service>>,
    /// The EndpointSlices of its namespace that carry its label.
    pub slices: Vec<Arc<EndpointSlice>>,
    /// Names of Services of other topologies in its namespace.
    pub taken: BTreeSet<String>,
}

/// A pod that a node has attached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttachedPod {
    /// The App that it is an instance of.
    pub app: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its node.
    pub node: String,
    /// Its addresses in the topology.
    pub addresses: Vec<IpAddr>,
}

/// Plan for the names of one topology.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NamesPlan {
    /// Service of each App, sorted by App.
    pub names: Vec<Name>,
    /// Foreign Services with a conflicting name, by App.
    pub foreign: Vec<(String, String)>,
    /// Slices that are to go.
    pub delete_slices: Vec<Delete>,
    /// Services that are to go.
    pub delete_services: Vec<Delete>,
}

/// Service of one App.
#[derive(Clone, Debug, PartialEq)]
pub struct Name {
    /// The App.
    pub app: String,
    /// The Service.
    pub service: String,
    /// Write of the Service; `None` when it is up to date.
    pub write: Option<Write<Service>>,
    /// The slices that differ.
    pub slices: Vec<Write<EndpointSlice>>,
}

/// An object to be written.
#[derive(Clone, Debug, PartialEq)]
pub enum Write<T> {
    /// Create an absent object.
    Create(T),
    /// Apply to a differing object; its uid and resourceVersion are preconditions.
    Apply(T),
}

impl NamesPlan {
    /// True when nothing is to be written.
    pub fn is_settled(&self) -> bool {
        let is_settled = |name: &Name| name.write.is_none() && name.slices.is_empty();
        self.names.iter().all(is_settled)
            && self.delete_slices.is_empty()
            && self.delete_services.is_empty()
    }
}

impl NamesPlan {
    /// A hash of all that would be written and deleted: the same for a plan that differs in versions only.
    pub fn fingerprint(&self) -> u64 {
        let mut plan = self.clone();
        for name in &mut plan.names {
            name.write.iter_mut().for_each(Write::forget_version);
            name.slices.iter_mut().for_each(Write::forget_version);
        }
        let mut hasher = DefaultHasher::new();
        format!("{plan:?}").hash(&mut hasher);
        hasher.finish()
    }
}

impl<T: ResourceExt> Write<T> {
    fn forget_version(&mut self) {
        let (Write::Create(object) | Write::Apply(object)) = self;
        object.meta_mut().resource_version = None;
    }
}

/// Decides by which names the Apps of one topology are found.
pub fn names(world: &NamesWorld) -> NamesPlan {
    let mut pods_by_app: BTreeMap<&str, Vec<&AttachedPod>> = BTreeMap::new();
    for pod in &world.pods {
        pods_by_app.entry(&pod.app).or_default().push(pod);
    }
    let mut plan = NamesPlan::default();
    let mut kept = BTreeSet::new();
    for (app, pods) in &pods_by_app {
        match world.choose(app) {
            Choice::Have(service) => {
                kept.insert(service.name_any());
                let wanted = world.service(app, &service.name_any());
                let write = (!is_like(service, &wanted)).then(|| Write::Apply(on(wanted, service)));
                world.add(&mut plan, app, &service.name_any(), write, pods);
            }
            Choice::Make(name) => {
                let wanted = world.service(app, &name);
                world.add(&mut plan, app, &name, Some(Write::Create(wanted)), pods);
            }
            Choice::Foreign(name) => plan.foreign.push(((*app).to_owned(), name)),
            Choice::Wait => {}
        }
    }
    let is_surplus = |service: &&Arc<Service>| {
        world.is_former(service.meta())
            || (world.is_own(service.meta()) && !kept.contains(&service.name_any()))
    };
    plan.delete_services = deletes(world.services.iter().filter(is_surplus));
    let served: BTreeSet<&str> = plan.names.iter().map(|name| &*name.service).collect();
    let is_surplus = |slice: &&Arc<EndpointSlice>| {
        let service = slice.labels().get(SERVICE_LABEL).map(String::as_str);
        let is_served = service.is_some_and(|service| served.contains(service));
        world.is_former(slice.meta()) || (world.is_own(slice.meta()) && !is_served)
    };
    let surplus = deletes(world.slices.iter().filter(is_surplus));
    plan.delete_slices.extend(surplus);
    plan
}

/// Service of an App.
enum Choice<'a> {
    /// This one, which it has.
    Have(&'a Service),
    /// One of this name.
    Make(String),
    /// None: a foreign Service has this name.
    Foreign(String),
    /// None as long as one is on its way out.
    Wait,
}

impl NamesWorld {
    /// Chooses the Service name of an App; an existing one stays, whatever names others get.
    fn choose(&self, app: &str) -> Choice<'_> {
        let is_of_app =
            |service: &&Arc<Service>| service.labels().get(APP_LABEL).is_some_and(|of| of == app);
        let mut own = self.services.iter().filter(is_of_app);
        if let Some(service) = own.find(|service| self.is_own(service.meta())) {
            return Choice::Have(service);
        }
        let candidates = [names::service, names::service_hashed];
        let mut candidates = candidates.map(|name| name(&self.topology, app)).into_iter();
        let Some(name) = candidates.find(|name| !self.taken.contains(name)) else {
            return Choice::Wait;
        };
        match self.services.iter().find(|there| there.name_any() == name) {
            None => Choice::Make(name),
            Some(there) if controller(there.meta()).is_some() => Choice::Wait,
            Some(_) => Choice::Foreign(name),
        }
    }

    fn add(
        &self,
        plan: &mut NamesPlan,
        app: &str,
        service: &str,
        write: Option<Write<Service>>,
        pods: &[&AttachedPod],
    ) {
        let mut slices = Vec::new();
        for (family, wanted) in self.endpoints(pods) {
            let Sharding { write, delete } = self.shard(app, service, family, wanted);
            slices.extend(write);
            plan.delete_slices.extend(delete);
        }
        plan.names.push(Name {
            app: app.to_owned(),
            service: service.to_owned(),
            write,
            slices,
        });
    }

    /// True when it belongs to this topology and stays.
    fn is_own(&self, object: &ObjectMeta) -> bool {
        controller(object) == Some(&self.uid) && object.deletion_timestamp.is_none()
    }

    /// True when it belonged to a deleted topology of the same name.
    fn is_former(&self, object: &ObjectMeta) -> bool {
        controller(object).is_some_and(|owner| *owner != self.uid)
            && object.deletion_timestamp.is_none()
    }
}

/// uid of the topology that controls an object.
pub(crate) fn controller(object: &ObjectMeta) -> Option<&String> {
    let is_topology = |owner: &&OwnerReference| {
        owner.controller == Some(true) && owner.kind == MicroServiceTopology::KIND
    };
    let owners = object.owner_references.as_deref().unwrap_or_default();
    owners.iter().find(is_topology).map(|owner| &owner.uid)
}

#[cfg(test)]
mod tests;
