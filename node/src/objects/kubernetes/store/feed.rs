//! Feeds: the watches of the store.

use std::fmt;

use serde::{Deserialize, Serialize};

use crds::TopologyKey;

/// Watch of the API server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(in crate::objects::kubernetes) enum Feed {
    /// This node's Forwarders.
    Own,
    /// All topologies.
    Topologies,
    /// All nodes.
    Nodes,
    /// This node's pods.
    Pods,
    /// Forwarders of a topology with a Forwarder on this node.
    Network(TopologyKey),
}

impl Feed {
    /// Kind of its objects, for messages.
    pub(in crate::objects::kubernetes) fn kind(&self) -> &'static str {
        match self {
            Feed::Own | Feed::Network(_) => "forwarder",
            Feed::Topologies => "topology",
            Feed::Nodes => "node",
            Feed::Pods => "pod",
        }
    }
}

impl fmt::Display for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Feed::Own => f.write_str("watch of own forwarders"),
            Feed::Topologies => f.write_str("watch of topologies"),
            Feed::Nodes => f.write_str("watch of nodes"),
            Feed::Pods => f.write_str("watch of pods"),
            Feed::Network(TopologyKey {
                namespace,
                topology,
            }) => write!(f, "watch of forwarders of {namespace}/{topology}"),
        }
    }
}
