//! Keys of hotplug attachments, which the daemon makes for running pods.

use std::path::PathBuf;

use cni::node_protocol::{Key, NetnsId};

/// Network name under which the daemon runs the plugin.
pub const NETWORK: &str = "beemesh-live";

/// Prefix of the container id in such a key; the pod's uid follows.
const CONTAINER: &str = "live-";

/// True when the daemon made this attachment, not the runtime.
pub fn is_hotplug(key: &Key) -> bool {
    key.network == NETWORK && key.container_id.starts_with(CONTAINER)
}

/// Key of the daemon's attachment for the pod with this uid and interface.
pub fn hotplug(uid: &str, interface: &str) -> Key {
    Key {
        container_id: format!("{CONTAINER}{uid}"),
        ifname: interface.to_owned(),
        network: NETWORK.to_owned(),
    }
}

/// Network namespace of a running pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodNetns {
    /// Bind-mounted path, or `/proc/<pid>/ns/net` of one of its processes.
    pub path: PathBuf,
    /// Device and inode of the namespace file.
    pub id: NetnsId,
}
