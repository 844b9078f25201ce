//! CNI words (spec 0.3.1 to 1.1.0) and the messages between the plugin and the node.
//!
//! The crate knows the CNI protocol, its errors and the node's protocol. It refuses to know the
//! kernel, Kubernetes and where addresses come from: those are the dataplane's and the node's.
//!
//! ```text
//! runtime --env+stdin--> request --> plugin --node_protocol::Request--> node
//! runtime <--stdout----- result  <-- plugin <--node_protocol::Reply---- node
//!                                      |
//!                                      +-- queue (DEL records, when the node is away)
//!                                      +-- known (pods that are not ours, while the node does not answer)
//! ```

pub mod config;
pub mod error;
pub mod known;
pub mod node_protocol;
pub mod queue;
pub mod request;
pub mod result;
pub mod version;
