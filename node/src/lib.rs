//! The engine of one node: from Forwarder objects to links, tables and kernel; serves the plugin.
//!
//! Knows: which Forwarders are this node's, which links are usable, what follows from both for the
//! kernel, and which pod has which address. Refuses to know: how topologies become Forwarders (the
//! operator's and `crds`'), how paths are computed (`topology`'s), netlink (`dataplane`'s).
//! Kubernetes' API is known to `objects::kubernetes` and to `install`. Nothing here waits for another node.
//!
//! ```text
//! host::file_watch (1x thread) -- files ---.                       .-> rayon (Nx) -- SPF, tables --.
//! run::monitor     (1x thread) -- links ---|                       |                               |
//! objects::kubernetes (1x thread) - objects|                       |                               |
//! host::underlay   (1x task)  - addresses -+-> mailbox (1 slot ->  routing (1x thread) <-----------'
//! attach::service  ------------- leases ---'    a thing)           |       |-> kernel: namespaces, links, routes
//!                                                                  |       |-> link states, status
//! plugin =(<=256x tasks)=> attach::server -> attach::service <- admission catalog
//!                                             | (<=16x blocking threads; one step a key at a time)
//!                                             '-> store::journal -> journal-sync (1x thread, queue of 1)
//! hotplug (1x task) -- pods, leases, catalog -> steps -> plugin (1x process) => attach::server; service
//! garbage collection (1x task, every 5 s) -> service     DEL queue (at start, and by inotify) -> service
//! ```
//! A crash at any point is repaired by the next start: it replays the journal, observes the kernel,
//! and applies the difference.

#![forbid(unsafe_code)]

pub mod attach;
pub mod config;
pub mod diagnose;
pub mod error;
pub mod flooding;
pub mod host;
pub mod hotplug;
pub mod install;
pub mod mailbox;
pub mod objects;
pub mod routing;
mod run;
pub mod telemetry;

pub use config::{Arguments, Config, DEFAULT_RESYNC, InstallCni, Origin};
pub use error::Error;
pub use run::run;
