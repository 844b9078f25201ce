//! The global topology: Forwarders, links and Apps in canonical order.

use alloc::{string::String, vec::Vec};

/// Position of a Forwarder in [`Topology::forwarders`] (byte order of names).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ForwarderIndex(pub u32);

/// Position of a link in [`Topology::links`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkIndex(pub u32);

/// Position of an App in [`Topology::apps`] (byte order of names).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppIndex(pub u32);

/// A link as it is written: two names and a weight for each direction (>= 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkSpec {
    /// One end.
    pub a: String,
    /// The other end.
    pub b: String,
    /// Weight from `a` to `b`.
    pub weight: u32,
    /// Weight from `b` to `a`.
    pub weight_back: u32,
}

/// An App and the Forwarders that it is attached to, each with a weight (>= 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppSpec {
    /// The App's name; Forwarders and Apps share one name space.
    pub name: String,
    /// Forwarder and weight of each attachment.
    pub attachments: Vec<(String, u32)>,
}

/// A link in canonical order: `a < b` in byte order of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The end whose name comes first.
    pub a: ForwarderIndex,
    /// The end whose name comes second.
    pub b: ForwarderIndex,
    /// 1 for the first link between these two, 2 for the second as written, ...
    pub ordinal: u32,
    /// Weight from `a` to `b`.
    pub weight: u32,
    /// Weight from `b` to `a`.
    pub weight_back: u32,
}
