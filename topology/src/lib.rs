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

pub mod model;
