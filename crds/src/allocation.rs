//! Addresses and VNIs of a topology, persisted before use so that none is given twice.
//!
//! ```text
//! Allocation (one head for each topology, written under its resourceVersion)
//!     blocks: Forwarder's uid -> its blocks          vnis: link id -> VNI out of the topology's ranges
//!     shards: names of further Allocation objects that hold blocks and vnis of a large topology (see `shards`)
//! VniRange (cluster scoped; its name is the range, so creating it is the claim)
//! ```

pub mod shards;

use std::collections::BTreeMap;

use ipnetwork::IpNetwork;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cidr;

/// The addresses and VNIs of one topology. Has the topology's name and is owned by it.
#[derive(
    CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema,
)]
#[kube(
    group = "beemesh.io",
    version = "v1alpha1",
    kind = "Allocation",
    root = "AllocationObject",
    doc = "Address blocks and VNIs given to one MicroServiceTopology. Derived: do not edit.",
    namespaced,
    category = "beemesh"
)]
#[serde(rename_all = "camelCase")]
pub struct AllocationSpec {
    /// Grows by one with each write. Every Forwarder carries the one that it was last written from,
    /// and is never written from a lower one.
    #[serde(default)]
    pub revision: u64,
    /// Blocks by the uid of the Forwarder object that holds them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub blocks: BTreeMap<String, BlockGrant>,
    /// VNIs by link id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vnis: BTreeMap<String, u32>,
    /// VNIs of removed links, by link id: reserved until both ends are written without them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub retired: BTreeMap<String, RetiredVni>,
    /// The last blocks whose Forwarders are gone: given again when nothing else is free.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub released: Vec<BlockGrant>,
    /// Names of the Allocation objects that hold the blocks and VNIs of a topology that is too large for
    /// one object, by number. Each is written once and never changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shards: Vec<String>,
    /// Fields of newer versions, which are kept: a newer operator may run beside this one.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: BTreeMap<String, Value>,
}

/// VNI of a removed link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetiredVni {
    /// The VNI.
    pub vni: u32,
    /// The revision in which it was retired: a Forwarder that was written from this one or a later one
    /// cannot be written with the VNI any more.
    pub revision: u64,
    /// Fields of newer versions.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: BTreeMap<String, Value>,
}

/// The blocks of one Forwarder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlockGrant {
    /// The Forwarder's name in the topology.
    pub forwarder: String,
    /// One block for each CIDR of the topology.
    #[serde(with = "cidr")]
    #[schemars(with = "Vec<String>")]
    pub blocks: Vec<IpNetwork>,
    /// Fields of newer versions.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: BTreeMap<String, Value>,
}

/// VNIs claimed by one topology: [`VNIS_OF_RANGE`] from `first` on. Its name is `vni-FIRST`.
#[derive(
    CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema,
)]
#[kube(
    group = "beemesh.io",
    version = "v1alpha1",
    kind = "VniRange",
    root = "VniRangeObject",
    doc = "VXLAN network identifiers claimed by one MicroServiceTopology. Derived: do not edit.",
    category = "beemesh"
)]
#[serde(rename_all = "camelCase")]
pub struct VniRangeSpec {
    /// The first VNI.
    pub first: u32,
    /// Kubernetes namespace of the topology.
    pub namespace: String,
    /// Name of the topology.
    pub topology: String,
    /// uid of the topology: another one of the same name has no right to it.
    pub uid: String,
}

/// Number of VNIs that one [`VniRangeSpec`] claims.
pub const VNIS_OF_RANGE: u32 = 64;
