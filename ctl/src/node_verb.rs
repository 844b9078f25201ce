//! `beemesh node`: the engine of one node as a process. The lab starts one in each "host".

use crate::failure::Failure;
use std::path::PathBuf;

/// Arguments of `beemesh node`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of this node, as Forwarders name it
    #[arg(long, env = "NODE_NAME")]
    name: String,
    /// Directory of Forwarder objects, nodes, link states and status
    #[arg(long)]
    directory: PathBuf,
    /// Unix socket that the CNI plugin talks to
    #[arg(long, default_value = "/run/beemesh/cni.sock")]
    socket: PathBuf,
    /// Directory of the journal and of remembered deletions
    #[arg(long, default_value = "/var/lib/beemesh/cni")]
    state_dir: PathBuf,
    /// UDP port of VXLAN links
    #[arg(long, default_value_t = 4789)]
    vxlan_port: u16,
}

/// Runs the engine until SIGTERM and leaves the kernel as it is.
///
/// # Errors
/// [`Failure::Failed`] when the engine cannot start or cannot go on.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let config = node::Config {
        socket: args.socket,
        state_dir: args.state_dir,
        vxlan_port: args.vxlan_port,
        ..node::Config::new(args.name, args.directory)
    };
    node::run(config).map_err(|error| Failure::failed(&error))
}
