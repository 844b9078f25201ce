//! Attaching and detaching pods that run already.

use cni::agent::Key;

/// Before the uid of a pod in the container id of what the daemon attached by itself.
const CONTAINER: &str = "live-";

/// Whether the daemon attached this by itself, not the runtime.
pub fn is_key(key: &Key) -> bool {
    key.network == NETWORK && key.container_id.starts_with(CONTAINER)
}

/// The name of the network configuration under which the daemon runs the plugin.
pub const NETWORK: &str = "beemesh-live";
