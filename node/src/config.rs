//! What one node daemon is told at its start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::flooding;

mod arguments;

pub use arguments::Arguments;
pub(crate) use arguments::LogFormat;

/// What a foreign hand changes is to be repaired within five seconds.
pub const DEFAULT_RESYNC: Duration = Duration::from_secs(3);

/// Where Forwarders are declared and reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A directory of `forwarders/`, `nodes/` and `status/`.
    Directory(PathBuf),
    /// The API server of a cluster.
    Kubernetes {
        /// How to reach it; none as the environment says.
        kubeconfig: Option<PathBuf>,
    },
}

/// What the daemon installs of the plugin on its node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum InstallCni {
    /// The plugin, and a configuration that runs it behind the cluster's.
    Chained,
    /// The plugin, for others to run.
    Binary,
    /// Nothing.
    #[default]
    None,
}

/// Settings of one node daemon.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's name, as `spec.node` of its Forwarders has it.
    pub name: String,
    /// Where its Forwarders are declared.
    pub origin: Origin,
    /// Unix socket on which the CNI plugin is served.
    pub socket: PathBuf,
    /// Directory of the lease journal and of the durable DEL queue (`del/`); outlives a reboot.
    pub state_dir: PathBuf,
    /// UDP port of the VXLAN links.
    pub vxlan_port: u16,
    /// File that holds the kernel's boot id: namespaces do not outlive it.
    pub boot_id: PathBuf,
    /// Least time between two looks at the whole kernel state when nothing happens. Longer where
    /// looking would take more than a fiftieth of one processor.
    pub resync: Duration,
    /// How long a claim may stay unconfirmed while its plugin cannot be seen running.
    pub claim_timeout: Duration,
    /// Directory of the last known objects of the cluster.
    pub cache_dir: PathBuf,
    /// Directory of what does not outlive a boot: `link-states/`.
    pub run_dir: PathBuf,
    /// TCP port on which nodes tell one another their links' states.
    pub peer_port: u16,
    /// File with the key that the nodes share; without one nothing is told or heard.
    pub peer_key_file: Option<PathBuf>,
    /// Where health and metrics are served; none for nowhere.
    pub http_address: Option<SocketAddr>,
    /// What is installed of the plugin.
    pub install_cni: InstallCni,
    /// Directory of the node's CNI plugins.
    pub cni_bin_dir: PathBuf,
    /// Directory of the node's CNI configurations.
    pub cni_conf_dir: PathBuf,
    /// The node's processes.
    pub host_proc: PathBuf,
    /// Key of the taint that is taken off the node once it is ready.
    pub startup_taint: Option<String>,
}

impl Config {
    /// The settings of a node called `name` with the defaults of a cluster.
    pub fn new(name: impl Into<String>, origin: Origin) -> Config {
        Config {
            name: name.into(),
            origin,
            socket: PathBuf::from("/run/beemesh/cni.sock"),
            state_dir: PathBuf::from("/var/lib/beemesh/cni"),
            vxlan_port: 4789,
            boot_id: PathBuf::from("/proc/sys/kernel/random/boot_id"),
            resync: DEFAULT_RESYNC,
            claim_timeout: Duration::from_secs(30),
            cache_dir: PathBuf::from("/var/lib/beemesh/objects"),
            run_dir: PathBuf::from("/run/beemesh"),
            peer_port: flooding::DEFAULT_PORT,
            peer_key_file: None,
            http_address: None,
            install_cni: InstallCni::None,
            cni_bin_dir: PathBuf::from("/opt/cni/bin"),
            cni_conf_dir: PathBuf::from("/etc/cni/net.d"),
            host_proc: PathBuf::from("/proc"),
            startup_taint: None,
        }
    }

    /// Directory of the snapshot of link states.
    pub fn link_states(&self) -> PathBuf {
        self.run_dir.join("link-states")
    }

    /// How link states are exchanged with other nodes; none without a key to do so.
    pub fn flood(&self) -> Option<flooding::Settings> {
        let key_file = self.peer_key_file.clone()?;
        Some(flooding::Settings::new(
            self.name.clone(),
            key_file,
            self.peer_port,
        ))
    }
}
