//! What is known of the cluster, a table for each watch. Pure.
//!
//! Forwarders are taken from the watch of their topology alone, so that what is seen of a topology
//! is what the API server had at one moment. The watch of this node's own says which topologies those are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crds::{Forwarder, ForwarderStatus, MicroServiceTopology, NodeObject};
use serde::{Deserialize, Serialize};

use crate::leases::Network;
use crate::pods::PodHere;
use crate::source::Snapshot;

#[cfg(test)]
mod tests;

/// A watch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Feed {
    /// This node's Forwarders.
    Own,
    /// All topologies.
    Topologies,
    /// All nodes.
    Nodes,
    /// This node's pods.
    Pods,
    /// The Forwarders of a topology that has one here.
    Network(Network),
}

/// What is needed of an object.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    /// The topology that has a Forwarder here.
    Own(Network),
    Forwarder(Declared),
    Topology(Arc<MicroServiceTopology>),
    Node(Arc<NodeObject>),
    Pod(Arc<PodHere>),
}

/// A Forwarder as it is declared and reported.
#[derive(Clone, Debug)]
pub(super) struct Declared {
    /// Without status.
    pub(super) forwarder: Arc<Forwarder>,
    pub(super) generation: i64,
    /// Of this node's Forwarders only.
    pub(super) status: Option<Arc<ForwarderStatus>>,
    /// `metadata.resourceVersion` as a number.
    pub(super) version: u64,
}

impl PartialEq for Declared {
    /// Versions of what is otherwise the same say nothing.
    fn eq(&self, other: &Declared) -> bool {
        self.is_same_declaration(other) && self.status == other.status
    }
}

impl Declared {
    fn is_same_declaration(&self, other: &Declared) -> bool {
        self.generation == other.generation && self.forwarder == other.forwarder
    }
}

/// What came of reading an object.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Read {
    Item(Item),
    /// There is nothing in it for this node.
    Nothing,
    /// It cannot be understood, for this reason.
    Bad(String),
}

/// What a change is to be told to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// The snapshot is another one.
    pub(super) source: bool,
    /// The pods are others.
    pub(super) pods: bool,
    /// Other topologies have a Forwarder here.
    pub(super) networks: bool,
    /// Something is to be kept on disk.
    pub(super) cache: bool,
    /// Of these Forwarders something else is reported.
    pub(super) statuses: Vec<String>,
}

/// What is held of an object.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    /// As it could last be understood.
    pub(super) item: Option<Item>,
    problem: Option<String>,
    /// Tells this item from what was here before.
    pub(super) stamp: u64,
}

/// What a watch told.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) entries: BTreeMap<String, Entry>,
    /// Everything was listed once.
    pub(super) is_whole: bool,
}

impl Entry {
    /// What was known before.
    pub(super) fn known(item: Option<Item>, stamp: u64) -> Entry {
        Entry {
            item,
            problem: None,
            stamp,
        }
    }
}

/// A list that is under way, by key.
pub(super) type Listing = BTreeMap<String, Read>;

/// Every table.
#[derive(Debug, Default)]
pub(super) struct Store {
    tables: BTreeMap<Feed, Table>,
    stamps: u64,
}

impl Store {
    /// A store that begins with what was known before.
    pub(super) fn new(tables: BTreeMap<Feed, Table>) -> Store {
        let entries = tables.values().flat_map(|table| table.entries.values());
        let stamps = entries.map(|entry| entry.stamp).max().unwrap_or(0);
        let mut store = Store { tables, stamps };
        store.follow_networks();
        store
    }

    pub(super) fn tables(&self) -> &BTreeMap<Feed, Table> {
        &self.tables
    }

    fn table(&self, feed: &Feed) -> Option<&Table> {
        self.tables.get(feed)
    }

    /// Takes an object that was made or changed. One that is older than what is held is not taken.
    pub(super) fn put(&mut self, feed: &Feed, key: &str, read: Read) -> Change {
        let Some(table) = self.table_mut(feed) else {
            return Change::default();
        };
        let before = table.entries.remove(key);
        if let (Some(Item::Forwarder(held)), Read::Item(Item::Forwarder(new))) =
            (before.as_ref().and_then(|entry| entry.item.as_ref()), &read)
            && new.version < held.version
        {
            table
                .entries
                .extend(before.map(|entry| (key.to_owned(), entry)));
            return Change::default();
        }
        let mut change = Change::default();
        self.replace(feed, key, before, read, &mut change);
        self.settle(feed, change)
    }

    /// Takes what was deleted.
    pub(super) fn remove(&mut self, feed: &Feed, key: &str) -> Change {
        self.put(feed, key, Read::Nothing)
    }

    /// Takes a whole list.
    pub(super) fn complete(&mut self, feed: &Feed, listing: Listing) -> Change {
        let Some(table) = self.table_mut(feed) else {
            return Change::default();
        };
        let is_first = !std::mem::replace(&mut table.is_whole, true);
        let mut before = std::mem::take(&mut table.entries);
        let mut change = Change {
            source: is_first,
            cache: is_first,
            pods: is_first && *feed == Feed::Pods,
            networks: is_first && *feed == Feed::Own,
            statuses: Vec::new(),
        };
        for (key, read) in listing {
            let entry = before.remove(&key);
            self.replace(feed, &key, entry, read, &mut change);
        }
        for (key, entry) in before {
            self.replace(feed, &key, Some(entry), Read::Nothing, &mut change);
        }
        self.settle(feed, change)
    }

    /// The table of a feed; none of a topology that has no Forwarder here any more.
    fn table_mut(&mut self, feed: &Feed) -> Option<&mut Table> {
        match feed {
            Feed::Network(_) => self.tables.get_mut(feed),
            _ => Some(self.tables.entry(feed.clone()).or_default()),
        }
    }

    fn replace(
        &mut self,
        feed: &Feed,
        key: &str,
        before: Option<Entry>,
        read: Read,
        change: &mut Change,
    ) {
        let before = before.unwrap_or_default();
        let (item, problem) = match read {
            Read::Item(item) => (Some(shared(item, before.item.as_ref())), None),
            Read::Bad(problem) => (before.item.clone(), Some(problem)),
            Read::Nothing => (None, None),
        };
        change.add(key, before.item.as_ref(), item.as_ref());
        change.source |= problem != before.problem;
        if item.is_none() && problem.is_none() {
            return;
        }
        let stamp = if item == before.item {
            before.stamp
        } else {
            self.stamps += 1;
            self.stamps
        };
        let entry = Entry {
            item,
            problem,
            stamp,
        };
        if let Some(table) = self.table_mut(feed) {
            table.entries.insert(key.to_owned(), entry);
        }
    }

    fn settle(&mut self, feed: &Feed, change: Change) -> Change {
        if *feed == Feed::Own {
            self.follow_networks();
        }
        change
    }

    /// Tables of topologies come and go with this node's Forwarders.
    fn follow_networks(&mut self) {
        let wanted = self.networks();
        self.tables.retain(|feed, _| match feed {
            Feed::Network(network) => wanted.contains(network),
            _ => true,
        });
        for network in wanted {
            self.tables.entry(Feed::Network(network)).or_default();
        }
    }

    /// The topologies that have a Forwarder here.
    pub(super) fn networks(&self) -> BTreeSet<Network> {
        let own = self.table(&Feed::Own).into_iter();
        let items = own.flat_map(|table| table.entries.values());
        items
            .filter_map(|entry| match &entry.item {
                Some(Item::Own(network)) => Some(network.clone()),
                _ => None,
            })
            .collect()
    }

    fn is_own(&self, key: &str) -> bool {
        self.table(&Feed::Own)
            .is_some_and(|table| table.entries.contains_key(key))
    }

    /// A Forwarder of this node.
    pub(super) fn own(&self, key: &str) -> Option<&Declared> {
        let Some(Item::Own(network)) = &self.table(&Feed::Own)?.entries.get(key)?.item else {
            return None;
        };
        let table = self.table(&Feed::Network(network.clone()))?;
        match &table.entries.get(key)?.item {
            Some(Item::Forwarder(declared)) => Some(declared),
            _ => None,
        }
    }

    /// Takes the API server's answer to a report.
    pub(super) fn answered(&mut self, key: &str, status: ForwarderStatus, version: u64) -> Change {
        let Some(mut declared) = self.own(key).cloned() else {
            return Change::default();
        };
        let network = Network {
            namespace: declared.forwarder.metadata.namespace.clone(),
            topology: declared.forwarder.spec.topology.clone(),
        };
        declared.version = version.max(declared.version);
        declared.status = Some(Arc::new(status));
        let read = Read::Item(Item::Forwarder(declared));
        self.put(&Feed::Network(network), key, read)
    }

    fn forwarders(&self) -> impl Iterator<Item = (&String, &Declared)> {
        let tables = self.tables.values().filter(|table| table.is_whole);
        tables
            .flat_map(|table| &table.entries)
            .filter_map(|(key, entry)| match &entry.item {
                Some(Item::Forwarder(declared)) => Some((key, declared)),
                _ => None,
            })
    }

    /// The pods of this node.
    pub(super) fn pods(&self) -> impl Iterator<Item = &Arc<PodHere>> {
        let table = self.table(&Feed::Pods).into_iter();
        table
            .flat_map(|table| table.entries.values())
            .filter_map(|entry| match &entry.item {
                Some(Item::Pod(pod)) => Some(pod),
                _ => None,
            })
    }

    /// The desired state.
    pub(super) fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot {
            is_complete: self.is_complete(),
            problems: self.problems(),
            ..Snapshot::default()
        };
        let forwarders = self
            .forwarders()
            .map(|(key, declared)| (key.clone(), Arc::clone(&declared.forwarder)));
        snapshot.forwarders = forwarders.collect();
        let tables = [Feed::Topologies, Feed::Nodes];
        let entries = tables.iter().filter_map(|feed| self.table(feed));
        for entry in entries.flat_map(|table| table.entries.values()) {
            match &entry.item {
                Some(Item::Topology(topology)) => {
                    let metadata = &topology.metadata;
                    let key = (metadata.namespace.clone(), metadata.name.clone());
                    snapshot.topologies.insert(key, Arc::clone(topology));
                }
                Some(Item::Node(node)) => {
                    let name = node.metadata.name.clone();
                    snapshot.nodes.insert(name, Arc::clone(node));
                }
                _ => {}
            }
        }
        snapshot
    }

    /// Whether nothing can be missing that is this node's.
    fn is_complete(&self) -> bool {
        let always = [Feed::Own, Feed::Topologies, Feed::Nodes, Feed::Pods];
        let is_whole = |feed: &Feed| self.table(feed).is_some_and(|table| table.is_whole);
        let is_lost = |(key, entry): (&String, &Entry)| entry.item.is_none() && self.is_own(key);
        always.iter().all(is_whole)
            && self.tables.iter().all(|(feed, table)| match feed {
                Feed::Own | Feed::Network(_) => {
                    table.is_whole && !table.entries.iter().any(is_lost)
                }
                _ => true,
            })
    }

    fn problems(&self) -> Vec<String> {
        let tables = self.tables.iter();
        let all = tables.flat_map(|(feed, table)| {
            let entries = table.entries.iter();
            entries.filter_map(move |(key, entry)| {
                let problem = entry.problem.as_ref()?;
                Some(format!("{} {key}: {problem}", feed.kind()))
            })
        });
        all.collect()
    }
}

impl Feed {
    /// What it is of, for people.
    pub(super) fn kind(&self) -> &'static str {
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
            Feed::Network(Network {
                namespace,
                topology,
            }) => write!(f, "watch of forwarders of {namespace}/{topology}"),
        }
    }
}

impl Change {
    fn add(&mut self, key: &str, before: Option<&Item>, after: Option<&Item>) {
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

/// `item`, with what is equal to `before` being the same value: the engine tells by that what is new.
fn shared(item: Item, before: Option<&Item>) -> Item {
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
