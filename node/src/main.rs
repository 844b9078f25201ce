//! `beemesh-node`: the daemon of one node.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use tracing_subscriber::EnvFilter;

/// Makes this node's Forwarders real and serves the CNI plugin.
#[derive(Debug, Parser)]
#[command(name = "beemesh-node", version)]
struct Arguments {
    /// Name of this node, as the Forwarders' `spec.node` has it.
    #[arg(long, env = "NODE_NAME")]
    name: String,
    /// Directory of forwarders/, nodes/, link-states/ and status/.
    #[arg(long)]
    directory: PathBuf,
    /// Unix socket for the CNI plugin.
    #[arg(long, default_value = "/run/beemesh/cni.sock")]
    socket: PathBuf,
    /// Directory of the lease journal and of the DEL queue.
    #[arg(long, default_value = "/var/lib/beemesh/cni")]
    state_dir: PathBuf,
    /// UDP port of the VXLAN links.
    #[arg(long, default_value_t = 4789)]
    vxlan_port: u16,
    /// File with the boot id.
    #[arg(long, default_value = "/proc/sys/kernel/random/boot_id")]
    boot_id: PathBuf,
    /// Least seconds between two looks at the whole kernel state.
    #[arg(long, default_value_t = node::DEFAULT_RESYNC.as_secs())]
    resync_seconds: u64,
    /// Seconds after which an unconfirmed claim may be collected.
    #[arg(long, default_value_t = 30)]
    claim_timeout_seconds: u64,
}

fn main() -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let config = node::Config {
        socket: arguments.socket,
        state_dir: arguments.state_dir,
        vxlan_port: arguments.vxlan_port,
        boot_id: arguments.boot_id,
        resync: Duration::from_secs(arguments.resync_seconds),
        claim_timeout: Duration::from_secs(arguments.claim_timeout_seconds),
        ..node::Config::new(arguments.name, arguments.directory)
    };
    Ok(node::run(config)?)
}
