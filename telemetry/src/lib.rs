//! What every daemon of beemesh tells in the same way.
//!
//! ```text
//! named checks --> Probes --.
//! counts --> text -----------+--> router: /livez /readyz /healthz /metrics
//! /proc/self --> Process ---'
//! ```
//! Knows: the process that it is in, the forms of Kubernetes' probes and of Prometheus' text. Refuses to know: what
//! is counted and checked, and who listens.
#![forbid(unsafe_code)]

mod described;
mod probes;
mod process;
mod text;
mod web;

pub use described::{described, ill_formed, listed};
pub use probes::{Check, Probes};
pub use process::Process;
pub use text::text;
pub use web::router;
