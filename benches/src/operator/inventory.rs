//! Inventory of our objects, and of those written since.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use e2e::ApiServer;
use serde_json::Value;

/// All objects of ours at one moment.
pub(crate) struct Inventory {
    /// By kind, namespace and name.
    objects: BTreeMap<String, Entry>,
}

struct Entry {
    kind: String,
    /// Namespace and name of the topology that it is of, or is.
    topology: String,
    node: String,
    resource_version: String,
    says_node_gone: bool,
}

impl Inventory {
    pub(crate) fn take(server: &ApiServer) -> Result<Self> {
        let kinds = "microservicetopologies,forwarders,allocations,vniranges";
        let listed = server
            .kubectl(&["get", kinds, "-A", "-o", "json"])?
            .json()?;
        let items = listed["items"].as_array().context("a list has items")?;
        let objects = items.iter().map(|item| {
            let entry = Entry::of(item);
            let name = text(item, "/metadata/name");
            (format!("{} {} {name}", entry.kind, entry.topology), entry)
        });
        Ok(Self {
            objects: objects.collect(),
        })
    }

    pub(crate) fn topologies(&self) -> usize {
        self.count("MicroServiceTopology")
    }

    pub(crate) fn forwarders(&self) -> usize {
        self.count("Forwarder")
    }

    fn count(&self, kind: &str) -> usize {
        self.objects
            .values()
            .filter(|entry| entry.kind == kind)
            .count()
    }

    /// Topologies with a Forwarder on `node`.
    pub(crate) fn topologies_on(&self, node: &str) -> BTreeSet<String> {
        let on_node = self.objects.values().filter(|entry| entry.node == node);
        on_node.map(|entry| entry.topology.clone()).collect()
    }

    pub(crate) fn says_node_gone(&self, topology: &str) -> bool {
        let mut entries = self
            .objects
            .values()
            .filter(|entry| entry.topology == topology);
        entries.any(|entry| entry.says_node_gone)
    }

    /// Numbers of objects that changed until `after`: those of the topologies in `of`, and others.
    pub(crate) fn written(&self, after: &Self, of: &BTreeSet<String>) -> (usize, usize) {
        let versions = |inventory: &Self| -> BTreeSet<(String, String, String)> {
            let entries = inventory.objects.iter();
            let versions = entries.map(|(key, entry)| {
                (
                    key.clone(),
                    entry.topology.clone(),
                    entry.resource_version.clone(),
                )
            });
            versions.collect()
        };
        let (before, after) = (versions(self), versions(after));
        let changed: BTreeSet<(&String, &String)> = before
            .symmetric_difference(&after)
            .map(|(key, topology, _)| (key, topology))
            .collect();
        let own = changed
            .iter()
            .filter(|(_, topology)| of.contains(*topology))
            .count();
        (own, changed.len() - own)
    }
}

impl Entry {
    fn of(item: &Value) -> Self {
        let kind = text(item, "/kind").to_owned();
        let (namespace, name) = match kind.as_str() {
            "VniRange" => (text(item, "/spec/namespace"), text(item, "/spec/topology")),
            "Forwarder" => (
                text(item, "/metadata/namespace"),
                text(item, "/spec/topology"),
            ),
            _ => (
                text(item, "/metadata/namespace"),
                text(item, "/metadata/name"),
            ),
        };
        let conditions = item.pointer("/status/conditions").and_then(Value::as_array);
        let says = conditions.into_iter().flatten().any(|condition| {
            let (kind, status) = (text(condition, "/type"), text(condition, "/status"));
            (kind == "Accepted" && status == "False") || (kind == "Degraded" && status == "True")
        });
        Self {
            topology: format!("{namespace}/{name}"),
            node: text(item, "/spec/node").to_owned(),
            resource_version: text(item, "/metadata/resourceVersion").to_owned(),
            says_node_gone: kind == "MicroServiceTopology" && says,
            kind,
        }
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}
