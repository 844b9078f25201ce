//! Which ends of links are up, told from node to node.
//!
//! A link is used only while both its ends report it up; an end that nobody reports is not up.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::error::Error;

pub mod directory;

/// What the node of a Forwarder says of the Forwarder's ends of its links.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The node that says it.
    pub origin: String,
    /// Grows by one with each change.
    pub seq: u64,
    /// Whether the end is up, by link id.
    pub links: BTreeMap<String, bool>,
}

/// Which reports are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// Every one.
    All,
    /// Those of these Forwarders, by key.
    Some(BTreeSet<String>),
}

/// The port to the other nodes. Adapter in this crate: [`directory::Directory`].
pub trait LinkStates: Send {
    /// The reports that have changed since they were last asked for; `None` for one that was withdrawn.
    fn read(&mut self, which: &Which) -> BTreeMap<String, Option<Report>>;

    /// Tells everyone what this node sees of a Forwarder's links; false when that was told already.
    ///
    /// # Errors
    /// [`Error::File`]: try again.
    fn publish(&mut self, forwarder: &str, links: &BTreeMap<String, bool>) -> Result<bool, Error>;

    /// Takes back what was told of a Forwarder that is no longer this node's.
    fn withdraw(&mut self, forwarder: &str);
}
