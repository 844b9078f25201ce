//! The key of the mesh, which the operator makes at about the time at which daemons start.
//!
//! A Secret that comes after its pod is shown there when the kubelet looks at the pod next, and that
//! may take more than a minute. A pod that changes is looked at at once, so the daemon changes its own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, Origin};
use crate::install::node_object;
use crate::objects::kubernetes::client;
use crate::objects::own_pod::OwnPod;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Has the kubelet look, with growing pauses, until the file of the key is there.
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
        // The API server may be away: then the key is not its only matter.
        if let Err(error) = ask(kubeconfig.as_deref(), &own, attempt).await {
            tracing::debug!(%error, "the kubelet is not asked for the key of the mesh");
        }
        pause = longer(pause);
    }
}

async fn ask(kubeconfig: Option<&Path>, own: &OwnPod, attempt: u64) -> anyhow::Result<()> {
    let client = client::client(kubeconfig).await?;
    Ok(node_object::await_key(&client, own, attempt).await?)
}

/// By half: whenever the key comes, it is waited for half as long again at most.
fn longer(pause: Duration) -> Duration {
    (pause * 3 / 2).min(LONGEST_PAUSE)
}
