//! What is held of objects.

use std::collections::BTreeMap;
use std::sync::Arc;

use crds::{Forwarder, ForwarderStatus, MicroServiceTopology, NodeObject};

use crate::objects::pods::NodePod;
use crds::TopologyKey;

/// What is needed of an object.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::objects::kubernetes) enum Item {
    /// The topology that has a Forwarder here.
    Own(TopologyKey),
    Forwarder(Declared),
    Topology(Arc<MicroServiceTopology>),
    Node(Arc<NodeObject>),
    Pod(Arc<NodePod>),
}

/// A Forwarder as it is declared and reported.
#[derive(Clone, Debug)]
pub(in crate::objects::kubernetes) struct Declared {
    /// Without status.
    pub(in crate::objects::kubernetes) forwarder: Arc<Forwarder>,
    pub(in crate::objects::kubernetes) generation: i64,
    /// Of this node's Forwarders only.
    pub(in crate::objects::kubernetes) status: Option<Arc<ForwarderStatus>>,
    /// `metadata.resourceVersion` as a number.
    pub(in crate::objects::kubernetes) version: u64,
}

impl PartialEq for Declared {
    /// Versions of what is otherwise the same say nothing.
    fn eq(&self, other: &Declared) -> bool {
        self.is_same_declaration(other) && self.status == other.status
    }
}

impl Declared {
    pub(super) fn is_same_declaration(&self, other: &Declared) -> bool {
        self.generation == other.generation && self.forwarder == other.forwarder
    }
}

/// What came of reading an object.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::objects::kubernetes) enum Read {
    Item(Item),
    /// There is nothing in it for this node.
    Nothing,
    /// It cannot be understood, for this reason.
    Bad(String),
}

/// What is held of an object.
#[derive(Clone, Debug, Default)]
pub(in crate::objects::kubernetes) struct Entry {
    /// As it could last be understood.
    pub(in crate::objects::kubernetes) item: Option<Item>,
    pub(super) problem: Option<String>,
    /// Tells this item from what was here before.
    pub(in crate::objects::kubernetes) stamp: u64,
}

/// What a watch told.
#[derive(Clone, Debug, Default)]
pub(in crate::objects::kubernetes) struct Table {
    pub(in crate::objects::kubernetes) entries: BTreeMap<String, Entry>,
    /// Everything was listed once.
    pub(in crate::objects::kubernetes) is_whole: bool,
}

impl Entry {
    /// What was known before.
    pub(in crate::objects::kubernetes) fn known(item: Option<Item>, stamp: u64) -> Entry {
        Entry {
            item,
            problem: None,
            stamp,
        }
    }
}

/// A list that is under way, by key.
pub(in crate::objects::kubernetes) type Listing = BTreeMap<String, Read>;

/// `item`, with what is equal to `before` being the same value: the engine tells by that what is new.
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
