//! Objects of the cache, trimmed to what plans and writes need.

use std::{collections::BTreeMap, sync::Arc};

use crds::{AllocationSpec, ForwarderSpec, ForwarderStatus, Node};
use ipnetwork::IpNetwork;
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};

use super::{Entry, Key};
use crate::plan::{Basis, Pod, Unfit, names::AttachedPod};

/// A Forwarder object as it is cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedForwarder {
    /// Namespace and name of the object.
    pub key: Key,
    /// The topology it says it is of.
    pub topology: Key,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
    /// uid of the topology that controls it.
    pub owner: Option<String>,
    /// True while it is being deleted.
    pub is_going: bool,
    /// Revision of the allocation that it was last written from.
    pub revision: u64,
    /// Basis of the plan that it was last written from.
    pub basis: Basis,
    /// The desired state.
    pub spec: Arc<ForwarderSpec>,
    /// Reports of its node, without attachments.
    pub status: Arc<ForwarderStatus>,
    /// The pods that its node reports as attached, sorted.
    pub attached: Vec<AttachedPod>,
}

impl CachedForwarder {
    /// The fields that names depend on.
    pub(super) fn reports(&self) -> (&[AttachedPod], Option<&String>, bool, &str, &[IpNetwork]) {
        (
            &self.attached,
            self.owner.as_ref(),
            self.is_going,
            &self.spec.node,
            &self.spec.blocks,
        )
    }
}

/// An allocation object, head or shard, as it is cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CachedAllocation {
    /// The topology that it says it is of.
    pub(super) topology: Key,
    pub(super) uid: String,
    pub(super) resource_version: String,
    pub(super) owner: Option<String>,
    pub(super) is_going: bool,
    /// Absent when it is undecodable: then nothing is granted until it is repaired.
    pub(super) spec: Option<Arc<AllocationSpec>>,
    pub(super) basis: Basis,
    pub(super) annotations: BTreeMap<String, String>,
}

/// A node as it is cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CachedNode {
    pub(super) node: Node,
    /// Reason why no Forwarder is placed on the node now, apart from its labels.
    pub(super) unfit: Option<Unfit>,
}

/// A claimed range of VNIs as it is cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedRange {
    /// Its first VNI.
    pub first: u32,
    /// The topology that claimed it.
    pub topology: Key,
    /// uid of that topology.
    pub owner: String,
    /// `metadata.uid` of the range itself.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
}

/// One value of any kind, with its resourceVersion as a number.
#[derive(Clone, Debug)]
pub(super) enum Cached {
    Topology(Arc<Entry>),
    Forwarder(Arc<CachedForwarder>),
    Allocation(CachedAllocation),
    Range(CachedRange),
    Node(CachedNode),
    Pod(Arc<Pod>),
    Service(Arc<Service>),
    EndpointSlice(Arc<EndpointSlice>),
}
