//! Steps of a story, as its file declares them.

use std::collections::BTreeMap;

use crds::AllocationSpec;
use ipnetwork::IpNetwork;
use serde::Deserialize;
use serde_json::Value;

/// One step.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Step {
    /// For readers.
    #[serde(rename = "story")]
    _story: String,
    /// Deletes the topology, and leaves the rest to whoever finds it.
    pub(super) delete_topology: bool,
    /// Applies it.
    pub(super) topology: Option<Value>,
    /// Nodes with labels; null removes one.
    pub(super) nodes: BTreeMap<String, Option<BTreeMap<String, String>>>,
    /// All pods, from now on.
    pub(super) pods: Option<Vec<StoryPod>>,
    /// Deletes Forwarders by hand, which go only when they are collected.
    pub(super) hold: Vec<String>,
    /// Held objects, and those without an owner, are deleted.
    pub(super) collect: bool,
    /// Deletes the allocation by hand.
    pub(super) lose_allocation: bool,
    /// Deletes Forwarders by hand, and they are gone.
    pub(super) lose: Vec<String>,
    /// Writes the allocation by hand, or restores it from a backup.
    pub(super) edit_allocation: Option<EditAllocation>,
    /// Writes by hand the revision that a Forwarder carries.
    pub(super) annotate: BTreeMap<String, u64>,
    /// Every node reports, before the plan.
    pub(super) report: Option<Report>,
    /// Only shows the plan.
    pub(super) look_on: bool,
}

/// Edits of an allocation; absent fields stay.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct EditAllocation {
    pub(super) revision: Option<u64>,
    /// Blocks by Forwarder.
    pub(super) blocks: BTreeMap<String, Vec<IpNetwork>>,
    /// Links that get the VNI of another one.
    pub(super) vnis: BTreeMap<String, String>,
    /// Forwarders and links of which it is to know nothing.
    pub(super) forget: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Report {
    /// Reasons by the Forwarder that reports it, by link.
    pub(super) down: BTreeMap<String, BTreeMap<String, String>>,
    /// The same of suspect links.
    pub(super) suspect: BTreeMap<String, BTreeMap<String, String>>,
    /// Forwarders that report nothing new.
    pub(super) silent: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct StoryPod {
    pub(super) name: String,
    pub(super) node: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
}

impl EditAllocation {
    pub(super) fn apply(self, spec: &mut AllocationSpec) {
        spec.revision = self.revision.unwrap_or(spec.revision);
        for grant in spec.blocks.values_mut() {
            if let Some(blocks) = self.blocks.get(&grant.forwarder) {
                grant.blocks.clone_from(blocks);
            }
        }
        for name in &self.forget {
            spec.blocks.retain(|_, grant| grant.forwarder != *name);
            spec.vnis.remove(name);
        }
        for (id, other) in self.vnis {
            spec.vnis.insert(id, spec.vnis[&other]);
        }
    }
}
