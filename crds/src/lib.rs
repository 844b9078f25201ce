//! Custom resources of `beemesh.io`: declarations of users, and derived objects.
//!
//! Knows: the types and their YAML, what makes a declaration wrong, and how a declaration
//! becomes Forwarder objects. Refuses to know: files, kernels, clocks, the API server, and
//! shortest paths (those are `topology`'s).
//!
//! ```text
//! YAML, API server -> read -> MicroServiceTopology -> lint -> expand(nodes, previous) -> [Forwarder]
//!                                     |                                                     |
//!                                     +-> to_topology  ---- the same epoch ----  topology_of +
//! ```
//!
//! # In a cluster
//! Grants must be persisted first, and pods come and go, so [`expand()`] is split into steps:
//! ```
//! # let declared = "{apiVersion: beemesh.io/v1alpha1, kind: MicroServiceTopology, metadata: {name: t}, \
//! #   spec: {forwarders: [{name: x, node: n1}, {name: y, node: n2}], shape: Line, apps: [{name: app}]}}";
//! # let topology = &crds::load("t.yaml", declared.as_bytes()).unwrap()[0];
//! # let nodes = ["n1", "n2"].map(crds::Node::from);
//! # let (pods, before) = ([crds::attach::Pod::default()], crds::expand::Settled::new());
//! use crds::{Grants, Layout, attach};
//!
//! let layout = Layout::new(topology, &nodes, &before)?; // which Forwarders, where, which links
//! assert_eq!(layout.names(), ["x", "y"]); // objects to create, bare
//! assert_eq!(layout.tunnels(), ["x/y"]); // links that need a VNI
//! let attachments = attach::assign(topology, layout.places(), &pods);
//! let grants = Grants::default(); // in a cluster: the persisted ones
//! let forwarders = layout.forwarders(&grants, &attachments); // objects to fill
//! let graph = crds::topology_of(&forwarders).unwrap();
//! let declared = crds::to_topology_with(topology, &nodes, &attachments)?;
//! assert_eq!(graph.epoch(), declared.epoch());
//! # Ok::<(), Vec<crds::Problem>>(())
//! ```
#![forbid(unsafe_code)]

pub mod allocation;
pub mod attach;
pub mod cidr;
pub mod diagnosis;
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
pub mod schema;
pub mod selector;
pub mod size;
pub mod status;
pub mod suggest;
pub mod text;
pub mod topology;
pub mod uninstall;
mod wiring;

pub use crate::{
    allocation::{AllocationObject, AllocationSpec, VniRangeObject, VniRangeSpec},
    attach::{Attachments, Instances, Place},
    error::Problem,
    expand::{
        Expansion, Grants, Layout, LeftOut, Node, Settled, expand, expand_with, to_topology,
        to_topology_on, to_topology_with, topology_of,
    },
    forwarder::{Forwarder, ForwarderObject, ForwarderSpec, ForwarderStatus, TopologyKey},
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
