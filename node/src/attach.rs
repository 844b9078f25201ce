//! Attachment of pods: plugin socket, admission, IPAM, lease store and pod links.
//!
//! ```text
//! plugin -> server -> service -> admission -> ipam -> leases -> lease_store -> store::journal (fsync) -> answer
//!                        |-> pod_links (what the plugin has made)      replay (deletions queued by the plugin)
//! ```

pub mod admission;
pub mod ipam;
pub mod key;
pub mod lease_store;
pub mod leases;
pub mod pod_links;
pub mod replay;
pub mod server;
pub mod service;
