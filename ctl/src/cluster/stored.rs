//! Topologies at the API server, with their derived objects.

use super::Cluster;
use console::failure::Failure;
use console::nearest::did_you_mean;
use crds::{
    AllocationObject, ForwarderObject, MicroServiceTopology, MicroServiceTopologySpec, Node,
    TopologyObject, TopologyStatus, allocation::shards::assemble, forwarder::TOPOLOGY_LABEL,
};
use k8s_openapi::{api::core, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Resource, api::ListParams, core::NamespaceResourceScope};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{borrow::Cow, collections::BTreeMap};

/// A topology whose spec is read only when it is needed: one that cannot be read hides no other.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Stored {
    /// As Kubernetes keeps it.
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Value,
}

impl Resource for Stored {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind(_: &()) -> Cow<'_, str> {
        TopologyObject::kind(&())
    }

    fn group(_: &()) -> Cow<'_, str> {
        TopologyObject::group(&())
    }

    fn version(_: &()) -> Cow<'_, str> {
        TopologyObject::version(&())
    }

    fn plural(_: &()) -> Cow<'_, str> {
        TopologyObject::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl Stored {
    /// Name of the topology.
    pub(crate) fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// Its Kubernetes namespace.
    pub(crate) fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// `NAMESPACE/NAME`, for messages.
    pub(crate) fn full_name(&self) -> String {
        format!("{}/{}", self.namespace(), self.name())
    }

    /// Generation of the spec.
    pub(crate) fn generation(&self) -> i64 {
        self.metadata.generation.unwrap_or_default()
    }

    /// Its status; the default where it cannot be read.
    pub(crate) fn status(&self) -> TopologyStatus {
        serde_json::from_value(self.status.clone()).unwrap_or_default()
    }

    /// True where the operator has computed this generation.
    pub(crate) fn is_computed(&self) -> bool {
        let status = self.status();
        let is_current = |of: Option<i64>| of.is_some_and(|of| of >= self.generation());
        is_current(status.observed_generation)
            && condition(&status, "Computed").is_some_and(|it| it.status == "True")
    }

    /// The declaration, which the lint may have something against.
    ///
    /// # Errors
    /// [`Failure::Invalid`] when it is none that this version can read.
    pub(crate) fn declaration(&self) -> Result<MicroServiceTopology, Failure> {
        let spec = serde_json::from_value::<MicroServiceTopologySpec>(self.spec.clone());
        let spec = spec.map_err(|error| {
            Failure::Invalid(vec![format!("{}: spec: {error}", self.full_name())])
        })?;
        let mut object = MicroServiceTopology::new(self.name(), spec);
        object.metadata.namespace = self.namespace().to_owned();
        Ok(object)
    }
}

/// The condition of this type.
pub(crate) fn condition<'a>(
    status: &'a TopologyStatus,
    r#type: &str,
) -> Option<&'a crds::Condition> {
    status.conditions.iter().find(|it| it.r#type == r#type)
}

impl Cluster {
    /// The topologies of the namespace that is meant, or of all, in order.
    ///
    /// # Errors
    /// Refusals of the server.
    pub(crate) fn topologies(&self, all_namespaces: bool) -> Result<Vec<Stored>, Failure> {
        let api: Api<Stored> = match all_namespaces {
            true => Api::all(self.client()),
            false => self.api(&self.namespace),
        };
        let mut topologies = self.list(&api, &ListParams::default())?.items;
        topologies.sort_by_key(Stored::full_name);
        Ok(topologies)
    }

    /// The topology of this name in `namespace`; `None` when there is none.
    ///
    /// # Errors
    /// Refusals of the server.
    pub(crate) fn find_topology(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Stored>, Failure> {
        self.get(&self.api(namespace), name)
    }

    /// The topology of this name in the namespace that is meant.
    ///
    /// # Errors
    /// Refusals of the server; [`Failure::NotFound`] with the name that may have been meant.
    pub(crate) fn topology(&self, name: &str) -> Result<Stored, Failure> {
        let found = self.find_topology(&self.namespace, name)?;
        found.ok_or_else(|| self.no_topology(name))
    }

    /// Failure for an unknown topology, with a similar name.
    pub(crate) fn no_topology(&self, name: &str) -> Failure {
        let namespace = &self.namespace;
        let known = self.topologies(true).or_else(|_| self.topologies(false));
        let known = known.unwrap_or_default();
        let elsewhere = known.iter().find(|it| it.name() == name);
        let here = known.iter().filter(|it| it.namespace() == namespace);
        let hint = match elsewhere {
            Some(other) => format!("; there is one in namespace {:?}", other.namespace()),
            None => did_you_mean(name, here.map(Stored::name)),
        };
        Failure::NotFound(format!(
            "no topology {name:?} in namespace {namespace:?}{hint}"
        ))
    }

    /// The Forwarder objects of a topology, sorted by the Forwarders' names.
    ///
    /// # Errors
    /// Refusals of the server.
    pub(crate) fn forwarders(&self, topology: &Stored) -> Result<Vec<ForwarderObject>, Failure> {
        let selector = format!("{TOPOLOGY_LABEL}={}", topology.name());
        let selected = ListParams::default().labels(&selector);
        let mut forwarders = self.list(&self.api(topology.namespace()), &selected)?.items;
        forwarders.sort_by(|one: &ForwarderObject, other| one.spec.name.cmp(&other.spec.name));
        Ok(forwarders)
    }

    /// Allocation of a topology with all its shards; `None` before there is one.
    ///
    /// # Errors
    /// Refusals of the server, and a shard that is not there.
    pub(crate) fn allocation(
        &self,
        topology: &Stored,
    ) -> Result<Option<AllocationObject>, Failure> {
        let api = self.api(topology.namespace());
        let Some(mut head): Option<AllocationObject> = self.get(&api, topology.name())? else {
            return Ok(None);
        };
        let mut shards = BTreeMap::new();
        for name in &head.spec.shards {
            let shard: Option<AllocationObject> = self.get(&api, name)?;
            shards.extend(shard.map(|shard| (name.clone(), shard.spec)));
        }
        head.spec = assemble(&head.spec, |name| shards.get(name)).map_err(|name| {
            Failure::NotFound(format!(
                "no Allocation {name:?}, a shard of {:?}",
                topology.name()
            ))
        })?;
        Ok(Some(head))
    }

    /// Every node of the cluster.
    ///
    /// # Errors
    /// Refusals of the server.
    pub(crate) fn nodes(&self) -> Result<Vec<Node>, Failure> {
        let api: Api<core::v1::Node> = Api::all(self.client());
        let nodes = self.list(&api, &ListParams::default())?;
        let node = |node: core::v1::Node| Node {
            name: node.metadata.name.unwrap_or_default(),
            labels: node.metadata.labels.unwrap_or_default(),
        };
        Ok(nodes.items.into_iter().map(node).collect())
    }
}

/// True for a Forwarder that has been filled: it is created bare.
pub(crate) fn is_filled(object: &ForwarderObject) -> bool {
    !object.spec.node.is_empty() && !object.spec.blocks.is_empty()
}
