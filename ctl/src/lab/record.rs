//! The parts of a lab, as they are kept on disk: values only.

use std::collections::{BTreeMap, BTreeSet};

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

/// What a lab consists of, beside the Forwarder objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Record {
    /// Kubernetes namespace of the topology.
    pub(crate) namespace: String,
    /// Name of the topology.
    pub(crate) topology: String,
    /// Whether the last `up` ended well.
    pub(crate) is_complete: bool,
    /// The namespace with the bridge.
    pub(crate) underlay: String,
    /// Hosts by name of their node.
    pub(crate) hosts: BTreeMap<String, Host>,
    /// App instances by name.
    pub(crate) instances: BTreeMap<String, Instance>,
    /// Instances of each App that has not one.
    pub(crate) counts: BTreeMap<String, u32>,
    /// What `cut` and `kill` took out.
    pub(crate) faults: Faults,
}

/// The stand-in for a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Host {
    /// Its namespace.
    pub(crate) netns: String,
    /// Its number on the underlay, from 1: the last part of its addresses.
    pub(crate) number: u32,
    /// Labels for node selectors.
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
}

/// The stand-in for a pod or an external host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Instance {
    /// The App.
    pub(crate) app: String,
    /// Its namespace.
    pub(crate) netns: String,
    /// The Forwarder that it is attached to.
    pub(crate) forwarder: String,
    /// The node of that Forwarder, whose daemon serves the plugin.
    pub(crate) node: String,
    /// Addresses, as CIDRs; empty until attached.
    pub(crate) addresses: Vec<IpNetwork>,
    /// For an external App: the prefixes that it holds.
    pub(crate) external: Vec<IpNetwork>,
    /// Result of the plugin's ADD, with which CHECK is asked; null until attached.
    pub(crate) result: serde_json::Value,
}

/// What was taken out by hand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Faults {
    /// Links that are down at both ends.
    pub(crate) cut: BTreeSet<String>,
    /// Links that look up and drop everything.
    pub(crate) silent: BTreeSet<String>,
    /// Forwarders without power.
    pub(crate) killed: BTreeSet<String>,
}
