//! Conversion of wire objects to stored items. No stored object can make it fail.

use std::collections::BTreeMap;
use std::sync::Arc;

use crds::attach::{Pod, is_read};
use crds::forwarder::ForwarderSpec;
use crds::node::{NodeAddress, NodeStatus};
use crds::read::Stored;
use crds::{Forwarder, ForwarderStatus, Metadata, MicroServiceTopology, NodeObject, names};
use kube::ResourceExt;
use kube::core::{DynamicObject, Object, ObjectMeta};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::store::{Declared, Item, Read};
use crate::objects::check_forwarder;
use crate::objects::pods::NodePod;
use crds::TopologyKey;

/// Network-status annotation of a pod.
pub(super) const NETWORK_STATUS: &str = "k8s.v1.cni.cncf.io/network-status";
/// Longest key in bytes: files are named by keys.
pub(super) const KEY_MAX: usize = 200;

/// Node without unused fields.
pub(super) type WireNode = Object<Ignored, NodeStatus>;
/// Pod without unused fields.
pub(super) type WirePod = Object<PodSpec, PodStatus>;

/// Spec that is skipped during decoding.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Ignored {}

/// Used part of a pod's spec.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodSpec {
    pub(super) node_name: Option<String>,
    host_network: Option<bool>,
}

/// Used part of a pod's status.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct PodStatus {
    phase: Option<String>,
}

/// Unique key of an object within its kind. A namespace has no dot.
pub(super) fn key(metadata: &ObjectMeta) -> String {
    let name = metadata.name.as_deref().unwrap_or_default();
    match &metadata.namespace {
        Some(namespace) => format!("{namespace}.{name}"),
        None => name.to_owned(),
    }
}

/// Topology of a Forwarder on this node.
pub(super) fn own(object: &DynamicObject) -> Read {
    let topology = object.data.pointer("/spec/topology");
    match topology.and_then(Value::as_str) {
        Some(topology) if names::is_dns_subdomain(topology) => Read::Item(Item::Own(TopologyKey {
            namespace: object.namespace().unwrap_or_default(),
            topology: topology.to_owned(),
        })),
        _ => Read::Bad("spec.topology: not valid".to_owned()),
    }
}

/// Forwarder, with its reported status when it is on `node`.
pub(super) fn forwarder(mut object: DynamicObject, node: &str) -> Read {
    let spec = match serde_json::from_value::<ForwarderSpec>(part(&mut object.data, "spec")) {
        Ok(spec) => spec,
        Err(error) => return Read::Bad(format!("spec: {error}")),
    };
    if spec.node.is_empty() || spec.blocks.is_empty() {
        return Read::Nothing;
    }
    let status = (spec.node == node).then(|| status(&mut object));
    let mut metadata = Metadata::named(object.name_any());
    metadata.namespace = object.namespace().unwrap_or_default();
    let forwarder = Forwarder {
        api_version: crds::API_VERSION.to_owned(),
        kind: Forwarder::KIND.to_owned(),
        metadata,
        spec,
        status: ForwarderStatus::default(),
    };
    if let Err(problem) = check_forwarder(&forwarder) {
        return Read::Bad(problem);
    }
    if key(&object.metadata).len() > KEY_MAX {
        return Read::Bad("metadata.name: too long".to_owned());
    }
    let version = object.resource_version().unwrap_or_default();
    Read::Item(Item::Forwarder(Declared {
        forwarder: Arc::new(forwarder),
        generation: object.metadata.generation.unwrap_or_default(),
        status: status.map(Arc::new),
        version: version.parse().unwrap_or(0),
    }))
}

/// Reported status of a Forwarder; an undecodable one counts as absent.
pub(super) fn status(object: &mut DynamicObject) -> ForwarderStatus {
    let read = serde_json::from_value(part(&mut object.data, "status"));
    super::normal::normal(read.unwrap_or_default())
}

pub(super) fn topology(mut object: DynamicObject) -> Read {
    let document = json!({
        "apiVersion": crds::API_VERSION,
        "kind": MicroServiceTopology::KIND,
        "metadata": {
            "name": object.name_any(),
            "namespace": object.namespace().unwrap_or_default(),
            "labels": object.labels(),
        },
        "spec": part(&mut object.data, "spec"),
    });
    let read = crds::read::stored(document).and_then(|Stored { topology, .. }| {
        let problems = crds::lint(&topology);
        if problems.is_empty() {
            Ok(topology)
        } else {
            Err(problems)
        }
    });
    match read {
        Ok(topology) => Read::Item(Item::Topology(Arc::new(topology))),
        Err(problems) => {
            let first = problems.first().map(ToString::to_string);
            Read::Bad(first.unwrap_or_else(|| "not valid".to_owned()))
        }
    }
}

pub(super) fn node(object: WireNode) -> Read {
    let addresses = object.status.unwrap_or_default().addresses;
    let is_internal = |address: &NodeAddress| address.r#type == "InternalIP";
    let mut node = NodeObject::new(object.metadata.name.unwrap_or_default(), &[]);
    node.status.addresses = addresses.into_iter().filter(is_internal).collect();
    Read::Item(Item::Node(Arc::new(node)))
}

pub(super) fn pod(object: WirePod) -> Read {
    Read::Item(Item::Pod(Arc::new(pod_here(object))))
}

pub(super) fn pod_here(object: WirePod) -> NodePod {
    let phase = object.status.and_then(|status| status.phase);
    let node = object.spec.node_name.unwrap_or_default();
    let mut annotations: BTreeMap<String, String> = object.metadata.annotations.unwrap_or_default();
    let network_status = annotations.remove(NETWORK_STATUS);
    annotations.retain(|key, _| is_read(key));
    NodePod {
        is_running: !node.is_empty() && !matches!(phase.as_deref(), Some("Succeeded" | "Failed")),
        is_leaving: object.metadata.deletion_timestamp.is_some(),
        is_host_network: object.spec.host_network.unwrap_or(false),
        network_status,
        pod: Pod {
            namespace: object.metadata.namespace.unwrap_or_default(),
            name: object.metadata.name.unwrap_or_default(),
            uid: object.metadata.uid.unwrap_or_default(),
            node,
            labels: object.metadata.labels.unwrap_or_default(),
            annotations,
        },
    }
}

fn part(data: &mut Value, name: &str) -> Value {
    data.as_object_mut()
        .and_then(|data| data.remove(name))
        .unwrap_or(Value::Null)
}
