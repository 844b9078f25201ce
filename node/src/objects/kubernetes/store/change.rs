//! Effects of a change of the store.

use super::Item;

/// Parts that a change affects.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::objects::kubernetes) struct Change {
    /// The snapshot changed.
    pub(in crate::objects::kubernetes) source: bool,
    /// The pods changed.
    pub(in crate::objects::kubernetes) pods: bool,
    /// The set of topologies with a Forwarder on this node changed.
    pub(in crate::objects::kubernetes) networks: bool,
    /// The cache has to be written.
    pub(in crate::objects::kubernetes) cache: bool,
    /// Forwarders whose reported status changed.
    pub(in crate::objects::kubernetes) statuses: Vec<String>,
}

impl Change {
    pub(super) fn add(&mut self, key: &str, before: Option<&Item>, after: Option<&Item>) {
        if before == after {
            return;
        }
        self.cache = true;
        match before.or(after) {
            Some(Item::Own(_)) => {
                self.networks = true;
                self.source = true;
            }
            Some(Item::Topology(_) | Item::Node(_)) => self.source = true,
            Some(Item::Pod(_)) => self.pods = true,
            Some(Item::Forwarder(_)) => {
                self.source |= !are_same_declarations(before, after);
                self.statuses.push(key.to_owned());
            }
            None => {}
        }
    }
}

fn are_same_declarations(before: Option<&Item>, after: Option<&Item>) -> bool {
    match (before, after) {
        (Some(Item::Forwarder(before)), Some(Item::Forwarder(after))) => {
            before.is_same_declaration(after)
        }
        _ => false,
    }
}
