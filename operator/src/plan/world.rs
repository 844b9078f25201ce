//! What is observed of one topology.

use std::collections::{BTreeMap, BTreeSet};

pub use crds::attach::Pod;
use crds::{
    AllocationSpec, Forwarder, ForwarderSpec, ForwarderStatus, MicroServiceTopology, TopologyStatus,
};

use super::sound;

/// All that is observed of one topology.
#[derive(Clone, Debug)]
pub struct World {
    /// The declaration, with name and namespace.
    pub topology: MicroServiceTopology,
    /// Fields of the stored declaration that this version does not have.
    pub ignored: Vec<String>,
    /// `metadata.uid` of the topology object.
    pub uid: String,
    /// `metadata.generation` of the topology object.
    pub generation: i64,
    /// Whether the topology object is being deleted: then nothing is done any more.
    pub is_going: bool,
    /// What its status says now.
    pub status: TopologyStatus,
    /// Every node of the cluster.
    pub nodes: Vec<crds::Node>,
    /// Pods that are or may be instances: of the namespaces that may join, running, bound to a node.
    pub pods: Vec<Pod>,
    /// The Forwarder objects in the topology's namespace that carry its label or its name in
    /// `spec.topology`, whoever owns them.
    pub forwarders: Vec<ExistingForwarder>,
    /// Names of Forwarder objects that are named like this topology's, and say that they are of another one.
    pub taken: BTreeSet<String>,
    /// The allocation object of the topology's name, where there is one, whoever owns it.
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
    /// Whether its controller owner is this topology (by uid).
    pub is_owned: bool,
    /// Whether it is being deleted.
    pub is_going: bool,
    /// The number in [`REVISION_ANNOTATION`]; 0 without one.
    pub revision: u64,
    /// Its spec; bare when it has no node and no blocks yet.
    pub spec: ForwarderSpec,
    /// What its node reports.
    pub status: ForwarderStatus,
}

/// Annotation of a Forwarder object: the revision of the allocation that it was last written from.
pub const REVISION_ANNOTATION: &str = "beemesh.io/allocation";

/// The allocation object as it is.
#[derive(Clone, Debug, Default)]
pub struct ExistingAllocation {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
    /// Whether its controller owner is this topology (by uid).
    pub is_owned: bool,
    /// Whether it is being deleted.
    pub is_going: bool,
    /// What is given; `None` when it cannot be read: then nothing is given until someone has mended it.
    pub spec: Option<AllocationSpec>,
}

impl World {
    /// The Forwarder objects that can be written: ours, and not on their way out; by Forwarder name.
    pub(super) fn usable(&self) -> BTreeMap<&str, &ExistingForwarder> {
        let usable = self.forwarders.iter().filter(|f| f.is_usable());
        usable.map(|f| (f.spec.name.as_str(), f)).collect()
    }

    /// What is persisted for this topology; nothing while the object is another one's.
    pub(super) fn persisted(&self) -> Option<&AllocationSpec> {
        let allocation = self.allocation.as_ref()?;
        let is_own = allocation.is_owned && !allocation.is_going;
        allocation.spec.as_ref().filter(|_| is_own)
    }

    /// Why nothing may be given now.
    pub(super) fn closed(&self, wanted: &[Forwarder]) -> Option<String> {
        let name = &self.topology.metadata.name;
        let foreign = self.forwarders.iter().find(|f| !f.is_owned);
        let mut wanted = wanted.iter().map(|f| &f.metadata.name);
        let foreign = foreign
            .map(|foreign| &foreign.object)
            .or_else(|| wanted.find(|object| self.taken.contains(*object)));
        match &self.allocation {
            Some(allocation) if !allocation.is_owned || allocation.is_going => Some(format!(
                "Allocation {name} of a former topology is to go first"
            )),
            Some(allocation) if allocation.spec.is_none() => Some(format!(
                "Allocation {name} cannot be read: mend or delete it"
            )),
            _ => {
                let to_go = |object: &String| {
                    format!("Forwarder {object} is not of this topology and is to go first")
                };
                sound::contradiction(self).or_else(|| foreign.map(to_go))
            }
        }
    }

    /// The revision that a Forwarder was last written from; 0 when what it carries cannot be one.
    pub(super) fn written(&self, existing: &ExistingForwarder) -> u64 {
        let persisted = self.persisted().map_or(0, |persisted| persisted.revision);
        let is_possible = existing.revision <= persisted.max(sound::REVISION_MAX);
        if is_possible { existing.revision } else { 0 }
    }
}

impl ExistingForwarder {
    pub(super) fn is_usable(&self) -> bool {
        self.is_owned && !self.is_going
    }
}
