//! The objects as they are sent. Pure.

use crds::{
    AllocationSpec, MicroServiceTopology, VniRangeSpec, allocation::shards::Shard,
    forwarder::TOPOLOGY_LABEL, names,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    observe::{Key, name_of_range},
    plan::{BASIS_ANNOTATION, Basis, ExistingAllocation, Fill, REVISION_ANNOTATION},
};

/// The topology that objects are made for.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub(super) key: Key,
    pub(super) uid: String,
}

impl Owner {
    /// Goes with the topology, and never holds it up.
    fn reference(&self) -> Value {
        json!([{
            "apiVersion": crds::API_VERSION,
            "kind": MicroServiceTopology::KIND,
            "name": self.key.name,
            "uid": self.uid,
            "controller": true,
            "blockOwnerDeletion": false,
        }])
    }

    /// A Forwarder with nothing but its names and its node: its uid is what blocks are granted to. Nodes
    /// pass over one without blocks.
    pub(super) fn bare_forwarder(&self, name: &str, node: &str) -> Value {
        let mut spec = json!({"topology": self.key.name, "name": name});
        if !node.is_empty() {
            spec["node"] = json!(node);
        }
        json!({
            "apiVersion": crds::API_VERSION,
            "kind": crds::Forwarder::KIND,
            "metadata": {
                "name": names::object(&self.key.name, name),
                "namespace": self.key.namespace,
                "labels": {TOPOLOGY_LABEL: self.key.name},
                "ownerReferences": self.reference(),
            },
            "spec": spec,
        })
    }

    /// A Forwarder with everything, for server-side apply on exactly the object that was planned from.
    pub(super) fn filled_forwarder(&self, fill: &Fill) -> Value {
        let mut object = json!({
            "apiVersion": crds::API_VERSION,
            "kind": crds::Forwarder::KIND,
            "metadata": {
                "name": fill.object,
                "namespace": self.key.namespace,
                "uid": fill.uid,
                "resourceVersion": fill.resource_version,
                "labels": {TOPOLOGY_LABEL: self.key.name},
                "annotations": {
                    REVISION_ANNOTATION: fill.revision.to_string(),
                    BASIS_ANNOTATION: fill.basis.to_string(),
                },
                "ownerReferences": self.reference(),
            },
            "spec": fill.spec,
        });
        if fill.spec.external.is_empty() {
            // An absent field would keep a value that another manager has added.
            object["spec"]["external"] = json!([]);
        }
        object
    }

    /// The head of an allocation, in the place of `before`.
    pub(super) fn allocation(
        &self,
        head: &AllocationSpec,
        basis: Basis,
        before: Option<&ExistingAllocation>,
    ) -> Value {
        let mut annotations = before.map(|it| it.annotations.clone()).unwrap_or_default();
        annotations.insert(BASIS_ANNOTATION.to_owned(), basis.to_string());
        let mut object = self.allocation_object(&self.key.name, head);
        object["metadata"]["annotations"] = json!(annotations);
        if let Some(before) = before {
            object["metadata"]["uid"] = json!(before.uid);
            object["metadata"]["resourceVersion"] = json!(before.resource_version);
        }
        object
    }

    /// A part of an allocation.
    pub(super) fn shard(&self, shard: &Shard) -> Value {
        self.allocation_object(&shard.name, &shard.spec)
    }

    fn allocation_object(&self, name: &str, spec: &AllocationSpec) -> Value {
        json!({
            "apiVersion": crds::API_VERSION,
            "kind": "Allocation",
            "metadata": {
                "name": name,
                "namespace": self.key.namespace,
                "labels": {TOPOLOGY_LABEL: self.key.name},
                "ownerReferences": self.reference(),
            },
            "spec": spec,
        })
    }

    /// The claim of the range that begins at `first`.
    pub(super) fn range(&self, first: u32) -> Value {
        let spec = VniRangeSpec {
            first,
            namespace: self.key.namespace.clone(),
            topology: self.key.name.clone(),
            uid: self.uid.clone(),
        };
        json!({
            "apiVersion": crds::API_VERSION,
            "kind": "VniRange",
            "metadata": {"name": name_of_range(first)},
            "spec": spec,
        })
    }
}

/// A status, for server-side apply on exactly the object that was planned from.
pub(super) fn status<S: Serialize>(
    kind: &str,
    key: &Key,
    uid: &str,
    resource_version: &str,
    status: &S,
) -> Value {
    json!({
        "apiVersion": crds::API_VERSION,
        "kind": kind,
        "metadata": {
            "name": key.name,
            "namespace": key.namespace,
            "uid": uid,
            "resourceVersion": resource_version,
        },
        "status": status,
    })
}
