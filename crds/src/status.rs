//! What is reported of a topology, and conditions, in the manner of Kubernetes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What has become of a topology. Small: nothing here grows with Forwarders or links.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TopologyStatus {
    /// The `metadata.generation` that all below is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How many Forwarders there are, and how many report what was computed.
    pub forwarders: ForwarderCount,
    /// How many links are up at both ends.
    pub links: LinkCount,
    /// The same as text, such as `4/4`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub links_up: String,
    /// How many pods are instances of its Apps.
    pub pods: u32,
    /// Epoch of the global topology, 16 hexadecimal digits.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub epoch: String,
    /// Digest of the tables of all Forwarders, 16 hexadecimal digits.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// Time from the last change being observed to all being computed and written, such as `350ms`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub convergence: String,
    /// The newest changes that all above was made from, such as `forwarders=512,nodes=100,pods=300`: a replica
    /// of the operator that has not heard of them writes nothing over it.
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
    /// Those whose node reports the table that was computed.
    pub programmed: u32,
    /// All.
    pub total: u32,
}

/// A condition, in the manner of Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What it is about, such as `Ready`.
    pub r#type: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One CamelCase word.
    #[serde(default)]
    pub reason: String,
    /// A sentence for people.
    #[serde(default)]
    pub message: String,
    /// The `metadata.generation` that it was computed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When `status` last changed (RFC 3339).
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
}
