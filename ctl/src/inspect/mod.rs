//! `beemesh inspect`: what one node is, told by the node itself, as JSON.
//!
//! ```text
//! kernel (namespaces) --.
//! journal (leases) ------+-> report (values) -> stdout, read by the verbs for clusters
//! desired state (files) -'        \-> gc, with two proofs for each thing that goes
//! ```
//! Runs in the daemon's pod or on the host, beside the daemon and without asking it. Knows: the kernel, the
//! daemon's files. Refuses to know: Kubernetes' API. Nothing but `gc` changes anything.

pub(crate) mod census;
pub(crate) mod desired;
pub(crate) mod gc;
pub(crate) mod kernel;
pub(crate) mod leases;
pub(crate) mod packets;
pub(crate) mod paths;
pub(crate) mod report;

use crate::{failure::Failure, output::print_json};
use paths::Paths;

/// How the names of Forwarders' namespaces begin.
const NAMESPACES: &str = "bm-";

/// Arguments of `beemesh inspect`.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

/// What to look at.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Links, addresses, next hops and routes of each Forwarder's namespace
    Kernel {
        /// Only this namespace; may be repeated
        #[arg(long, value_name = "NAME")]
        netns: Vec<String>,
        #[command(flatten)]
        paths: Paths,
    },
    /// Which pod has which address, from the journal
    Leases {
        #[command(flatten)]
        paths: Paths,
    },
    /// Everything that is ours, and what of it nobody needs
    Census {
        #[command(flatten)]
        paths: Paths,
    },
    /// Remove what nobody needs
    Gc {
        /// Change nothing
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        paths: Paths,
    },
    /// Ping from the namespace of a pod or Forwarder
    Ping(packets::PingArgs),
    /// Trace from the namespace of a pod or Forwarder
    Trace(packets::TraceArgs),
    /// Send back what arrives in the namespace of a pod or Forwarder, until stdin ends
    Echo(packets::EchoArgs),
}

/// Prints what was seen.
///
/// # Errors
/// What the kernel refuses; a journal that cannot be read.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    match &args.verb {
        Verb::Kernel { netns, paths } => print_json(&kernel::kernel(paths, netns)?),
        Verb::Leases { paths } => print_json(&leases::leases(paths)?),
        Verb::Census { paths } => print_json(&census::census(paths)?),
        Verb::Gc { dry_run, paths } => print_json(&gc::gc(paths, *dry_run)?),
        Verb::Ping(args) => packets::ping(args),
        Verb::Trace(args) => packets::trace(args),
        Verb::Echo(args) => packets::echo(args),
    }
}
