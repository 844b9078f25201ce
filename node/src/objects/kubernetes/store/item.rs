//! Stored form of objects.

use std::collections::BTreeMap;
use std::sync::Arc;

use crds::forwarder::SharedValues;
use crds::{Forwarder, ForwarderStatus, MicroServiceTopology, NodeObject};

use crate::objects::pods::NodePod;
use crds::TopologyKey;

/// Used fields of an object.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::objects::kubernetes) enum Item {
    /// Topology of a Forwarder on this node.
    Own(TopologyKey),
    Forwarder(Declared),
    Topology(Arc<MicroServiceTopology>),
    Node(Arc<NodeObject>),
    Pod(Arc<NodePod>),
}

/// Forwarder with its spec and reported status.
#[derive(Clone, Debug)]
pub(in crate::objects::kubernetes) struct Declared {
    /// Object without status.
    pub(in crate::objects::kubernetes) forwarder: Arc<Forwarder>,
    pub(in crate::objects::kubernetes) generation: i64,
    /// Reported status, of this node's Forwarders only.
    pub(in crate::objects::kubernetes) status: Option<Arc<ForwarderStatus>>,
    /// `metadata.resourceVersion` as a number.
    pub(in crate::objects::kubernetes) version: u64,
}

impl PartialEq for Declared {
    /// Versions are ignored: they may differ for equal content.
    fn eq(&self, other: &Declared) -> bool {
        self.is_same_declaration(other) && self.status == other.status
    }
}

impl Declared {
    pub(super) fn is_same_declaration(&self, other: &Declared) -> bool {
        self.generation == other.generation && self.forwarder == other.forwarder
    }
}

/// Result of decoding an object.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::objects::kubernetes) enum Read {
    Item(Item),
    /// Object without relevance for this node.
    Nothing,
    /// Undecodable object, with the reason.
    Bad(String),
}

impl Item {
    /// The same item, without a copy of what other Forwarders have too.
    pub(in crate::objects::kubernetes) fn sharing(mut self, values: &mut SharedValues) -> Item {
        if let Item::Forwarder(declared) = &mut self {
            values.share(&mut Arc::make_mut(&mut declared.forwarder).spec);
        }
        self
    }
}

/// Stored entry of an object.
#[derive(Clone, Debug, Default)]
pub(in crate::objects::kubernetes) struct Entry {
    /// Last decodable version.
    pub(in crate::objects::kubernetes) item: Option<Item>,
    pub(super) problem: Option<String>,
    /// Number that changes with the item.
    pub(in crate::objects::kubernetes) stamp: u64,
}

/// Table of one watch.
#[derive(Clone, Debug, Default)]
pub(in crate::objects::kubernetes) struct Table {
    pub(in crate::objects::kubernetes) entries: BTreeMap<String, Entry>,
    /// True after the first complete list.
    pub(in crate::objects::kubernetes) is_whole: bool,
}

impl Entry {
    /// Entry from the cache.
    pub(in crate::objects::kubernetes) fn known(item: Option<Item>, stamp: u64) -> Entry {
        Entry {
            item,
            problem: None,
            stamp,
        }
    }
}

/// Change of a table by an event of a watch.
#[derive(Debug)]
pub(in crate::objects::kubernetes) enum Update {
    /// The object of this key.
    One(String, Read),
    /// The whole table.
    Whole(Listing),
}

/// List in progress, by key.
pub(in crate::objects::kubernetes) type Listing = BTreeMap<String, Read>;

/// `item`, which shares its value with an equal `before`: the engine compares pointers to detect
/// changes.
pub(super) fn shared(item: Item, before: Option<&Item>) -> Item {
    match (item, before) {
        (Item::Forwarder(new), Some(Item::Forwarder(held))) if new.is_same_declaration(held) => {
            Item::Forwarder(Declared {
                forwarder: Arc::clone(&held.forwarder),
                ..new
            })
        }
        (Item::Forwarder(new), _) => Item::Forwarder(new),
        (item, Some(before)) if item == *before => before.clone(),
        (item, _) => item,
    }
}
