//! Objects as they should be, and how they are written over those that are there.

use std::sync::Arc;

use crds::{MicroServiceTopology, forwarder::TOPOLOGY_LABEL};
use k8s_openapi::{
    api::core::v1::{Service, ServiceSpec},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{Resource, ResourceExt, core::ObjectMeta};

use super::{APP_LABEL, Delete, NamesWorld};

impl NamesWorld {
    pub(super) fn service(&self, app: &str, name: &str) -> Service {
        Service {
            metadata: self.metadata(app, name, &[]),
            spec: Some(ServiceSpec {
                cluster_ip: Some("None".to_owned()),
                ..ServiceSpec::default()
            }),
            ..Service::default()
        }
    }

    pub(super) fn metadata(&self, app: &str, name: &str, labels: &[(&str, &str)]) -> ObjectMeta {
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
}

/// True when the Service has all of `wanted`.
pub(super) fn is_like(there: &Service, wanted: &Service) -> bool {
    let cluster_ip = |service: &Service| {
        let spec = service.spec.as_ref();
        spec.and_then(|spec| spec.cluster_ip.clone())
    };
    cluster_ip(there) == cluster_ip(wanted) && has_metadata(there.meta(), &wanted.metadata)
}

pub(super) fn has_metadata(there: &ObjectMeta, wanted: &ObjectMeta) -> bool {
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
pub(super) fn on<T: ResourceExt>(mut wanted: T, there: &T) -> T {
    let metadata = wanted.meta_mut();
    metadata.uid.clone_from(&there.meta().uid);
    let version = &there.meta().resource_version;
    metadata.resource_version.clone_from(version);
    wanted
}

pub(super) fn deletes<'a, T: ResourceExt + 'a>(
    objects: impl IntoIterator<Item = &'a Arc<T>>,
) -> Vec<Delete> {
    let delete = |object: &Arc<T>| Delete {
        object: object.name_any(),
        uid: object.uid().unwrap_or_default(),
    };
    objects.into_iter().map(delete).collect()
}
