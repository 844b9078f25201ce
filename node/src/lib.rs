//! The engine of one node: from Forwarder objects to links, tables and kernel; serves the plugin.
//!
//! Knows: which Forwarders are this node's, which links are usable, what follows from both for the
//! kernel, and which pod has which address. Refuses to know: how topologies become Forwarders (the
//! operator's and `crds`'), how paths are computed (`topology`'s), netlink (`dataplane`'s).
//! Kubernetes' API is known to `source::kubernetes` alone. Nothing here waits for another node.
//!
//! ```text
//! inotify  (1x thread) -- files ------.                     .-> rayon (Nx) -- SPF, tables --.
//! monitor  (1x thread) -- links ------|                     |                               |
//! kubernetes (1x thread) - objects ---|                     |                               |
//! underlay (1x task)   -- addresses --+-> Inbox (1 slot -> engine (1x thread) <-------------'
//! desk     ------------ leases -------'    a thing)         |       |-> kernel: namespaces, links, routes
//!                                                           |       |-> link states, status (files)
//! plugin =(<=256x tasks)=> server -> desk <-- catalog ------'
//!                                    | (<=16x blocking threads; one step a key at a time)
//!                                    '-> journal -> journal-sync (1x thread, queue of 1)
//! live (1x task) -- pods, leases, catalog -> steps -> plugin (1x process) => server; desk
//! housekeeping (1x task, every 5 s) -> desk      DEL queue (at start, and by inotify) -> desk
//! ```
//! A crash at any point is made good by the next start: it reads the journal, looks at the kernel,
//! and changes only what differs.

#![forbid(unsafe_code)]

mod arguments;
pub mod assemble;
pub mod book;
pub mod catalog;
pub mod cluster;
pub mod config;
pub mod desired;
pub mod desk;
pub mod diagnose;
pub mod engine;
pub mod error;
pub mod failover;
pub mod flood;
pub mod inbox;
pub mod install;
pub mod journal;
pub mod leases;
pub mod link_state;
pub mod live;
pub mod mesh;
pub mod owned;
pub mod pods;
pub mod replay;
pub mod rights;
mod run;
pub mod server;
pub mod source;
pub mod telemetry;
pub mod underlay;
pub mod uninstall;
pub mod watch;
pub mod wires;

pub use arguments::Arguments;
pub use config::{Config, DEFAULT_RESYNC, InstallCni, Origin};
pub use error::Error;
pub use run::{Shared, run};
