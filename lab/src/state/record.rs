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
    /// MTU in bytes of the network between the hosts; absent for 1500.
    pub mtu: Option<u32>,
    /// Hosts by name of their node.
    pub hosts: BTreeMap<String, Host>,
    /// App instances by name.
    pub instances: BTreeMap<String, Instance>,
    /// Number of instances by App; absent for one.
    pub counts: BTreeMap<String, u32>,
    /// Faults in force.
    pub faults: Faults,
}

impl Record {
    /// MTU in bytes of the network between the hosts.
    pub(crate) fn mtu(&self) -> u32 {
        self.mtu.unwrap_or(1_500)
    }
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
    /// Directions of links with carrier that drop all packets.
    pub one_way: BTreeSet<Direction>,
    /// Limits of links, at both ends.
    pub slow: BTreeMap<String, Limit>,
    /// Forwarders that are cut off.
    pub killed: BTreeSet<String>,
    /// Nodes whose daemon is stopped (SIGSTOP).
    pub frozen: BTreeSet<String>,
    /// Nodes whose daemon was killed.
    pub killed_daemons: BTreeSet<String>,
    /// Groups of nodes that reach only one another; empty without a partition.
    pub partition: Vec<BTreeSet<String>>,
    /// Load of this machine.
    pub burn: Option<Burn>,
}

/// Direction of a link: towards one of its ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Direction {
    /// Id of the link.
    pub link: String,
    /// The Forwarder at the receiving end.
    pub to: String,
}

/// Limit of what a link carries, in each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limit {
    /// Rate in bits per second.
    pub bits_per_second: u64,
    /// Longest time in the queue in milliseconds; a packet that would wait longer is dropped.
    pub queue_ms: u32,
}

/// Process that loads the processors of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Burn {
    /// Process id.
    pub process: i32,
    /// Start time of the process in clock ticks since boot.
    pub started: u64,
    /// Number of busy threads.
    pub threads: usize,
    /// End in seconds since 1970.
    pub until: u64,
}
