//! Store of cached objects, one table for each watch. Pure.
//!
//! Forwarders are taken only from the watch of their topology, so that the view of a topology is
//! one consistent state of the API server. The watch of this node's own Forwarders determines the
//! set of topologies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crds::ForwarderStatus;

use crds::TopologyKey;

mod change;
mod feed;
mod item;
mod snapshot;
#[cfg(test)]
mod tests;

pub(super) use change::Change;
pub(super) use feed::Feed;
use item::shared;
pub(super) use item::{Declared, Entry, Item, Listing, Read, Table, Update};

/// All tables.
#[derive(Debug, Default)]
pub(super) struct Store {
    tables: BTreeMap<Feed, Table>,
    stamps: u64,
}

impl Store {
    /// Store that starts with the cached tables.
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

    /// Applies an update.
    pub(super) fn take(&mut self, feed: &Feed, update: Update) -> Change {
        match update {
            Update::One(key, read) => self.put(feed, &key, read),
            Update::Whole(listing) => self.complete(feed, listing),
        }
    }

    /// True when an update changes the cache on disk.
    pub(super) fn is_kept(&self, feed: &Feed, update: &Update) -> bool {
        let nothing = Table::default();
        let table = match (self.table(feed), feed) {
            (Some(table), _) => table,
            (None, Feed::Network(_)) => return false,
            (None, _) => &nothing,
        };
        let is_new = |key: &String, read: &Read| {
            let before = table.entries.get(key).and_then(|entry| entry.item.as_ref());
            match read {
                Read::Item(item) => before != Some(item),
                Read::Bad(_) => false,
                Read::Nothing => before.is_some(),
            }
        };
        match update {
            Update::One(key, read) => is_new(key, read),
            Update::Whole(listing) => {
                let gone = table.entries.iter();
                let mut gone = gone.filter(|(key, _)| !listing.contains_key(*key));
                !table.is_whole
                    || listing.iter().any(|(key, read)| is_new(key, read))
                    || gone.any(|(_, entry)| entry.item.is_some())
            }
        }
    }

    /// Stores an added or changed object. An older version than the stored one is ignored.
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

    /// Replaces a table with a complete list.
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

    /// Table of a feed; `None` for a topology without a Forwarder on this node.
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

    /// Creates and drops tables of topologies, following this node's Forwarders.
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

    /// Topologies with a Forwarder on this node.
    pub(super) fn networks(&self) -> BTreeSet<TopologyKey> {
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

    /// Forwarder of this node.
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

    /// Update of the store by the API server's answer to a report.
    pub(super) fn answered(
        &self,
        key: &str,
        status: ForwarderStatus,
        version: u64,
    ) -> Option<(Feed, Update)> {
        let mut declared = self.own(key).cloned()?;
        let network = TopologyKey {
            namespace: declared.forwarder.metadata.namespace.clone(),
            topology: declared.forwarder.spec.topology.clone(),
        };
        declared.version = version.max(declared.version);
        declared.status = Some(Arc::new(status));
        let read = Read::Item(Item::Forwarder(declared));
        Some((Feed::Network(network), Update::One(key.to_owned(), read)))
    }
}
