//! Keys of attachments that the daemon makes by itself, for pods that run already.

use std::path::PathBuf;

use cni::agent::{Key, NetnsId};

/// The name of the network configuration under which the daemon runs the plugin.
pub const NETWORK: &str = "beemesh-live";

/// Before the uid of a pod in the container id of such a key.
const CONTAINER: &str = "live-";

/// Whether the daemon made this attachment by itself, not the runtime.
pub fn is_hotplug(key: &Key) -> bool {
    key.network == NETWORK && key.container_id.starts_with(CONTAINER)
}

/// The key of the attachment that the daemon makes for the pod with this uid, by this interface.
pub fn hotplug(uid: &str, interface: &str) -> Key {
    Key {
        container_id: format!("{CONTAINER}{uid}"),
        ifname: interface.to_owned(),
        network: NETWORK.to_owned(),
    }
}

/// The network namespace of a pod that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodNetns {
    /// Its durable path, or that of a process in it where it has none.
    pub path: PathBuf,
    /// Device and inode of its file.
    pub id: NetnsId,
}
