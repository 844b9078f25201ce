//! The parts of a lab, as they are kept on disk: values only.

use std::collections::{BTreeMap, BTreeSet};

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

/// What a lab consists of, beside the Forwarder objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Record {
    /// Kubernetes namespace of the topology.
    pub namespace: String,
    /// Name of the topology.
    pub topology: String,
    /// Whether the last `up` ended well.
    pub is_complete: bool,
    /// The namespace with the bridge.
    pub underlay: String,
    /// Hosts by name of their node.
    pub hosts: BTreeMap<String, Host>,
    /// App instances by name.
    pub instances: BTreeMap<String, Instance>,
    /// Instances of each App that has not one.
    pub counts: BTreeMap<String, u32>,
    /// What `cut` and `kill` took out.
    pub faults: Faults,
}

/// The stand-in for a machine.
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

/// The stand-in for a pod or an external host.
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
    /// Result of the plugin's ADD, with which CHECK is asked; null until attached.
    pub result: serde_json::Value,
}

/// What was taken out by hand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Faults {
    /// Links that are down at both ends.
    pub cut: BTreeSet<String>,
    /// Links that look up and drop everything.
    pub silent: BTreeSet<String>,
    /// Forwarders without power.
    pub killed: BTreeSet<String>,
}
