//! Snapshot of the store's tables.

use std::sync::Arc;

use super::{Declared, Entry, Feed, Item, Store};
use crate::objects::Snapshot;
use crate::objects::own_pod::{OwnPod, UninstallRequest};
use crate::objects::pods::NodePod;

impl Store {
    /// Desired state.
    pub(in crate::objects::kubernetes) fn snapshot(&self) -> Snapshot {
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

    /// True when no object for this node can be missing.
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

    /// True when this node may be managed: its pods were listed once, and the daemon's own pod does
    /// not request uninstallation.
    pub(in crate::objects::kubernetes) fn may_begin(&self, own: Option<&OwnPod>) -> bool {
        let Some(own) = own else { return true };
        let are_listed = self.table(&Feed::Pods).is_some_and(|table| table.is_whole);
        are_listed && own.word(self.pods()) != UninstallRequest::Leave
    }

    /// Pods of this node.
    pub(in crate::objects::kubernetes) fn pods(&self) -> impl Iterator<Item = &Arc<NodePod>> {
        let table = self.table(&Feed::Pods).into_iter();
        table
            .flat_map(|table| table.entries.values())
            .filter_map(|entry| match &entry.item {
                Some(Item::Pod(pod)) => Some(pod),
                _ => None,
            })
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
}
