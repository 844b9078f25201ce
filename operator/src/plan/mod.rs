//! From what is observed of one topology to what is written for it. Pure.
//!
//! ```text
//! World --+-- lint, expand -----------> Rejected(problems)
//!         +-- graph, tables ----------> Computed
//!         +-- wanted minus existing --> create, claim, allocation, fill, delete
//! ```
//! A plan is carried out step by step, and each step may be the last one: the next plan is made from
//! what is there then.

use std::collections::BTreeMap;

use crds::{
    AllocationSpec, Forwarder, ForwarderSpec, ForwarderStatus, MicroServiceTopology, Problem,
    TopologyStatus,
};
use topology::{Table, Topology};

/// All that is observed of one topology.
#[derive(Clone, Debug)]
pub struct World {
    /// The declaration, with name and namespace.
    pub topology: MicroServiceTopology,
    /// `metadata.uid` of the topology object.
    pub uid: String,
    /// `metadata.generation` of the topology object.
    pub generation: i64,
    /// What its status says now.
    pub status: TopologyStatus,
    /// Every node of the cluster.
    pub nodes: Vec<crds::Node>,
    /// Pods that are or may be instances: of the namespaces that may join, running, bound to a node.
    pub pods: Vec<Pod>,
    /// The Forwarder objects that carry this topology's label, whoever owns them.
    pub forwarders: Vec<ExistingForwarder>,
    /// The allocation object, where there is one.
    pub allocation: Option<ExistingAllocation>,
    /// First VNIs of the ranges that this topology (by uid) has claimed, sorted.
    pub ranges: Vec<u32>,
    /// First VNIs of ranges that others have claimed, sorted: not to be tried.
    pub foreign_ranges: Vec<u32>,
}

/// A pod, as far as topologies care.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
    /// The node it is bound to.
    pub node: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations of `beemesh.io/` only.
    pub annotations: BTreeMap<String, String>,
}

/// A Forwarder object as it is.
#[derive(Clone, Debug)]
pub struct ExistingForwarder {
    /// `metadata.name`.
    pub object: String,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
    /// Whether its controller owner is this topology (by uid).
    pub is_owned: bool,
    /// Whether it is being deleted.
    pub is_going: bool,
    /// Its spec; bare when it has no node and no blocks yet.
    pub spec: ForwarderSpec,
    /// What its node reports.
    pub status: ForwarderStatus,
}

/// The allocation object as it is.
#[derive(Clone, Debug)]
pub struct ExistingAllocation {
    /// `metadata.resourceVersion`.
    pub resource_version: String,
    /// What is given.
    pub spec: AllocationSpec,
}

/// What is to be done about one topology.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the declaration means now; `None` when it is rejected.
    pub computed: Option<Computed>,
    /// Why it is rejected; empty when it is not.
    pub problems: Vec<Problem>,
    /// Forwarders to create bare, by their names in the topology; step (a).
    pub create: Vec<String>,
    /// First VNIs to try to claim, in this order, until `claim_count` are claimed; step (b).
    pub claim: Vec<u32>,
    /// How many ranges are missing.
    pub claim_count: usize,
    /// The allocation to write before anything is filled, when it differs; step (c).
    pub allocation: Option<AllocationSpec>,
    /// Forwarders whose spec differs and whose grants are persisted; step (d).
    pub fill: Vec<Fill>,
    /// Forwarder objects that should not be, with preconditions.
    pub delete: Vec<Delete>,
    /// `status.computed` that differs.
    pub publish: Vec<Publish>,
    /// The status to write, equal to the present one when nothing changed.
    pub status: TopologyStatus,
    /// Pods that would be instances but cannot be attached, and why.
    pub unattached: Vec<Unattached>,
}

/// One Forwarder object to be server-side applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fill {
    /// `metadata.name`.
    pub object: String,
    /// Precondition.
    pub uid: String,
    /// Precondition.
    pub resource_version: String,
    /// What is wanted.
    pub spec: ForwarderSpec,
}

/// One Forwarder object to be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    /// `metadata.name`.
    pub object: String,
    /// Precondition.
    pub uid: String,
}

/// The computed table of one Forwarder, to be published in its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// `metadata.name`.
    pub object: String,
    /// Precondition.
    pub uid: String,
    /// What is computed.
    pub computed: crds::forwarder::Computed,
}

/// A pod that is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unattached {
    /// The pod.
    pub pod: Pod,
    /// One CamelCase word, such as `NoForwarder`.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
}

/// What a declaration means on these nodes with these pods: shared with REST and metrics.
#[derive(Clone, Debug)]
pub struct Computed {
    /// The Forwarders that should be, sorted by name.
    pub forwarders: Vec<Forwarder>,
    /// The global topology with all links up.
    pub graph: Topology,
    /// The table of each Forwarder, in the order of `graph.forwarders()`.
    pub tables: Vec<Table>,
}
