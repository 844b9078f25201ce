//! What a change is to be told to.

use super::Item;

/// What a change is to be told to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::objects::kubernetes) struct Change {
    /// The snapshot is another one.
    pub(in crate::objects::kubernetes) source: bool,
    /// The pods are others.
    pub(in crate::objects::kubernetes) pods: bool,
    /// Other topologies have a Forwarder here.
    pub(in crate::objects::kubernetes) networks: bool,
    /// Something is to be kept on disk.
    pub(in crate::objects::kubernetes) cache: bool,
    /// Of these Forwarders something else is reported.
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
