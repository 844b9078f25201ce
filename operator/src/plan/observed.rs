//! The observed state of one topology: input of a plan.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

pub use crds::attach::Pod;
use crds::{
    AllocationSpec, ForwarderSpec, ForwarderStatus, MicroServiceTopology, TopologyStatus,
    allocation::shards::Shard, size::Claim,
};

use super::{
    Delete,
    fence::{self, Basis, Lag, Versions},
};

/// The observed state of one topology.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The declaration, with name and namespace.
    pub topology: Arc<MicroServiceTopology>,
    /// Fields of the stored declaration that this version does not have.
    pub ignored: Vec<String>,
    /// `metadata.uid` of the topology object.
    pub uid: String,
    /// `metadata.generation` of the topology object.
    pub generation: i64,
    /// True while the topology object is being deleted: then nothing is written any more.
    pub is_going: bool,
    /// Current status.
    pub status: TopologyStatus,
    /// Every node of the cluster.
    pub nodes: Arc<Vec<crds::Node>>,
    /// Nodes on which no new Forwarder is placed.
    pub unfit: Arc<BTreeMap<String, Unfit>>,
    /// Number of Forwarder objects of all topologies by their node; those of bare ones too.
    pub load: Arc<HashMap<String, u32>>,
    /// Bounds that the administrator sets.
    pub limits: Limits,
    /// Memory of this topology.
    pub claim: Claim,
    /// Memory in bytes that other topologies take, or are to get first.
    pub taken_by_others: usize,
    /// Newest versions that concern this topology.
    pub basis: Versions,
    /// Newest versions that the watches have delivered.
    pub heard: Versions,
    /// Versions that the watches should have delivered long ago: see [`Observed::lag`].
    pub disbelieved: Versions,
    /// True when the topology was read live, after the Forwarders and the allocation.
    pub is_live: bool,
    /// Pods that are or may be instances: of the namespaces that may join, running, bound to a node.
    pub pods: Vec<Pod>,
    /// The Forwarder objects in the topology's namespace that carry its label or its name in
    /// `spec.topology`, with any owner.
    pub forwarders: Vec<ExistingForwarder>,
    /// Names of Forwarder objects that are named like this topology's, and say that they are of another one.
    pub taken: BTreeSet<String>,
    /// The allocation object of the topology's name, where there is one, with any owner.
    pub allocation: Option<ExistingAllocation>,
    /// First VNIs of ranges that this topology (by uid) has claimed, sorted.
    pub ranges: Vec<u32>,
    /// First VNIs of ranges that others have claimed, sorted: not to be tried.
    pub foreign_ranges: Vec<u32>,
}

/// A Forwarder object as it is.
#[derive(Clone, Debug, Default)]
pub struct ExistingForwarder {
    /// `metadata.name`.
    pub object: String,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
    /// True when its controller owner is this topology (by uid).
    pub is_owned: bool,
    /// True while it is being deleted.
    pub is_going: bool,
    /// The number in [`REVISION_ANNOTATION`]; 0 without one.
    pub revision: u64,
    /// The content of [`super::BASIS_ANNOTATION`].
    pub basis: Basis,
    /// Its spec; bare when it has no blocks yet.
    pub spec: Arc<ForwarderSpec>,
    /// Reports of its node.
    pub status: Arc<ForwarderStatus>,
}

/// Reason why no new Forwarder is placed on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The DaemonSet of the nodes has no pod there: not Linux, or not in `node.nodeSelector`.
    NoDaemon,
    /// The node is not ready.
    NotReady,
    /// The node is cordoned.
    Unschedulable,
}

/// Bounds that the administrator sets; 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most Forwarders of one topology.
    pub forwarders_per_topology: u32,
    /// Most Forwarders on one node, of all topologies.
    pub forwarders_per_node: u32,
    /// Most memory of the Forwarders of all topologies in bytes, estimated.
    pub memory: usize,
    /// Size of an Allocation's shard in bytes: [`crds::allocation::shards::TARGET`] but in tests.
    pub shard_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            forwarders_per_topology: 0,
            forwarders_per_node: 0,
            memory: 0,
            shard_bytes: crds::allocation::shards::TARGET,
        }
    }
}

/// Annotation of a Forwarder object: the revision of the allocation that it was last written from.
pub const REVISION_ANNOTATION: &str = "beemesh.io/allocation";

/// The highest revision that a Forwarder is believed to carry when nothing persisted is as high. One
/// above can only have come from a hand, and lifting the allocation above it would leave no room.
pub(super) const REVISION_MAX: u64 = 1 << 52;

/// The allocation object as it is.
#[derive(Clone, Debug, Default)]
pub struct ExistingAllocation {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
    /// True when its controller owner is this topology (by uid).
    pub is_owned: bool,
    /// True while it is being deleted.
    pub is_going: bool,
    /// All grants, over all shards; `None` when they are undecodable: then nothing is granted until
    /// it is repaired.
    pub spec: Option<Arc<AllocationSpec>>,
    /// Its shards, by number.
    pub shards: Vec<Shard>,
    /// Shards that it does not name, and that no later one will name.
    pub garbage: Vec<Delete>,
    /// The content of [`super::BASIS_ANNOTATION`].
    pub basis: Basis,
    /// Annotations, which are kept.
    pub annotations: BTreeMap<String, String>,
}

impl Observed {
    /// A topology of which nothing exists yet.
    pub fn new(topology: Arc<MicroServiceTopology>) -> Observed {
        Observed {
            topology,
            ignored: Vec::new(),
            uid: String::new(),
            generation: 1,
            is_going: false,
            status: TopologyStatus::default(),
            nodes: Arc::default(),
            unfit: Arc::default(),
            load: Arc::default(),
            limits: Limits::default(),
            claim: Claim::default(),
            taken_by_others: 0,
            basis: Versions::default(),
            heard: Versions::default(),
            disbelieved: Versions::default(),
            is_live: false,
            pods: Vec::new(),
            forwarders: Vec::new(),
            taken: BTreeSet::new(),
            allocation: None,
            ranges: Vec::new(),
            foreign_ranges: Vec::new(),
        }
    }

    /// The Forwarder objects that can be written: ours, and not on their way out; by Forwarder name.
    pub(super) fn usable(&self) -> BTreeMap<&str, &ExistingForwarder> {
        let usable = self.forwarders.iter().filter(|f| f.is_usable());
        usable.map(|f| (f.spec.name.as_str(), f)).collect()
    }

    /// Persisted allocation of this topology; `None` while the object belongs to another one.
    pub(super) fn persisted(&self) -> Option<&AllocationSpec> {
        let allocation = self.allocation.as_ref()?;
        let is_own = allocation.is_owned && !allocation.is_going;
        allocation.spec.as_deref().filter(|_| is_own)
    }

    /// The basis of a plan that is made from this.
    pub fn planned_from(&self) -> Basis {
        Basis {
            generation: self.generation,
            versions: self.basis,
        }
    }

    /// Basis of an object that overwrites one with the basis `before`: it keeps delivered versions, so
    /// that a new process, which knows only a list, does not weaken the fence.
    pub(super) fn basis_over(&self, before: Basis) -> Basis {
        let mut basis = self.planned_from();
        if self.heard.max(self.basis).covers(before.versions) {
            basis.versions = basis.versions.max(before.versions);
        }
        basis
    }

    /// Lag of this state behind the versions written for the topology.
    pub fn lag(&self) -> Option<Lag> {
        let forwarders = self.forwarders.iter().filter(|f| f.is_owned);
        let allocation = self.allocation.iter().filter(|a| a.is_owned);
        let written = forwarders
            .map(|forwarder| forwarder.basis)
            .chain(allocation.map(|allocation| allocation.basis));
        let heard = self.heard.max(self.basis);
        let generation = (self.generation, self.is_live);
        fence::lag(written, generation, heard, self.disbelieved)
    }

    /// The nodes that Forwarders may be on: those that are fit, and those that they are on already.
    pub(super) fn places(&self) -> Cow<'_, [crds::Node]> {
        if self.unfit.is_empty() {
            return Cow::Borrowed(&self.nodes);
        }
        let is_per_node = self.topology.spec.forwarder_per_node.is_some();
        let settled: BTreeSet<&str> = self
            .usable()
            .into_values()
            .map(|f| f.spec.node.as_str())
            .collect();
        let is_fit = |name: &str| match self.unfit.get(name) {
            None => true,
            // A daemon runs there, and pods that are there are to be attached.
            Some(Unfit::NotReady | Unfit::Unschedulable) => is_per_node,
            Some(Unfit::NoDaemon) => false,
        };
        let nodes = self.nodes.iter();
        let nodes = nodes.filter(|node| is_fit(&node.name) || settled.contains(node.name.as_str()));
        Cow::Owned(nodes.cloned().collect())
    }

    /// Revision that a Forwarder was last written from; 0 for an invalid value.
    pub(super) fn written(&self, existing: &ExistingForwarder) -> u64 {
        let persisted = self.persisted().map_or(0, |persisted| persisted.revision);
        let is_possible = existing.revision <= persisted.max(REVISION_MAX);
        if is_possible { existing.revision } else { 0 }
    }
}

impl ExistingForwarder {
    pub(super) fn is_usable(&self) -> bool {
        self.is_owned && !self.is_going
    }

    /// True when it was never filled.
    pub(super) fn is_bare(&self) -> bool {
        self.spec.blocks.is_empty() && self.revision == 0
    }
}
