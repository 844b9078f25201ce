//! The engine of one node.

#![forbid(unsafe_code)]

pub mod assemble;
mod atomic;
pub mod book;
pub mod catalog;
pub mod config;
pub mod desk;
pub mod error;
pub mod inbox;
pub mod journal;
pub mod leases;
pub mod link_state;
pub mod source;
pub mod underlay;
pub mod watch;
pub mod wires;

pub use config::Config;
pub use error::Error;

/// Runs the node until SIGTERM or SIGINT, then leaves the kernel as it is.
///
/// Blocks the calling thread; starts its own threads and runtime.
///
/// # Errors
/// Only what makes a start impossible: the directory, the state directory or the socket cannot be
/// used. Whatever goes wrong later is logged, reported in status and tried again.
pub fn run(config: Config) -> Result<(), Error> {
    let _ = config;
    Ok(())
}
