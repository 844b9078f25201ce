//! Settings of a node daemon at its start.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::flooding;

mod arguments;

pub use arguments::Arguments;

/// Default resync interval: drift of kernel state is repaired within five seconds.
pub const DEFAULT_RESYNC: Duration = Duration::from_secs(3);

/// Origin of Forwarder objects and destination of their status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A directory of `forwarders/`, `nodes/` and `status/`.
    Directory(PathBuf),
    /// The API server of a cluster.
    Kubernetes {
        /// Path of the kubeconfig; `None` for the in-cluster configuration or the environment.
        kubeconfig: Option<PathBuf>,
    },
}

/// Installation mode of the CNI plugin on the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum InstallCni {
    /// Plugin binary, and a configuration that chains it after the cluster's plugins.
    Chained,
    /// Plugin binary only; the CNI configuration is managed by others.
    Binary,
    /// No installation.
    #[default]
    None,
}

/// Settings of one node daemon.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's name, as `spec.node` of its Forwarders has it.
    pub name: String,
    /// Origin of Forwarder objects.
    pub origin: Origin,
    /// Unix socket on which the CNI plugin is served.
    pub socket: PathBuf,
    /// Directory of the lease journal and of the durable DEL queue (`del/`); outlives a reboot.
    pub state_dir: PathBuf,
    /// UDP port of the VXLAN links.
    pub vxlan_port: u16,
    /// Path of the kernel's boot id: network namespaces do not survive a reboot.
    pub boot_id: PathBuf,
    /// Least time between two observations of the whole kernel state when no event arrives. It
    /// grows where an observation takes more than 2 % of one processor.
    pub resync: Duration,
    /// Longest time that a claim stays unconfirmed without a running plugin process.
    pub claim_timeout: Duration,
    /// Directory of the object cache: last known objects of the cluster.
    pub cache_dir: PathBuf,
    /// Directory of state that does not survive a reboot: `link-states/`.
    pub run_dir: PathBuf,
    /// TCP port of link-state flooding between nodes.
    pub peer_port: u16,
    /// File with the mesh key; without one no link states are flooded.
    pub peer_key_file: Option<PathBuf>,
    /// Listen address of health probes and metrics; `None` for no server.
    pub http_address: Option<SocketAddr>,
    /// Installation mode of the CNI plugin.
    pub install_cni: InstallCni,
    /// Directory of the node's CNI plugins.
    pub cni_bin_dir: PathBuf,
    /// Directory of the node's CNI configurations.
    pub cni_conf_dir: PathBuf,
    /// `/proc` of the host.
    pub host_proc: PathBuf,
    /// Key of the taint that is removed from the node once it is ready.
    pub startup_taint: Option<String>,
}

impl Config {
    /// Directory of the objects; `None` in a cluster.
    pub fn directory(&self) -> Option<&Path> {
        match &self.origin {
            Origin::Directory(directory) => Some(directory),
            Origin::Kubernetes { .. } => None,
        }
    }

    /// Default settings for a node called `name` in a cluster.
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

    /// Flooding settings; `None` without a mesh key.
    pub fn flood(&self) -> Option<flooding::Settings> {
        let key_file = self.peer_key_file.clone()?;
        let settings = flooding::Settings::new(self.name.clone(), key_file, self.peer_port);
        let open_files = usize::try_from(dataplane::descriptors::for_peers());
        Some(flooding::Settings {
            open_files: open_files.unwrap_or(usize::MAX),
            ..settings
        })
    }
}
