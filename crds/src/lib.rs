//! The custom resources of `beemesh.io`: what users write and what is derived from it.
//!
//! Knows: the types and their YAML, what makes a declaration wrong, and how a declaration
//! becomes Forwarder objects. Refuses to know: files, kernels, clocks, the API server, and
//! shortest paths (those are `topology`'s).
//!
//! ```text
//! YAML -> read -> MicroServiceTopology -> lint -> expand(nodes, previous) -> [Forwarder]
//!                         |                                                     |
//!                         +-> to_topology  ---- the same epoch ----  topology_of +
//! ```
#![forbid(unsafe_code)]

pub mod allocation;
pub mod cidr;
pub mod duration;
pub mod error;
pub mod expand;
pub mod forwarder;
pub mod lint;
pub mod metadata;
pub mod names;
pub mod node;
mod number;
pub mod read;
pub mod report;
pub mod selector;
pub mod status;
mod suggest;
pub mod topology;

pub use crate::{
    allocation::{AllocationObject, AllocationSpec, VniRangeObject, VniRangeSpec},
    error::Problem,
    expand::{Instances, Node, expand, to_topology, to_topology_on, topology_of},
    forwarder::{Forwarder, ForwarderObject, ForwarderSpec, ForwarderStatus},
    lint::lint,
    metadata::Metadata,
    node::NodeObject,
    read::{load, read, read_limited},
    selector::LabelSelector,
    status::{Condition, TopologyStatus},
    topology::{MicroServiceTopology, MicroServiceTopologySpec, TopologyObject},
};

/// API group and version of every object here.
pub const API_VERSION: &str = "beemesh.io/v1alpha1";
