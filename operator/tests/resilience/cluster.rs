//! A kube client without `async` at its calls: tests are sequences.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, Config};
use serde_json::Value;
use tokio::runtime::Runtime;

/// The namespace that tests use where any will do.
pub(crate) const NAMESPACE: &str = "default";

/// Kinds that tests touch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Topology,
    Forwarder,
    Allocation,
    VniRange,
    Node,
    Pod,
    Namespace,
    Definition,
}

impl Kind {
    fn is_namespaced(self) -> bool {
        matches!(
            self,
            Kind::Topology | Kind::Forwarder | Kind::Allocation | Kind::Pod
        )
    }

    pub(crate) fn resource(self) -> ApiResource {
        let (group, version, kind, plural) = match self {
            Kind::Topology => (
                "beemesh.io",
                "v1alpha1",
                "MicroServiceTopology",
                "microservicetopologies",
            ),
            Kind::Forwarder => ("beemesh.io", "v1alpha1", "Forwarder", "forwarders"),
            Kind::Allocation => ("beemesh.io", "v1alpha1", "Allocation", "allocations"),
            Kind::VniRange => ("beemesh.io", "v1alpha1", "VniRange", "vniranges"),
            Kind::Node => ("", "v1", "Node", "nodes"),
            Kind::Pod => ("", "v1", "Pod", "pods"),
            Kind::Namespace => ("", "v1", "Namespace", "namespaces"),
            Kind::Definition => (
                "apiextensions.k8s.io",
                "v1",
                "CustomResourceDefinition",
                "customresourcedefinitions",
            ),
        };
        let kind = GroupVersionKind::gvk(group, version, kind);
        ApiResource::from_gvk_with_plural(&kind, plural)
    }
}

/// The API server as an administrator sees it.
#[derive(Clone)]
pub(crate) struct Cluster {
    runtime: Arc<Runtime>,
    client: Client,
}

impl Cluster {
    pub(crate) fn connect(kubeconfig: &Path) -> Result<Self> {
        let runtime = Arc::new(Runtime::new()?);
        let file = Kubeconfig::read_from(kubeconfig)?;
        let client = runtime.block_on(async {
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(file, &options).await?;
            Ok::<_, anyhow::Error>(Client::try_from(config)?)
        })?;
        Ok(Self { runtime, client })
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// All objects of a kind, in all namespaces.
    pub(crate) fn api(&self, kind: Kind) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), &kind.resource())
    }

    fn within(&self, kind: Kind, namespace: &str) -> Api<DynamicObject> {
        if kind.is_namespaced() {
            Api::namespaced_with(self.client.clone(), namespace, &kind.resource())
        } else {
            self.api(kind)
        }
    }

    pub(crate) fn list(&self, kind: Kind) -> Result<Vec<Value>> {
        let api = self.api(kind);
        let listed = self.runtime.block_on(api.list(&ListParams::default()))?;
        listed
            .items
            .into_iter()
            .map(|object| Ok(serde_json::to_value(object)?))
            .collect()
    }

    pub(crate) fn get(&self, kind: Kind, namespace: &str, name: &str) -> Result<Option<Value>> {
        let api = self.within(kind, namespace);
        let found = self.runtime.block_on(api.get_opt(name))?;
        Ok(found.map(serde_json::to_value).transpose()?)
    }

    pub(crate) fn create(&self, kind: Kind, object: Value) -> Result<Value> {
        let object: DynamicObject = serde_json::from_value(object)?;
        let api = self.within(kind, &namespace_of(&object));
        let created = self
            .runtime
            .block_on(api.create(&PostParams::default(), &object))?;
        Ok(serde_json::to_value(created)?)
    }

    /// Server-side apply as a user's program.
    pub(crate) fn apply(&self, kind: Kind, object: &Value) -> Result<Value> {
        let object: DynamicObject = serde_json::from_value(object.clone())?;
        let name = object
            .metadata
            .name
            .clone()
            .context("an object has a name")?;
        let api = self.within(kind, &namespace_of(&object));
        let params = PatchParams::apply("user").force();
        let applied = self
            .runtime
            .block_on(api.patch(&name, &params, &Patch::Apply(&object)))?;
        Ok(serde_json::to_value(applied)?)
    }

    /// A merge patch of the object.
    pub(crate) fn merge(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<()> {
        let api = self.within(kind, namespace);
        let params = PatchParams::default();
        self.runtime
            .block_on(api.patch(name, &params, &Patch::Merge(patch)))?;
        Ok(())
    }

    /// A merge patch of the object's status.
    pub(crate) fn merge_status(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        status: &Value,
    ) -> Result<()> {
        let api = self.within(kind, namespace);
        let patch = serde_json::json!({"status": status});
        let params = PatchParams::default();
        self.runtime
            .block_on(api.patch_status(name, &params, &Patch::Merge(&patch)))?;
        Ok(())
    }

    /// Deletes at once; what is gone already is fine.
    pub(crate) fn delete(&self, kind: Kind, namespace: &str, name: &str) -> Result<()> {
        let api = self.within(kind, namespace);
        // No kubelet confirms the end of a pod.
        let params = DeleteParams::default().grace_period(0);
        match self.runtime.block_on(api.delete(name, &params)) {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn namespace_of(object: &DynamicObject) -> String {
    object
        .metadata
        .namespace
        .clone()
        .unwrap_or_else(|| NAMESPACE.to_owned())
}

/// Text at a JSON pointer, empty when it is not there.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

pub(crate) fn name_of(object: &Value) -> &str {
    text(object, "/metadata/name")
}

pub(crate) fn uid_of(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

/// uid of the controller that owns the object, empty without one.
pub(crate) fn owner_of(object: &Value) -> &str {
    text(object, "/metadata/ownerReferences/0/uid")
}

/// The condition `name` of the object: status, reason, message.
pub(crate) fn condition<'a>(object: &'a Value, name: &str) -> (&'a str, &'a str, &'a str) {
    let conditions = object
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    let found = conditions
        .into_iter()
        .flatten()
        .find(|found| text(found, "/type") == name);
    found.map_or(("", "", ""), |found| {
        (
            text(found, "/status"),
            text(found, "/reason"),
            text(found, "/message"),
        )
    })
}
