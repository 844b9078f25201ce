//! The operator: topologies as Kubernetes objects become Forwarder objects, addresses and conditions.
//!
//! Knows: declared and existing objects, and the writes that make them agree. Refuses to know:
//! kernels, flapping links (nodes route around those alone), leaders.
//!
//! ```text
//! API server -> observe (caches) -> Observed -> plan (pure) -> Plan -> apply -> API server
//!                   |                           |
//!                   +--- rest, metrics <--- Computed (graph, tables, epoch)
//! ```
//!
//! Any number of replicas work at once. Grants that must be unique are persisted under a
//! resourceVersion before their use; everything else is a function of the objects at the API
//! server.
#![forbid(unsafe_code)]

pub mod apply;
pub mod check;
pub mod config;
pub mod controllers;
pub mod mesh_key;
pub mod observe;
mod parse;
pub mod plan;
pub mod rest;
pub mod run;
pub mod status;
pub mod telemetry;
