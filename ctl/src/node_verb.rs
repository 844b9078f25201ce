//! `beemesh node`: the engine of one node as a process. The lab starts one in each "host".

use crate::failure::Failure;
use std::path::PathBuf;
use std::time::Duration;
use tracing_subscriber::EnvFilter;

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
    /// File with the boot id: namespaces do not outlive it
    #[arg(long, default_value = "/proc/sys/kernel/random/boot_id")]
    boot_id: PathBuf,
    /// Least seconds between two looks at the whole kernel state
    #[arg(long, default_value_t = node::DEFAULT_RESYNC.as_secs())]
    resync_seconds: u64,
    /// Seconds after which an unconfirmed claim may be collected
    #[arg(long, default_value_t = 30)]
    claim_timeout_seconds: u64,
}

/// Runs the engine until SIGTERM and leaves the kernel as it is. `RUST_LOG` says how much is told.
///
/// # Errors
/// [`Failure::Failed`] when the engine cannot start or cannot go on.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let config = node::Config {
        socket: args.socket,
        state_dir: args.state_dir,
        vxlan_port: args.vxlan_port,
        boot_id: args.boot_id,
        resync: Duration::from_secs(args.resync_seconds),
        claim_timeout: Duration::from_secs(args.claim_timeout_seconds),
        ..node::Config::new(args.name, args.directory)
    };
    node::run(config).map_err(|error| Failure::failed(&error))
}
