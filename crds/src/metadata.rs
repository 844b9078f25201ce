//! The part of Kubernetes' `ObjectMeta` that beemesh reads.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

/// Name, namespace, labels and annotations of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Name of the object, unique in its namespace and kind.
    pub name: String,
    /// Kubernetes namespace; `default` where none is written.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// Labels, for selectors.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Metadata {
    /// Metadata with a name, in the namespace `default`.
    pub fn named(name: impl Into<String>) -> Metadata {
        Metadata {
            name: name.into(),
            namespace: default_namespace(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        }
    }
}

impl From<&ObjectMeta> for Metadata {
    /// A name that is absent is empty.
    fn from(metadata: &ObjectMeta) -> Metadata {
        Metadata {
            name: metadata.name.clone().unwrap_or_default(),
            namespace: metadata.namespace.clone().unwrap_or_else(default_namespace),
            labels: metadata.labels.clone().unwrap_or_default(),
            annotations: metadata.annotations.clone().unwrap_or_default(),
        }
    }
}

fn default_namespace() -> String {
    "default".to_owned()
}
