//! Diagnosis of a node: the answers of `beemesh-node inspect`, and the kernel state that a table asks for.
//!
//! ```text
//! Forwarders, links that are down --> expected_fib::Expected --.
//! report::Namespace (kernel of a node) ------------------------+--> report::Held
//! ```
//! Written by the node, read by the command: both take the types from here.

pub mod expected_fib;
pub mod report;
