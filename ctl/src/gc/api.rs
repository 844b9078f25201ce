//! Orphaned objects in the API, whose topologies are deleted.

use super::Unknown;
use crate::cluster::{Cluster, refused::Asked, stored::Stored};
use console::failure::Failure;
use crds::{AllocationObject, ForwarderObject, VniRangeObject, forwarder::TOPOLOGY_LABEL};
use k8s_openapi::{
    api::{core::v1::Service, discovery::v1::EndpointSlice},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Resource,
    api::{DeleteParams, ListParams, Preconditions},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};

/// An object whose topology is gone.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Orphan {
    /// Its kind.
    pub(super) kind: &'static str,
    /// Its namespace; empty for the cluster's own.
    pub(super) namespace: String,
    /// Its name.
    pub(super) name: String,
    /// Reason why it is orphaned.
    pub(super) why: String,
    /// True with two proofs of that.
    pub(super) removable: bool,
    #[serde(skip)]
    uid: String,
    #[serde(skip)]
    version: String,
    /// The topology that it was of: namespace, name and uid.
    #[serde(skip)]
    owner: (String, String, String),
}

impl Orphan {
    /// `NAMESPACE/NAME`.
    pub(super) fn full_name(&self) -> String {
        match self.namespace.as_str() {
            "" => self.name.clone(),
            namespace => format!("{namespace}/{}", self.name),
        }
    }
}

/// Objects of beemesh in the API.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Numbers of objects, by kind.
    pub(super) counts: BTreeMap<String, u64>,
    /// Objects without a topology.
    pub(super) orphans: Vec<Orphan>,
    /// Kinds that could not be listed.
    pub(super) unknown: Vec<Unknown>,
}

/// Lists all our objects in all namespaces.
pub(super) fn look(cluster: &Cluster) -> Found {
    let mut found = Found::default();
    // Objects first: a topology that is made meanwhile is in the second list, with its objects.
    let labelled = ListParams::default().labels(TOPOLOGY_LABEL);
    let forwarders = found.list::<ForwarderObject>(cluster, "Forwarder", &ListParams::default());
    let allocations = found.list::<AllocationObject>(cluster, "Allocation", &ListParams::default());
    // Whoever is not listed may still use a VNI.
    let are_users_known = found.unknown.is_empty();
    let ranges = found.list::<VniRangeObject>(cluster, "VniRange", &ListParams::default());
    let services = found.list::<Service>(cluster, "Service", &labelled);
    let slices = found.list::<EndpointSlice>(cluster, "EndpointSlice", &labelled);
    let topologies = match cluster.topologies(true) {
        Ok(topologies) => topologies,
        Err(failure) => {
            found.cannot_tell("MicroServiceTopology", &failure);
            return found;
        }
    };
    found
        .counts
        .insert("MicroServiceTopology".to_owned(), topologies.len() as u64);
    let living: BTreeSet<&str> = topologies
        .iter()
        .filter_map(|it| it.metadata.uid.as_deref())
        .collect();
    let metadata = forwarders.iter().map(|it| &it.metadata);
    let users: BTreeSet<String> = metadata
        .chain(allocations.iter().map(|it| &it.metadata))
        .filter_map(|it| owner(it).map(|(_, _, uid)| uid))
        .collect();
    for object in &forwarders {
        found.owned("Forwarder", &object.metadata, &living);
    }
    for object in &allocations {
        found.owned("Allocation", &object.metadata, &living);
    }
    for object in &services {
        found.owned("Service", &object.metadata, &living);
    }
    for object in &slices {
        found.owned("EndpointSlice", &object.metadata, &living);
    }
    for range in &ranges {
        if !living.contains(range.spec.uid.as_str()) {
            let is_used = users.contains(&range.spec.uid);
            let is_used = (is_used || are_users_known).then_some(is_used);
            found.orphans.push(of_range(range, is_used));
        }
    }
    found
}

impl Found {
    fn list<K>(&mut self, cluster: &Cluster, kind: &str, parameters: &ListParams) -> Vec<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        match cluster.list(&Api::<K>::all(cluster.client()), parameters) {
            Ok(objects) => {
                self.counts
                    .insert(kind.to_owned(), objects.items.len() as u64);
                objects.items
            }
            Err(failure) => {
                self.cannot_tell(kind, &failure);
                Vec::new()
            }
        }
    }

    fn cannot_tell(&mut self, kind: &str, failure: &Failure) {
        self.unknown.push(Unknown {
            r#where: kind.to_owned(),
            why: failure.lines().join("; "),
        });
    }

    fn owned(&mut self, kind: &'static str, metadata: &ObjectMeta, living: &BTreeSet<&str>) {
        let Some((namespace, name, uid)) = owner(metadata) else {
            return;
        };
        if living.contains(uid.as_str()) {
            return;
        }
        let is_leaving = metadata.deletion_timestamp.is_some();
        let why = match is_leaving {
            true => format!("topology {namespace}/{name} is gone; a finalizer holds it"),
            false => format!("topology {namespace}/{name} is gone"),
        };
        self.orphans.push(orphan(
            kind,
            metadata,
            why,
            !is_leaving,
            (namespace, name, uid),
        ));
    }
}

/// Range without its topology; `is_used` is `None` where that is unknown.
fn of_range(range: &VniRangeObject, is_used: Option<bool>) -> Orphan {
    let spec = &range.spec;
    let (namespace, name) = (&spec.namespace, &spec.topology);
    let rest = match is_used {
        Some(true) => "but its Forwarders or its Allocation exist",
        Some(false) => "and all its Forwarders",
        None => "but its Forwarders or Allocation cannot be listed",
    };
    let why = format!("topology {namespace}/{name} is gone, {rest}");
    let owner = (namespace.clone(), name.clone(), spec.uid.clone());
    let is_free = is_used == Some(false);
    orphan("VniRange", &range.metadata, why, is_free, owner)
}

fn orphan(
    kind: &'static str,
    metadata: &ObjectMeta,
    why: String,
    removable: bool,
    owner: (String, String, String),
) -> Orphan {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    Orphan {
        kind,
        namespace: text(&metadata.namespace),
        name: text(&metadata.name),
        why,
        removable,
        uid: text(&metadata.uid),
        version: text(&metadata.resource_version),
        owner,
    }
}

/// Namespace, name and uid of the topology that owns an object.
fn owner(metadata: &ObjectMeta) -> Option<(String, String, String)> {
    let mut owners = metadata.owner_references.iter().flatten();
    let owner = owners.find(|owner| owner.kind == Stored::kind(&()))?;
    let namespace = metadata.namespace.clone().unwrap_or_default();
    Some((namespace, owner.name.clone(), owner.uid.clone()))
}

/// Removes an orphan as it was seen, if its topology is still gone.
///
/// # Errors
/// Why it stays.
pub(super) fn remove(cluster: &Cluster, orphan: &Orphan) -> Result<(), String> {
    let (namespace, name, uid) = &orphan.owner;
    let told = |failure: Failure| failure.lines().join("; ");
    // The second proof: by name, not by the list.
    if let Some(topology) = cluster.find_topology(namespace, name).map_err(told)?
        && topology.metadata.uid.as_ref() == Some(uid)
    {
        return Err("its topology exists".to_owned());
    }
    match orphan.kind {
        "Forwarder" => delete::<ForwarderObject>(cluster, orphan),
        "Allocation" => delete::<AllocationObject>(cluster, orphan),
        "Service" => delete::<Service>(cluster, orphan),
        "EndpointSlice" => delete::<EndpointSlice>(cluster, orphan),
        _ => delete_from(
            cluster,
            &Api::<VniRangeObject>::all(cluster.client()),
            orphan,
        ),
    }
}

fn delete<K>(cluster: &Cluster, orphan: &Orphan) -> Result<(), String>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned,
{
    delete_from::<K>(cluster, &cluster.api(&orphan.namespace), orphan)
}

fn delete_from<K>(cluster: &Cluster, api: &Api<K>, orphan: &Orphan) -> Result<(), String>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let parameters = DeleteParams::background().preconditions(Preconditions {
        uid: Some(orphan.uid.clone()),
        resource_version: Some(orphan.version.clone()),
    });
    match cluster.block_on(api.delete(&orphan.name, &parameters)) {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => {
            let asked = Asked::new::<K>("delete", Some(&orphan.namespace));
            Err(cluster.refusal(&asked, &error).lines().join("; "))
        }
    }
}
