//! The TopologyProcessor: what a declared graph means, and nothing about how it is made real.
//!
//! Knows: graphs of Forwarders and Apps, shapes, shortest paths with ECMP, address blocks,
//! and the difference between two topologies. Refuses to know: files, kernels, clocks,
//! threads, Kubernetes.
//!
//! ```text
//! shape + links -> Topology -> Graph -> Spf(root) -> Table(root)      Table - Table = plan
//!                  (global)    (flat)    (MWT, SPT-ECMP)  (next hops)
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod address;
pub mod epoch;
pub mod error;
pub mod generate;
pub mod graph;
pub mod interop;
pub mod model;
pub mod plan;
pub mod shape;
pub mod spf;
pub mod stage;
pub mod table;

pub use address::{Prefix, assign};
pub use epoch::Epoch;
pub use error::{AddressError, TopologyError};
pub use graph::{AppliedChange, Change, Graph};
pub use model::{
    App, AppIndex, AppSpec, Fault, ForwarderIndex, Link, LinkIndex, LinkSpec, Topology,
};
pub use plan::{Plan, plan};
pub use shape::Shape;
pub use spf::Spf;
pub use table::{AppRoute, Route, Table};
