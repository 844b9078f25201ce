//! Diagnosis of this node: `beemesh-node inspect`, JSON on stdout.
//!
//! ```text
//! kernel (namespaces) --.
//! journal (leases) ------+-> report (values) -> stdout, read by `beemesh` (crds::diagnosis)
//! desired state (files) -'        \-> gc, with two proofs for each removed object
//! ```
//! A separate process in the daemon's pod or on the host, independent of the daemon. Knows: the
//! kernel, the daemon's files. Refuses to know: Kubernetes' API. Only `gc` changes anything.

mod census;
mod desired;
mod error;
mod gc;
mod kernel;
mod leases;
mod packets;
mod paths;

pub use error::Error;

use paths::Paths;
use std::io::{self, Write};

/// Prefix of the names of Forwarders' network namespaces.
const NAMESPACES: &str = "bm-";

/// Arguments of `beemesh-node inspect`.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

/// Subcommands: one for each source or probe.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Links, addresses, next hops and routes of each Forwarder's namespace
    Kernel {
        /// Network namespace to list; may be repeated
        #[arg(long, value_name = "NAME")]
        netns: Vec<String>,
        #[command(flatten)]
        paths: Paths,
    },
    /// Leased addresses of pods, from the lease journal
    Leases {
        #[command(flatten)]
        paths: Paths,
    },
    /// All objects of beemesh on this node, and those that are orphaned
    Census {
        #[command(flatten)]
        paths: Paths,
    },
    /// Remove orphaned objects
    Gc {
        /// Print the plan without changing anything
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        paths: Paths,
    },
    /// Ping from the namespace of a pod or Forwarder
    Ping(packets::PingArgs),
    /// Trace from the namespace of a pod or Forwarder
    Trace(packets::TraceArgs),
    /// Echo packets that arrive in the namespace of a pod or Forwarder, until stdin ends
    Echo(packets::EchoArgs),
}

impl Arguments {
    /// Prints the diagnosis as JSON.
    ///
    /// # Errors
    /// Failed kernel dump, unreadable journal, or failed write to stdout.
    pub fn run(&self) -> Result<(), Error> {
        match &self.verb {
            Verb::Kernel { netns, paths } => print_json(&kernel::kernel(paths, netns)?),
            Verb::Leases { paths } => print_json(&leases::leases(paths)?),
            Verb::Census { paths } => print_json(&census::census(paths)?),
            Verb::Gc { dry_run, paths } => print_json(&gc::gc(paths, *dry_run)?),
            Verb::Ping(args) => packets::ping(args),
            Verb::Trace(args) => packets::trace(args),
            Verb::Echo(args) => packets::echo(args),
        }
    }
}

fn print_json<T: serde::Serialize>(value: &T) -> Result<(), Error> {
    let text = serde_json::to_vec_pretty(value).map_err(|error| Error::Write(error.into()))?;
    print_line(&text)
}

/// Prints `text` and a newline, and flushes: a reader may wait for the line.
fn print_line(text: &[u8]) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text).and_then(|()| out.write_all(b"\n"));
    written.and_then(|()| out.flush()).map_err(Error::Write)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_and_the_kernel_call_attachments_alike() {
        assert_eq!(crds::names::ATTACHMENT_PREFIX, dataplane::ATTACHMENT_PREFIX);
    }
}
