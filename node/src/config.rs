//! What one node daemon is told at its start.

use std::path::PathBuf;
use std::time::Duration;

/// What a foreign hand changes is to be repaired within five seconds.
pub const DEFAULT_RESYNC: Duration = Duration::from_secs(3);

/// Settings of one node daemon.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's name, as `spec.node` of its Forwarders has it.
    pub name: String,
    /// Directory of `forwarders/`, `nodes/`, `link-states/` and `status/`.
    pub directory: PathBuf,
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
}

impl Config {
    /// The settings of a node called `name`, reading `directory`, with the defaults of a cluster.
    pub fn new(name: impl Into<String>, directory: impl Into<PathBuf>) -> Config {
        Config {
            name: name.into(),
            directory: directory.into(),
            socket: PathBuf::from("/run/beemesh/cni.sock"),
            state_dir: PathBuf::from("/var/lib/beemesh/cni"),
            vxlan_port: 4789,
            boot_id: PathBuf::from("/proc/sys/kernel/random/boot_id"),
            resync: DEFAULT_RESYNC,
            claim_timeout: Duration::from_secs(30),
        }
    }
}
