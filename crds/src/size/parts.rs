//! Parts of Forwarder objects and their sizes.

use std::collections::BTreeMap;

use super::{DIRECTION, NODE_NAME, OBJECT, Size, json};
use crate::{MicroServiceTopologySpec, forwarder::MAX_DETAILED, topology::AppEntry, wiring::Wire};

/// Parts of Forwarder objects.
pub(super) struct Parts<'a> {
    spec: &'a MicroServiceTopologySpec,
    /// Addressing, routing and all external prefixes.
    common: Size,
    namespaces: Size,
    /// Apps that may be on any Forwarder.
    auto: Size,
    pinned: BTreeMap<&'a str, Size>,
    /// Number of links, and their size without details of directions.
    links: BTreeMap<&'a str, (usize, Size)>,
}

impl<'a> Parts<'a> {
    pub(super) fn new(
        spec: &'a MicroServiceTopologySpec,
        names: &[&'a str],
        wires: &[Wire<'a>],
    ) -> Parts<'a> {
        let mut parts = Parts {
            spec,
            common: common(spec),
            namespaces: spec.allowed_namespaces.iter().map(|it| text(it)).sum(),
            auto: Size::default(),
            pinned: BTreeMap::new(),
            links: BTreeMap::new(),
        };
        for entry in &spec.apps {
            let part = match entry.pinned() {
                None => &mut parts.auto,
                Some(forwarder) => parts.pinned.entry(forwarder).or_default(),
            };
            *part = *part + app(entry);
        }
        let nodes = nodes(spec, names);
        let node = |name: &str| nodes.get(name).copied().unwrap_or(NODE_NAME);
        for wire in wires {
            for (one, peer) in [(wire.a, wire.b), (wire.b, wire.a)] {
                let (count, size) = parts.links.entry(one).or_default();
                *count += 1;
                *size = *size + end(one, peer, node(peer));
            }
        }
        parts
    }

    pub(super) fn of(&self, forwarder: &str) -> Size {
        OBJECT + self.common + self.namespaces + self.apps(forwarder) + self.links(forwarder)
    }

    fn apps(&self, forwarder: &str) -> Size {
        self.auto + self.pinned.get(forwarder).copied().unwrap_or_default()
    }

    fn links(&self, forwarder: &str) -> Size {
        let (count, size) = self.links.get(forwarder).copied().unwrap_or_default();
        size + details(count)
    }

    /// The field that most of a Forwarder comes from, and its bytes.
    pub(super) fn heaviest(
        &self,
        forwarder: &str,
        bytes: impl Fn(Size) -> usize,
    ) -> (&'static str, usize) {
        let links = match self.spec.links.is_empty() {
            true => "spec.shape",
            false => "spec.links",
        };
        let forwarders = match self.spec.forwarder_per_node {
            Some(_) => "spec.forwarderPerNode",
            None => "spec.forwarders",
        };
        let parts = [
            (forwarders, OBJECT),
            ("spec.apps", self.apps(forwarder) + self.common),
            (links, self.links(forwarder)),
            ("spec.allowedNamespaces", self.namespaces),
        ];
        let parts = parts.map(|(field, size)| (field, bytes(size)));
        parts
            .into_iter()
            .max_by_key(|part| part.1)
            .unwrap_or_default()
    }
}

/// Lengths of the names of nodes that are given.
fn nodes<'a>(spec: &'a MicroServiceTopologySpec, names: &[&'a str]) -> BTreeMap<&'a str, usize> {
    match spec.forwarder_per_node {
        Some(_) => names.iter().map(|name| (*name, name.len())).collect(),
        None => {
            let entries = spec.forwarders.iter();
            let given = entries.filter_map(|it| Some((&*it.name, it.node.as_ref()?.len())));
            given.collect()
        }
    }
}

fn common(spec: &MicroServiceTopologySpec) -> Size {
    let external = spec.apps.iter().filter_map(|app| app.external.as_ref());
    let external: usize = external.map(|external| external.cidrs.len()).sum();
    let stored = json(&spec.addressing) + json(&spec.routing) + json(&spec.liveness);
    // A prefix is at most 43 characters long, and 18 bytes in memory.
    Size {
        stored: stored + external * 46,
        held: 500 + external * 20,
    }
}

fn text(text: &str) -> Size {
    Size {
        stored: text.len() + 3,
        held: text.len() + 40,
    }
}

/// An App in a Forwarder object.
fn app(app: &AppEntry) -> Size {
    let external = app.external.as_ref().map_or(0, |it| it.cidrs.len());
    let stored = 90 + app.name.len() + json(&app.pod_selector) + external * 46;
    Size {
        stored,
        // A map of labels takes a node of eleven entries.
        held: 700 + stored,
    }
}

/// One end of a link: in spec, in `status.linkStates` with its reason when it is down, and as a key of `managedFields`.
pub(super) fn end(forwarder: &str, peer: &str, peer_node: usize) -> Size {
    let id = forwarder.len() + peer.len() + 12;
    // The same for both ends.
    let names = forwarder.len().max(peer.len()) + peer_node;
    Size {
        stored: 3 * id + names + 330,
        held: 2 * id + names + 300,
    }
}

/// Details of the directions of so many links.
pub(super) fn details(links: usize) -> Size {
    let detailed = links.min(MAX_DETAILED);
    Size {
        stored: detailed * 2 * DIRECTION,
        held: detailed * 2 * DIRECTION,
    }
}
