//! A node, in the shape of a core/v1 `Node`, read leniently: all else is ignored.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::Metadata;

/// A machine that can hold Forwarders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeObject {
    /// `v1`.
    #[serde(default = "api_version")]
    pub api_version: String,
    /// `Node`.
    #[serde(default = "kind")]
    pub kind: String,
    /// The node's name and labels.
    pub metadata: Metadata,
    /// Addresses of the node.
    #[serde(default)]
    pub status: NodeStatus,
}

/// The part of a node's status that links need.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Addresses of the node, each with its type.
    #[serde(default)]
    pub addresses: Vec<NodeAddress>,
}

/// One address of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeAddress {
    /// `InternalIP`, `ExternalIP`, `Hostname`, ...
    pub r#type: String,
    /// The address, or a name when the type is `Hostname`.
    pub address: String,
}

impl NodeObject {
    /// A node with these addresses for its links.
    pub fn new(name: impl Into<String>, addresses: &[IpAddr]) -> NodeObject {
        let addresses = addresses
            .iter()
            .map(|address| NodeAddress {
                r#type: "InternalIP".to_owned(),
                address: address.to_string(),
            })
            .collect();
        NodeObject {
            api_version: api_version(),
            kind: kind(),
            metadata: Metadata::named(name),
            status: NodeStatus { addresses },
        }
    }

    /// The addresses of type `InternalIP`, as written; those that are no addresses are left out.
    pub fn internal_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let internal = self
            .status
            .addresses
            .iter()
            .filter(|a| a.r#type == "InternalIP");
        internal.filter_map(|a| a.address.parse().ok())
    }
}

fn api_version() -> String {
    "v1".to_owned()
}

fn kind() -> String {
    "Node".to_owned()
}
