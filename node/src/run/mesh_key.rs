//! Wait for the mesh key, which the operator creates at about the time at which daemons start.
//!
//! A Secret that is created after its pod is mounted at the kubelet's next sync of the pod, which
//! may take more than a minute. A changed pod is synced at once, so the daemon changes its own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, Origin};
use crate::install::node_object;
use crate::objects::kubernetes::client;
use crate::objects::own_pod::OwnPod;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Triggers syncs of the kubelet, with growing pauses, until the key file exists.
pub(super) async fn ask_for_it(config: Arc<Config>, own: OwnPod) {
    let Some(file) = &config.peer_key_file else {
        return;
    };
    let Origin::Kubernetes { kubeconfig } = &config.origin else {
        return;
    };
    let mut pause = FIRST_PAUSE;
    for attempt in 1_u64.. {
        tokio::time::sleep(pause).await;
        if file.exists() {
            return;
        }
        // The API server may be unreachable, which others log.
        if let Err(error) = ask(kubeconfig.as_deref(), &own, attempt).await {
            tracing::debug!(%error, "kubelet sync for the mesh key not triggered");
        }
        pause = longer(pause);
    }
}

async fn ask(kubeconfig: Option<&Path>, own: &OwnPod, attempt: u64) -> anyhow::Result<()> {
    let client = client::client(kubeconfig).await?;
    Ok(node_object::await_key(&client, own, attempt).await?)
}

/// Grows by half: whenever the key appears, the wait is at most half as long again.
fn longer(pause: Duration) -> Duration {
    (pause * 3 / 2).min(LONGEST_PAUSE)
}
