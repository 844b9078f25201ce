//! Sizes of objects, estimated from a declaration before anything is created.
//!
//! ```text
//! declaration ------------------> declared(): one object in etcd
//!      |
//!      +-- names, links -------> forwarders(): largest object in etcd, all objects in memory
//! ```
//! A declaration is small and what follows from it is large: each Forwarder lists all Apps that may be on it, each link is in
//! the objects of both its ends. Estimates are upper bounds; tests compare them with real objects.

use std::{collections::BTreeMap, io};

use serde::Serialize;

use crate::{
    MicroServiceTopology, MicroServiceTopologySpec, Problem, forwarder::MAX_DETAILED,
    topology::AppEntry, wiring::Wire,
};

/// Most bytes of one object as JSON. etcd refuses requests above 1.5 MiB (`--max-request-bytes`); a tenth is left for
/// pods' addresses, reasons and what others add.
pub const MAX_OBJECT_BYTES: usize = 1_572_864 / 10 * 9;
/// Most bytes of memory that one copy of all Forwarders of a topology may take. The operator holds about four copies while
/// it plans, within the chart's default limit of 512 MiB.
pub const MAX_EXPANDED_BYTES: usize = 96 << 20;

/// Longest name of a node that is not known yet, for estimates: that of an EC2 instance has 45 characters.
const NODE_NAME: usize = 63;
/// Metadata, conditions, counts and digests of a Forwarder object, in JSON.
const OBJECT: Size = Size {
    stored: 2_500,
    held: 2_500,
};

/// One direction of a link in `status.linkStates`, with the longest name, and as keys of `managedFields`.
const DIRECTION: usize = 210;

/// Bytes of an object or of a part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// As JSON in etcd, status and `managedFields` included.
    pub stored: usize,
    /// In memory.
    pub held: usize,
}

impl std::ops::Add for Size {
    type Output = Size;

    fn add(self, other: Size) -> Size {
        Size {
            stored: self.stored.saturating_add(other.stored),
            held: self.held.saturating_add(other.held),
        }
    }
}

impl std::iter::Sum for Size {
    fn sum<I: Iterator<Item = Size>>(sizes: I) -> Size {
        sizes.fold(Size::default(), |sum, size| sum + size)
    }
}

/// The Forwarder objects of one topology.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwarderSizes {
    /// Name of the Forwarder with the largest object, and that object.
    pub largest: (String, Size),
    /// All of them.
    pub total: Size,
}

/// Bytes of the topology object in etcd: the declaration as JSON with defaults, and what `managedFields` repeat of it.
pub fn declared(topology: &MicroServiceTopology) -> usize {
    let spec = &topology.spec;
    let keys = |names: &mut dyn Iterator<Item = usize>, fields: usize| {
        names.map(|name| name + fields).sum::<usize>()
    };
    // `k:{"name":"..."}` with one `f:FIELD` for each field of an entry, `v:"..."` for each of a set.
    let managed = keys(&mut spec.forwarders.iter().map(|it| it.name.len()), 60)
        + keys(&mut spec.apps.iter().map(|it| it.name.len()), 160)
        + keys(&mut spec.allowed_namespaces.iter().map(String::len), 12);
    json(topology) + managed + OBJECT.stored
}

/// The Forwarder objects of `topology` for Forwarders of these names with these links, as `expand` makes them.
pub(crate) fn forwarders(
    spec: &MicroServiceTopologySpec,
    names: &[&str],
    wires: &[Wire<'_>],
) -> ForwarderSizes {
    let parts = Parts::new(spec, names, wires);
    let sizes = names.iter().map(|name| (*name, parts.of(name)));
    let largest = sizes.clone().max_by_key(|(_, size)| size.stored);
    ForwarderSizes {
        largest: largest.map_or_else(Default::default, |(name, size)| (name.to_owned(), size)),
        total: sizes.map(|(_, size)| size).sum(),
    }
}

/// The problem of a declaration whose own object does not fit into etcd. No problem of `lint`: a lab stores no
/// objects in etcd, and the API server refuses such an object before anything follows from it.
pub fn check_declared(topology: &MicroServiceTopology) -> Option<Problem> {
    let bytes = declared(topology);
    let message = format!(
        "the object would take {} kB, expected at most {} kB (etcd's limit of requests)",
        kilo(bytes),
        kilo(MAX_OBJECT_BYTES)
    );
    (bytes > MAX_OBJECT_BYTES).then(|| Problem::new("spec", message))
}

/// The problem of Forwarders that do not fit into etcd, or that the operator cannot hold in memory.
pub(crate) fn check_forwarders(
    spec: &MicroServiceTopologySpec,
    names: &[&str],
    wires: &[Wire<'_>],
) -> Option<Problem> {
    let parts = Parts::new(spec, names, wires);
    let largest = names.iter().max_by_key(|name| parts.of(name).stored)?;
    let stored = parts.of(largest).stored;
    if stored > MAX_OBJECT_BYTES {
        let (field, part) = parts.heaviest(largest, |size| size.stored);
        let message = format!(
            "makes {} kB of forwarder {largest:?}, which would take {} kB: expected at most {} kB (etcd's limit of requests)",
            kilo(part),
            kilo(stored),
            kilo(MAX_OBJECT_BYTES)
        );
        return Some(Problem::new(field, message));
    }
    let total: Size = names.iter().map(|name| parts.of(name)).sum();
    if total.held > MAX_EXPANDED_BYTES {
        let (field, _) = parts.heaviest(largest, |size| size.held);
        let message = format!(
            "{} forwarders with all their links and Apps would take {} MB of memory: expected at most {} MB",
            names.len(),
            total.held.div_ceil(1_000_000),
            MAX_EXPANDED_BYTES / 1_000_000
        );
        return Some(Problem::new(field, message));
    }
    None
}

fn kilo(bytes: usize) -> usize {
    bytes.div_ceil(1_000)
}

/// Parts of Forwarder objects.
struct Parts<'a> {
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
    fn new(spec: &'a MicroServiceTopologySpec, names: &[&'a str], wires: &[Wire<'a>]) -> Parts<'a> {
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
            for (end, peer) in [(wire.a, wire.b), (wire.b, wire.a)] {
                let (count, size) = parts.links.entry(end).or_default();
                *count += 1;
                *size = *size + link(wire, peer, node(peer));
            }
        }
        parts
    }

    fn of(&self, forwarder: &str) -> Size {
        OBJECT + self.common + self.namespaces + self.apps(forwarder) + self.links(forwarder)
    }

    fn apps(&self, forwarder: &str) -> Size {
        self.auto + self.pinned.get(forwarder).copied().unwrap_or_default()
    }

    fn links(&self, forwarder: &str) -> Size {
        let (count, size) = self.links.get(forwarder).copied().unwrap_or_default();
        let detailed = count.min(MAX_DETAILED);
        size + Size {
            stored: detailed * 2 * DIRECTION,
            held: detailed * 2 * DIRECTION,
        }
    }

    /// The field that most of a Forwarder comes from, and its bytes.
    fn heaviest(&self, forwarder: &str, bytes: impl Fn(Size) -> usize) -> (&'static str, usize) {
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
fn link(wire: &Wire<'_>, peer: &str, peer_node: usize) -> Size {
    let id = wire.a.len() + wire.b.len() + 12;
    let names = peer.len() + peer_node;
    Size {
        stored: 3 * id + names + 330,
        held: 2 * id + names + 300,
    }
}

/// Length of `value` as JSON.
fn json(value: &impl Serialize) -> usize {
    let mut counter = Counter(0);
    // Neither the types nor the counter can fail.
    let _ = serde_json::to_writer(&mut counter, value);
    counter.0
}

struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
