//! From objects on the wire to cached values. Nothing that is stored can make this fail.

use std::{collections::BTreeMap, mem, sync::Arc};

use crds::{
    AllocationSpec, ForwarderSpec, ForwarderStatus, TopologyStatus, VniRangeSpec,
    allocation::shards::{Shard, assemble},
};
use crds::{
    MicroServiceTopology, Problem,
    forwarder::{AttachmentStatus, TOPOLOGY_LABEL},
    read::Stored,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    ResourceExt,
    core::{DynamicObject, Object, ObjectMeta},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Entry, Key,
    cached::{CachedAllocation, CachedForwarder, CachedNode, CachedRange},
};
use crate::plan::{
    BASIS_ANNOTATION, Basis, ExistingAllocation, ExistingForwarder, Pod, REVISION_ANNOTATION,
    Unfit, names::AttachedPod,
};

/// A node, read only as far as it is needed.
pub(super) type NodeObject = Object<NodeSpec, NodeStatus>;

/// The part of a node's spec that matters.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct NodeSpec {
    unschedulable: bool,
}

/// The part of a node's status that matters.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct NodeStatus {
    conditions: Vec<NodeCondition>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct NodeCondition {
    r#type: String,
    status: String,
}

/// A pod, read only as far as it is needed.
pub(super) type PodObject = Object<PodSpec, PodStatus>;

/// The part of a pod's spec that matters.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodSpec {
    node_name: Option<String>,
    host_network: bool,
}

/// The part of a pod's status that matters.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct PodStatus {
    phase: Option<String>,
}

/// Namespace and name of an object; no namespace where the kind has none.
pub(super) fn key(metadata: &ObjectMeta) -> Key {
    Key {
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
    }
}

/// A resourceVersion as a number, for comparing two of one kind; 0 where it is none.
pub(super) fn version(metadata: &ObjectMeta) -> u64 {
    let version = metadata.resource_version.as_deref();
    version.and_then(|text| text.parse().ok()).unwrap_or(0)
}

pub(crate) fn topology(mut object: DynamicObject) -> Entry {
    object.metadata.managed_fields = None;
    if let Some(annotations) = &mut object.metadata.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    let status = part(&mut object.data, "status");
    let (topology, ignored, problems) = match declaration(&object) {
        Ok(Stored { topology, ignored }) => (Some(Arc::new(topology)), ignored, Vec::new()),
        Err(problems) => (None, Vec::new(), problems),
    };
    let metadata = &object.metadata;
    Entry {
        key: key(metadata),
        uid: metadata.uid.clone().unwrap_or_default(),
        resource_version: metadata.resource_version.clone().unwrap_or_default(),
        generation: metadata.generation.unwrap_or_default(),
        is_going: metadata.deletion_timestamp.is_some(),
        topology,
        ignored,
        problems,
        computed: None,
        status: lenient::<TopologyStatus>(status),
        seen: Instant::now(),
        object: Arc::new(object),
    }
}

fn declaration(object: &DynamicObject) -> Result<Stored, Vec<Problem>> {
    let mut document = json!({
        "apiVersion": crds::API_VERSION,
        "kind": MicroServiceTopology::KIND,
        "metadata": {
            "name": object.name_any(),
            "namespace": object.namespace().unwrap_or_default(),
            "labels": object.labels(),
        },
    });
    if let (Some(all), Some(data)) = (document.as_object_mut(), object.data.as_object()) {
        all.extend(data.clone());
    }
    crds::read::stored(document)
}

pub(crate) fn forwarder(mut object: DynamicObject) -> CachedForwarder {
    let metadata = &object.metadata;
    let spec = object.data.get("spec").unwrap_or(&Value::Null);
    let text = |name: &str| {
        let field = spec.get(name).and_then(Value::as_str);
        field.unwrap_or_default().to_owned()
    };
    let topology = metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get(TOPOLOGY_LABEL))
        .cloned()
        .unwrap_or_else(|| text("topology"));
    // One that cannot be read counts as bare: it is filled again.
    let bare = || ForwarderSpec {
        topology: topology.clone(),
        name: text("name"),
        ..ForwarderSpec::default()
    };
    let spec = ForwarderSpec::deserialize(spec).unwrap_or_else(|_| bare());
    let mut held = CachedForwarder {
        key: key(metadata),
        topology: Key::new(metadata.namespace.clone().unwrap_or_default(), topology),
        uid: metadata.uid.clone().unwrap_or_default(),
        resource_version: metadata.resource_version.clone().unwrap_or_default(),
        owner: owner(metadata),
        is_going: metadata.deletion_timestamp.is_some(),
        revision: revision(metadata),
        basis: basis(metadata),
        spec: Arc::new(spec),
        status: Arc::default(),
        attached: Vec::new(),
    };
    let mut status: ForwarderStatus = lenient(part(&mut object.data, "status"));
    // Names need less of them.
    let attachments = mem::take(&mut status.attachments);
    held.attached = attached(attachments, &held.spec.node);
    held.status = Arc::new(status);
    held
}

pub(super) fn allocation(mut object: DynamicObject) -> CachedAllocation {
    let spec = part(&mut object.data, "spec");
    let metadata = object.metadata;
    let name = metadata.name.clone().unwrap_or_default();
    let label = metadata.labels.as_ref();
    let label = label.and_then(|labels| labels.get(TOPOLOGY_LABEL).cloned());
    // Names of topologies have no dot.
    let topology = label.unwrap_or_else(|| match name.split_once('.') {
        Some((topology, _)) => topology.to_owned(),
        None => name,
    });
    CachedAllocation {
        topology: Key::new(metadata.namespace.clone().unwrap_or_default(), topology),
        uid: metadata.uid.clone().unwrap_or_default(),
        resource_version: metadata.resource_version.clone().unwrap_or_default(),
        owner: owner(&metadata),
        is_going: metadata.deletion_timestamp.is_some(),
        spec: serde_json::from_value::<AllocationSpec>(spec)
            .ok()
            .map(Arc::new),
        basis: basis(&metadata),
        annotations: metadata.annotations.unwrap_or_default(),
    }
}

/// Names of the shards of an allocation object.
pub(crate) fn shards_of(object: &DynamicObject) -> Vec<String> {
    let shards = object.data.pointer("/spec/shards").cloned();
    shards.map(lenient::<Vec<String>>).unwrap_or_default()
}

/// The allocation object for a plan of the topology with this uid, with the shards that `find` has.
pub(crate) fn existing_allocation(
    object: DynamicObject,
    topology: &str,
    find: impl Fn(&str) -> Option<Shard>,
) -> ExistingAllocation {
    allocation(object).existing(topology, find)
}

impl CachedAllocation {
    /// For a plan of the topology with this uid, with the shards that `find` has.
    pub(super) fn existing(
        &self,
        topology: &str,
        find: impl Fn(&str) -> Option<Shard>,
    ) -> ExistingAllocation {
        let names = self.spec.iter().flat_map(|spec| &spec.shards);
        let shards: Vec<Shard> = names.filter_map(|name| find(name)).collect();
        ExistingAllocation {
            uid: self.uid.clone(),
            resource_version: self.resource_version.clone(),
            is_owned: self.owner.as_deref() == Some(topology),
            is_going: self.is_going,
            spec: self.whole(&shards),
            shards,
            garbage: Vec::new(),
            basis: self.basis,
            annotations: self.annotations.clone(),
        }
    }

    fn whole(&self, shards: &[Shard]) -> Option<Arc<AllocationSpec>> {
        let head = self.spec.as_ref()?;
        if head.shards.is_empty() {
            return Some(Arc::clone(head));
        }
        let named: BTreeMap<&str, &AllocationSpec> = shards
            .iter()
            .map(|shard| (shard.name.as_str(), &shard.spec))
            .collect();
        let whole = assemble(head, |name| named.get(name).copied());
        whole.ok().map(Arc::new)
    }

    /// Shard of an allocation of the topology with this uid, if the object is one.
    pub(super) fn as_shard(&self, name: &str, topology: &str) -> Option<Shard> {
        let is_owned = self.owner.as_deref() == Some(topology);
        let spec = self.spec.as_ref().filter(|_| is_owned && !self.is_going)?;
        Some(Shard {
            name: name.to_owned(),
            spec: spec.as_ref().clone(),
        })
    }
}

/// The Forwarder object for a plan of the topology with this uid.
pub(crate) fn existing_forwarder(held: &CachedForwarder, topology: &str) -> ExistingForwarder {
    ExistingForwarder {
        object: held.key.name.clone(),
        uid: held.uid.clone(),
        resource_version: held.resource_version.clone(),
        is_owned: held.owner.as_deref() == Some(topology),
        is_going: held.is_going,
        revision: held.revision,
        basis: held.basis,
        spec: Arc::clone(&held.spec),
        status: Arc::clone(&held.status),
    }
}

fn revision(metadata: &ObjectMeta) -> u64 {
    let annotations = metadata.annotations.as_ref();
    let annotation = annotations.and_then(|all| all.get(REVISION_ANNOTATION));
    annotation.and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn basis(metadata: &ObjectMeta) -> Basis {
    let annotations = metadata.annotations.as_ref();
    let annotation = annotations.and_then(|all| all.get(BASIS_ANNOTATION));
    let parsed = annotation.and_then(|text| text.parse().ok());
    parsed.unwrap_or_default()
}

pub(super) fn range(mut object: DynamicObject) -> Option<CachedRange> {
    let spec: VniRangeSpec = serde_json::from_value(part(&mut object.data, "spec")).ok()?;
    // The name is the claim: one that says something else claims nothing.
    let is_sound = object.name_any() == name_of_range(spec.first);
    is_sound.then(|| CachedRange {
        first: spec.first,
        topology: Key::new(spec.namespace, spec.topology),
        owner: spec.uid,
        uid: object.metadata.uid.clone().unwrap_or_default(),
        resource_version: object.metadata.resource_version.clone().unwrap_or_default(),
    })
}

/// Name of the `VniRange` object that begins at `first`.
pub(crate) fn name_of_range(first: u32) -> String {
    format!("vni-{first}")
}

/// Service or slice with our label; others are ignored.
pub(super) fn named<T: ResourceExt>(mut object: T) -> Option<Arc<T>> {
    object.meta_mut().managed_fields = None;
    object
        .labels()
        .contains_key(TOPOLOGY_LABEL)
        .then(|| Arc::new(object))
}

pub(crate) fn node(metadata: ObjectMeta) -> crds::Node {
    crds::Node {
        name: metadata.name.unwrap_or_default(),
        labels: metadata.labels.unwrap_or_default(),
    }
}

/// Node with the reason that keeps new Forwarders off it. A node without a `Ready` condition counts as ready.
pub(super) fn cached_node(object: NodeObject) -> CachedNode {
    let conditions = object.status.unwrap_or_default().conditions;
    let is_ready = |c: &NodeCondition| c.r#type != "Ready" || c.status == "True";
    let unfit = if !conditions.iter().all(is_ready) {
        Some(Unfit::NotReady)
    } else if object.spec.unschedulable {
        Some(Unfit::Unschedulable)
    } else {
        None
    };
    CachedNode {
        node: node(object.metadata),
        unfit,
    }
}

/// The pod, when it is bound to a node, in a network of its own, and neither finished nor going.
pub(super) fn pod(object: PodObject) -> Option<Pod> {
    let phase = object.status.and_then(|status| status.phase);
    let is_over = matches!(phase.as_deref(), Some("Succeeded" | "Failed"));
    let metadata = object.metadata;
    let node = object.spec.node_name.filter(|node| !node.is_empty())?;
    if is_over || object.spec.host_network || metadata.deletion_timestamp.is_some() {
        return None;
    }
    let mut annotations: BTreeMap<String, String> = metadata.annotations.unwrap_or_default();
    annotations.retain(|key, _| crds::attach::is_read(key));
    Some(Pod {
        namespace: metadata.namespace.unwrap_or_default(),
        name: metadata.name.unwrap_or_default(),
        uid: metadata.uid.unwrap_or_default(),
        node,
        labels: metadata.labels.unwrap_or_default(),
        annotations,
    })
}

/// The pods that a node reports as attached, sorted; attachments that are no pod's are left out.
pub(super) fn attached(reported: Vec<AttachmentStatus>, node: &str) -> Vec<AttachedPod> {
    let pod = |attachment: AttachmentStatus| {
        let (namespace, name) = attachment.pod.split_once('/')?;
        let addresses = attachment.addresses.iter();
        Some(AttachedPod {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            node: node.to_owned(),
            addresses: addresses.map(ipnetwork::IpNetwork::ip).collect(),
            app: attachment.app,
        })
    };
    let mut pods: Vec<AttachedPod> = reported.into_iter().filter_map(pod).collect();
    pods.sort();
    pods.dedup();
    pods
}

/// uid of the topology that controls it.
fn owner(metadata: &ObjectMeta) -> Option<String> {
    let is_topology = |owner: &&OwnerReference| {
        owner.controller == Some(true) && owner.kind == MicroServiceTopology::KIND
    };
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    owners
        .iter()
        .find(is_topology)
        .map(|owner| owner.uid.clone())
}

fn part(data: &mut Value, name: &str) -> Value {
    data.as_object_mut()
        .and_then(|data| data.remove(name))
        .unwrap_or(Value::Null)
}

fn lenient<T: DeserializeOwned + Default>(value: Value) -> T {
    serde_json::from_value(value).unwrap_or_default()
}
