//! Parts of a lab as kept on disk: values only.

use std::collections::{BTreeMap, BTreeSet};

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

/// Parts of a lab, beside the Forwarder objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Record {
    /// Kubernetes namespace of the topology.
    pub namespace: String,
    /// Name of the topology.
    pub topology: String,
    /// True when the last `up` succeeded.
    pub is_complete: bool,
    /// Namespace of the bridge.
    pub underlay: String,
    /// Hosts by name of their node.
    pub hosts: BTreeMap<String, Host>,
    /// App instances by name.
    pub instances: BTreeMap<String, Instance>,
    /// Number of instances by App; absent for one.
    pub counts: BTreeMap<String, u32>,
    /// Faults by `cut` and `kill`.
    pub faults: Faults,
}

/// Host namespace that represents a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Host {
    /// Its namespace.
    pub netns: String,
    /// Its number on the underlay, from 1: the last part of its addresses.
    pub number: u32,
    /// Labels for node selectors.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// Instance that represents a pod or an external host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Instance {
    /// The App.
    pub app: String,
    /// Its namespace.
    pub netns: String,
    /// The Forwarder that it is attached to.
    pub forwarder: String,
    /// The node of that Forwarder, whose daemon serves the plugin.
    pub node: String,
    /// Addresses, as CIDRs; empty until attached.
    pub addresses: Vec<IpNetwork>,
    /// For an external App: the prefixes that it holds.
    pub external: Vec<IpNetwork>,
    /// Result of the plugin's ADD, which CHECK gets; null until attached.
    pub result: serde_json::Value,
}

/// Faults injected by the user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Faults {
    /// Links that are down at both ends.
    pub cut: BTreeSet<String>,
    /// Links with carrier that drop all packets.
    pub silent: BTreeSet<String>,
    /// Forwarders that are cut off.
    pub killed: BTreeSet<String>,
}
