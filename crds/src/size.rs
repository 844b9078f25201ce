//! Sizes of objects, estimated from a declaration before anything is created.
//!
//! ```text
//! declaration ------------------> declared(): one object in etcd
//!      |
//!      +-- names, links -------> forwarders(): largest object in etcd, all objects in memory
//! ```
//! A declaration is small and what follows from it is large: each Forwarder lists all Apps that may be on it, each link is in
//! the objects of both its ends. Estimates are upper bounds; tests compare them with real objects.

mod budget;
mod memory;
mod objects;
mod parts;

use std::io;

use serde::Serialize;

pub(crate) use self::memory::memory_of_all;
use self::parts::Parts;
pub use self::{
    budget::{Claim, taken},
    memory::memory,
    objects::stored,
};
use crate::{MicroServiceTopology, MicroServiceTopologySpec, Problem, wiring::Wire};

/// Most bytes of one object as JSON. etcd refuses requests above 1.5 MiB (`--max-request-bytes`); a tenth is left for
/// pods' addresses, reasons and what others add.
pub const MAX_OBJECT_BYTES: usize = 1_572_864 / 10 * 9;
/// Most bytes of memory that all Forwarders of a topology may take where each is held on its own, as in the API server's
/// watch cache. The operator and the daemons share what they repeat ([`crate::forwarder::SharedValues`]).
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
