//! Events that wait for the failover thread.

use std::collections::{BTreeMap, BTreeSet};

use linkstate::PathVerdict;

use super::bindings::Interface;
use crate::mailbox::LinkEvent;
use crate::routing::link_state::EndKey;

/// Queue of link events, in their order.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Number of the last step with events.
    pub(super) last: u64,
    pub(super) events: Events,
    pub(super) is_over: bool,
}

/// Events since the last step.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Events {
    /// Last event of each interface.
    pub(super) links: BTreeMap<Interface, LinkEvent>,
    /// Last verdict on the link of each interface.
    pub(super) paths: BTreeMap<Interface, PathVerdict>,
    /// Link ends of peers that went down, or are suspect.
    pub(super) peers: BTreeSet<EndKey>,
    /// Forwarders of other nodes whose report changed.
    pub(super) reports: BTreeSet<String>,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.events == Events::default()
    }
}
