//! The command line of the daemon, as `beemesh-node` and as `beemesh node`.

use std::path::PathBuf;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use crate::{Config, DEFAULT_RESYNC, Error, run};

/// Arguments of the daemon of one node.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Name of this node, as the Forwarders' `spec.node` has it
    #[arg(long, env = "NODE_NAME")]
    name: String,
    /// Directory of forwarders/, nodes/, link-states/ and status/
    #[arg(long)]
    directory: PathBuf,
    /// Unix socket for the CNI plugin
    #[arg(long, default_value = "/run/beemesh/cni.sock")]
    socket: PathBuf,
    /// Directory of the lease journal and of the DEL queue
    #[arg(long, default_value = "/var/lib/beemesh/cni")]
    state_dir: PathBuf,
    /// UDP port of the VXLAN links
    #[arg(long, default_value_t = 4789)]
    vxlan_port: u16,
    /// File with the boot id: namespaces do not outlive it
    #[arg(long, default_value = "/proc/sys/kernel/random/boot_id")]
    boot_id: PathBuf,
    /// Least seconds between two looks at the whole kernel state
    #[arg(long, default_value_t = DEFAULT_RESYNC.as_secs())]
    resync_seconds: u64,
    /// Seconds after which an unconfirmed claim may be collected
    #[arg(long, default_value_t = 30)]
    claim_timeout_seconds: u64,
}

impl From<Arguments> for Config {
    fn from(arguments: Arguments) -> Config {
        Config {
            socket: arguments.socket,
            state_dir: arguments.state_dir,
            vxlan_port: arguments.vxlan_port,
            boot_id: arguments.boot_id,
            resync: Duration::from_secs(arguments.resync_seconds),
            claim_timeout: Duration::from_secs(arguments.claim_timeout_seconds),
            ..Config::new(arguments.name, arguments.directory)
        }
    }
}

impl Arguments {
    /// Logs to stderr as `RUST_LOG` says (default `info`) and runs the engine until SIGTERM, which leaves the kernel as it is.
    ///
    /// # Errors
    /// When the engine cannot start or cannot go on.
    pub fn run(self) -> Result<(), Error> {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .init();
        run(self.into())
    }
}
