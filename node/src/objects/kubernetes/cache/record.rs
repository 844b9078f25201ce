//! File format of a cached object: a line with the checksum, then JSON.

use std::collections::BTreeMap;
use std::sync::Arc;

use crds::attach::Pod;
use crds::{Forwarder, ForwarderStatus, MicroServiceTopology, NodeObject};
use serde::{Deserialize, Serialize};

use crate::objects::kubernetes::store::{Declared, Feed, Item};
use crate::objects::pods::NodePod;
use store::sealed::{seal, unseal};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ForwarderRecord<F> {
    forwarder: F,
    generation: i64,
    version: u64,
    status: Option<ForwarderStatus>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodRecord {
    namespace: String,
    name: String,
    uid: String,
    node: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    network_status: Option<String>,
    is_host_network: bool,
    is_running: bool,
    is_leaving: bool,
}

/// File content and its checksum.
pub(super) fn encode(item: &Item) -> (Vec<u8>, u32) {
    let encoded = match item {
        // Its content is part of the index.
        Item::Own(_) => Ok(Vec::new()),
        Item::Forwarder(declared) => serde_json::to_vec(&ForwarderRecord {
            forwarder: &*declared.forwarder,
            generation: declared.generation,
            version: declared.version,
            status: declared.status.as_deref().cloned(),
        }),
        Item::Topology(topology) => serde_json::to_vec(&**topology),
        Item::Node(node) => serde_json::to_vec(&**node),
        Item::Pod(pod) => serde_json::to_vec(&PodRecord::from(&**pod)),
    };
    // The items consist of strings, numbers, lists, and maps with string keys.
    seal(&encoded.unwrap_or_default())
}

/// Item of a feed's file and its checksum; `None` for a damaged file.
pub(super) fn decode(bytes: &[u8], feed: &Feed) -> Option<(Item, u32)> {
    let (rest, checksum) = unseal(bytes)?;
    let item = match feed {
        Feed::Own => return None,
        Feed::Network(_) => Item::Forwarder(declared(rest)?),
        Feed::Topologies => Item::Topology(Arc::new(read::<MicroServiceTopology>(rest)?)),
        Feed::Nodes => Item::Node(Arc::new(read::<NodeObject>(rest)?)),
        Feed::Pods => Item::Pod(Arc::new(read::<PodRecord>(rest)?.into())),
    };
    Some((item, checksum))
}

/// Forwarder in the JSON of a file.
pub(super) fn forwarder(json: &[u8]) -> Option<Forwarder> {
    read::<ForwarderRecord<Forwarder>>(json).map(|record| record.forwarder)
}

#[cfg(test)]
pub(super) fn sealed(forwarder: &Forwarder) -> Vec<u8> {
    let record = ForwarderRecord {
        forwarder,
        generation: 1,
        version: 1,
        status: None,
    };
    seal(&serde_json::to_vec(&record).unwrap()).0
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

fn declared(bytes: &[u8]) -> Option<Declared> {
    let record: ForwarderRecord<Forwarder> = read(bytes)?;
    Some(Declared {
        forwarder: Arc::new(record.forwarder),
        generation: record.generation,
        version: record.version,
        status: record.status.map(Arc::new),
    })
}

impl From<&NodePod> for PodRecord {
    fn from(here: &NodePod) -> PodRecord {
        let pod = here.pod.clone();
        PodRecord {
            namespace: pod.namespace,
            name: pod.name,
            uid: pod.uid,
            node: pod.node,
            labels: pod.labels,
            annotations: pod.annotations,
            network_status: here.network_status.clone(),
            is_host_network: here.is_host_network,
            is_running: here.is_running,
            is_leaving: here.is_leaving,
        }
    }
}

impl From<PodRecord> for NodePod {
    fn from(record: PodRecord) -> NodePod {
        NodePod {
            pod: Pod {
                namespace: record.namespace,
                name: record.name,
                uid: record.uid,
                node: record.node,
                labels: record.labels,
                annotations: record.annotations,
            },
            network_status: record.network_status,
            is_host_network: record.is_host_network,
            is_running: record.is_running,
            is_leaving: record.is_leaving,
        }
    }
}
