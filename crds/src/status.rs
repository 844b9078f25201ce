//! Status of a topology, and conditions as in Kubernetes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Status of a topology. Small: nothing here grows with Forwarders or links.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TopologyStatus {
    /// `metadata.generation` of the spec that the status describes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Numbers of Forwarders: programmed with the computed table, and in total.
    pub forwarders: ForwarderCount,
    /// Numbers of links: up at both ends, and in total.
    pub links: LinkCount,
    /// The same as text, such as `4/4`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub links_up: String,
    /// Number of pods that are instances of its Apps.
    pub pods: u32,
    /// Epoch of the global topology, 16 hexadecimal digits.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub epoch: String,
    /// Digest of the tables of all Forwarders, 16 hexadecimal digits.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// Time from the observation of the last change until everything is computed and written, such
    /// as `350ms`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub convergence: String,
    /// Newest object versions that the status was computed from, such as
    /// `forwarders=512,nodes=100,pods=300`: a replica of the operator with older ones does not
    /// overwrite it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub observed_versions: String,
    /// `Accepted`, `Computed`, `Programmed`, `Ready`, `Degraded`, `Progressing`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// Forwarders of one topology.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForwarderCount {
    /// Forwarders whose node reports the computed table.
    pub programmed: u32,
    /// All Forwarders.
    pub total: u32,
}

/// Condition, as in Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Type, such as `Ready`.
    pub r#type: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Reason, one CamelCase word.
    #[serde(default)]
    pub reason: String,
    /// Message, a sentence.
    #[serde(default)]
    pub message: String,
    /// The `metadata.generation` that it was computed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Time of the last change of `status` (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<String>,
}

/// Links that are up, of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinkCount {
    /// Links that are up.
    pub up: u32,
    /// All links.
    pub total: u32,
    /// Links that are suspect: no packet passes although the interfaces are up.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub suspect: u32,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}
