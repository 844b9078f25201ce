//! Paths of the daemon's files.

use std::path::PathBuf;

/// Directories of the daemon, with the names and defaults of its own options.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub(crate) struct Paths {
    /// Directory of the lease journal and of the DEL queue
    #[arg(long, value_name = "DIR", default_value = "/var/lib/beemesh/cni")]
    pub(crate) state_dir: PathBuf,
    /// Directory of the object cache
    #[arg(long, value_name = "DIR", default_value = "/var/lib/beemesh/objects")]
    pub(crate) cache_dir: PathBuf,
    /// Directory of state that does not survive a reboot: link-states/
    #[arg(long, value_name = "DIR", default_value = "/run/beemesh")]
    pub(crate) run_dir: PathBuf,
    /// Unix socket of the daemon
    #[arg(long, value_name = "FILE", default_value = "/run/beemesh/cni.sock")]
    pub(crate) socket: PathBuf,
    /// Name of this node, where the cache holds objects of several
    #[arg(long, env = "NODE_NAME")]
    pub(crate) name: Option<String>,
}
