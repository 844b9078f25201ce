//! From the pods that nodes report as attached to the names by which others find them. Pure.
//!
//! ```text
//! attached pods of an App -> Service TOPOLOGY-APP (headless, no selector) -> EndpointSlices with the topology's addresses
//! ```
//! The cluster's DNS makes of it `TOPOLOGY-APP.NAMESPACE.svc` and `POD.TOPOLOGY-APP.NAMESPACE.svc`.
//! What an object of somebody else is named like is left to that object.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use crds::{MicroServiceTopology, forwarder::TOPOLOGY_LABEL, names};
use k8s_openapi::{
    api::{
        core::v1::{ObjectReference, Service, ServiceSpec},
        discovery::v1::{Endpoint, EndpointConditions, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{Resource, ResourceExt, core::ObjectMeta};

use super::Delete;

/// Label of a Service and of its slices with the name of the App.
pub const APP_LABEL: &str = "beemesh.io/app";
/// Label of a slice with the name of its Service.
pub const SERVICE_LABEL: &str = "kubernetes.io/service-name";
/// Endpoints of one slice.
pub const SLICE_MAX: usize = 100;

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

/// What is to be done about the names of one topology.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NamesPlan {
    /// What each App is to be found by, sorted by App.
    pub names: Vec<Name>,
    /// Services in the way that are nobody's we know, by App.
    pub foreign: Vec<(String, String)>,
    /// Slices that are to go.
    pub delete_slices: Vec<Delete>,
    /// Services that are to go.
    pub delete_services: Vec<Delete>,
}

/// What one App is to be found by.
#[derive(Clone, Debug, PartialEq)]
pub struct Name {
    /// The App.
    pub app: String,
    /// The Service.
    pub service: String,
    /// How it is to be written; `None` when it is as it should be.
    pub write: Option<Write<Service>>,
    /// The slices that differ.
    pub slices: Vec<Write<EndpointSlice>>,
}

/// An object to be written.
#[derive(Clone, Debug, PartialEq)]
pub enum Write<T> {
    /// It is not there.
    Create(T),
    /// It is there and differs; uid and resourceVersion are in it, as preconditions.
    Apply(T),
}

impl NamesPlan {
    /// Whether nothing is to be written.
    pub fn is_settled(&self) -> bool {
        let is_settled = |name: &Name| name.write.is_none() && name.slices.is_empty();
        self.names.iter().all(is_settled)
            && self.delete_slices.is_empty()
            && self.delete_services.is_empty()
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

/// Which Service an App gets.
enum Choice<'a> {
    /// This one, which it has.
    Have(&'a Service),
    /// One of this name.
    Make(String),
    /// None: one of this name is somebody else's.
    Foreign(String),
    /// None as long as one is on its way out.
    Wait,
}

impl NamesWorld {
    /// What an App is found by stays, whatever others are named.
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

    /// The endpoints of one App, by family and address.
    fn endpoints(&self, pods: &[&AttachedPod]) -> [(Family, BTreeMap<IpAddr, Endpoint>); 2] {
        let mut sorted: Vec<&&AttachedPod> = pods.iter().collect();
        // Of pods with one name, that of the topology's own namespace is the one that the name means.
        sorted.sort_by_key(|pod| (pod.namespace != self.namespace, **pod));
        let mut owner_of_name: BTreeMap<&str, &str> = BTreeMap::new();
        let mut families = [(Family::V4, BTreeMap::new()), (Family::V6, BTreeMap::new())];
        for pod in sorted {
            let owner = owner_of_name.entry(&pod.name).or_insert(&pod.namespace);
            let has_name = *owner == pod.namespace && names::is_dns_label(&pod.name);
            for address in pod.addresses.iter().filter(|address| can_serve(**address)) {
                let (_, endpoints) = &mut families[usize::from(address.is_ipv6())];
                endpoints.insert(*address, endpoint(pod, *address, has_name));
            }
        }
        families
    }

    /// Spreads endpoints over slices, so that as few slices as may be differ from what is there.
    fn shard(
        &self,
        app: &str,
        service: &str,
        family: Family,
        mut wanted: BTreeMap<IpAddr, Endpoint>,
    ) -> Sharding {
        let is_ours = |slice: &&Arc<EndpointSlice>| {
            self.is_own(slice.meta())
                && slice.address_type == family.word()
                && slice
                    .labels()
                    .get(SERVICE_LABEL)
                    .is_some_and(|of| of == service)
        };
        let there: Vec<&Arc<EndpointSlice>> = self.slices.iter().filter(is_ours).collect();
        let mut shards: Vec<BTreeMap<IpAddr, Endpoint>> = Vec::with_capacity(there.len());
        for slice in &there {
            let addresses = slice
                .endpoints
                .iter()
                .flat_map(|endpoint| &endpoint.addresses);
            let addresses = addresses.filter_map(|address| address.parse::<IpAddr>().ok());
            let still = addresses.filter_map(|address| wanted.remove_entry(&address));
            shards.push(still.take(SLICE_MAX).collect());
        }
        let mut rest = wanted.into_iter();
        for shard in &mut shards {
            let room = SLICE_MAX - shard.len();
            shard.extend(rest.by_ref().take(room));
        }
        let mut sharding = Sharding::default();
        for (slice, shard) in there.iter().zip(shards) {
            if shard.is_empty() {
                sharding.delete.extend(deletes([*slice]));
                continue;
            }
            let wanted = self.slice(app, service, &slice.name_any(), family, shard);
            if slice.endpoints != wanted.endpoints || !has_metadata(slice.meta(), &wanted.metadata)
            {
                sharding
                    .write
                    .push(Write::Apply(on(wanted, slice.as_ref())));
            }
        }
        let used: BTreeSet<String> = self.slices.iter().map(|slice| slice.name_any()).collect();
        let free = (0_u32..)
            .map(|number| format!("{service}-{}-{number}", family.suffix()))
            .filter(|name| !used.contains(name));
        for name in free {
            let shard: BTreeMap<IpAddr, Endpoint> = rest.by_ref().take(SLICE_MAX).collect();
            if shard.is_empty() {
                break;
            }
            let slice = self.slice(app, service, &name, family, shard);
            sharding.write.push(Write::Create(slice));
        }
        sharding
    }

    fn service(&self, app: &str, name: &str) -> Service {
        Service {
            metadata: self.metadata(app, name, &[]),
            spec: Some(ServiceSpec {
                cluster_ip: Some("None".to_owned()),
                ..ServiceSpec::default()
            }),
            ..Service::default()
        }
    }

    fn slice(
        &self,
        app: &str,
        service: &str,
        name: &str,
        family: Family,
        endpoints: BTreeMap<IpAddr, Endpoint>,
    ) -> EndpointSlice {
        let labels = [
            (SERVICE_LABEL, service),
            ("endpointslice.kubernetes.io/managed-by", "beemesh.io"),
            // It has no address that kube-proxy would have to see to.
            ("service.kubernetes.io/headless", ""),
        ];
        EndpointSlice {
            address_type: family.word().to_owned(),
            endpoints: endpoints.into_values().collect(),
            metadata: self.metadata(app, name, &labels),
            ports: None,
        }
    }

    fn metadata(&self, app: &str, name: &str, labels: &[(&str, &str)]) -> ObjectMeta {
        let common = [(TOPOLOGY_LABEL, &*self.topology), (APP_LABEL, app)];
        let labels = common.iter().chain(labels);
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(self.namespace.clone()),
            labels: Some(
                labels
                    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                    .collect(),
            ),
            owner_references: Some(vec![OwnerReference {
                api_version: crds::API_VERSION.to_owned(),
                kind: MicroServiceTopology::KIND.to_owned(),
                name: self.topology.clone(),
                uid: self.uid.clone(),
                controller: Some(true),
                block_owner_deletion: Some(false),
            }]),
            ..ObjectMeta::default()
        }
    }

    /// Whether it is this topology's, and stays.
    fn is_own(&self, object: &ObjectMeta) -> bool {
        controller(object) == Some(&self.uid) && object.deletion_timestamp.is_none()
    }

    /// Whether it was of a topology of the same name that is gone.
    fn is_former(&self, object: &ObjectMeta) -> bool {
        controller(object).is_some_and(|owner| *owner != self.uid)
            && object.deletion_timestamp.is_none()
    }
}

#[derive(Default)]
struct Sharding {
    write: Vec<Write<EndpointSlice>>,
    delete: Vec<Delete>,
}

#[derive(Clone, Copy)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn word(self) -> &'static str {
        match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Family::V4 => "v4",
            Family::V6 => "v6",
        }
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

fn endpoint(pod: &AttachedPod, address: IpAddr, has_name: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.to_string()],
        conditions: Some(EndpointConditions {
            ready: Some(true),
            ..EndpointConditions::default()
        }),
        hostname: has_name.then(|| pod.name.clone()),
        node_name: (!pod.node.is_empty()).then(|| pod.node.clone()),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: Some(pod.namespace.clone()),
            name: Some(pod.name.clone()),
            ..ObjectReference::default()
        }),
        ..Endpoint::default()
    }
}

/// Whether the API server takes `address` in a slice; one that it does not take would keep the others out.
fn can_serve(address: IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || is_link_local)
}

/// Whether all that is `wanted` of a Service is there.
fn is_like(there: &Service, wanted: &Service) -> bool {
    let cluster_ip = |service: &Service| {
        let spec = service.spec.as_ref();
        spec.and_then(|spec| spec.cluster_ip.clone())
    };
    cluster_ip(there) == cluster_ip(wanted) && has_metadata(there.meta(), &wanted.metadata)
}

fn has_metadata(there: &ObjectMeta, wanted: &ObjectMeta) -> bool {
    let mut labels = wanted.labels.iter().flatten();
    let has = |(key, value): (&String, &String)| {
        let labels = there.labels.as_ref();
        labels.and_then(|labels| labels.get(key)) == Some(value)
    };
    let owners = there.owner_references.as_deref().unwrap_or_default();
    let mut wanted_owners = wanted.owner_references.iter().flatten();
    labels.all(has) && wanted_owners.all(|owner| owners.contains(owner))
}

/// `wanted` as it is to be applied on exactly the object that is there.
fn on<T: ResourceExt>(mut wanted: T, there: &T) -> T {
    let metadata = wanted.meta_mut();
    metadata.uid.clone_from(&there.meta().uid);
    let version = &there.meta().resource_version;
    metadata.resource_version.clone_from(version);
    wanted
}

fn deletes<'a, T: ResourceExt + 'a>(objects: impl IntoIterator<Item = &'a Arc<T>>) -> Vec<Delete> {
    let delete = |object: &Arc<T>| Delete {
        object: object.name_any(),
        uid: object.uid().unwrap_or_default(),
    };
    objects.into_iter().map(delete).collect()
}

#[cfg(test)]
mod tests;
