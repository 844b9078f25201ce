//! The operator: topologies as Kubernetes objects become Forwarder objects, addresses and conditions.
//!
//! Knows: what is declared, what exists, and what the API server must be told for both to agree.
//! Refuses to know: kernels, links that flap (nodes route around those alone), leaders.
//!
//! ```text
//! API server -> observe (caches) -> Observed -> plan (pure) -> Plan -> apply -> API server
//!                   |                           |
//!                   +--- rest, metrics <--- Computed (graph, tables, epoch)
//! ```
//!
//! Any number of replicas do the same at once. What must not be given twice is persisted under a
//! resourceVersion before it is used; everything else is a function of what the API server holds.
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
