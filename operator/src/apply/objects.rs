//! The objects as they are sent. Pure.

use crds::{AllocationSpec, MicroServiceTopology, VniRangeSpec, forwarder::TOPOLOGY_LABEL, names};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    observe::{Key, name_of_range},
    plan::{Fill, REVISION_ANNOTATION},
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

    /// A Forwarder with nothing but its names: its uid is what blocks are granted to.
    pub(super) fn bare_forwarder(&self, name: &str) -> Value {
        json!({
            "apiVersion": crds::API_VERSION,
            "kind": crds::Forwarder::KIND,
            "metadata": {
                "name": names::object(&self.key.name, name),
                "namespace": self.key.namespace,
                "labels": {TOPOLOGY_LABEL: self.key.name},
                "ownerReferences": self.reference(),
            },
            "spec": {"topology": self.key.name, "name": name},
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
                "annotations": {REVISION_ANNOTATION: fill.revision.to_string()},
                "ownerReferences": self.reference(),
            },
            "spec": fill.spec,
        });
        if fill.spec.external.is_empty() {
            // What is left out would stay as whoever added it wants it.
            object["spec"]["external"] = json!([]);
        }
        object
    }

    /// The allocation; `before` are uid and resourceVersion of the one that it replaces.
    pub(super) fn allocation(&self, spec: &AllocationSpec, before: Option<(&str, &str)>) -> Value {
        let mut object = json!({
            "apiVersion": crds::API_VERSION,
            "kind": "Allocation",
            "metadata": {
                "name": self.key.name,
                "namespace": self.key.namespace,
                "labels": {TOPOLOGY_LABEL: self.key.name},
                "ownerReferences": self.reference(),
            },
            "spec": spec,
        });
        if let Some((uid, resource_version)) = before {
            object["metadata"]["uid"] = json!(uid);
            object["metadata"]["resourceVersion"] = json!(resource_version);
        }
        object
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
