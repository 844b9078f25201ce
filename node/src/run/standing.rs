//! Whether the node is the daemon's to look after, and what its node is told by it.

use std::time::Duration;

use tokio::sync::watch;

use super::tasks::Shared;
use super::told;
use crate::cluster::{self, Standing};
use crate::config::Origin;
use crate::source::kubernetes::client;
use crate::uninstall::{Own, Word};

/// Time between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// Ends when the daemon's own pod says that the node is to be clean. `permit` is whether the plugin
/// may be installed: when the daemon is ready, and its pod was seen to say nothing of that.
pub(super) async fn stand(own: Option<&Own>, shared: &Shared, permit: watch::Sender<bool>) {
    let mut readiness = shared.vitals.readiness();
    loop {
        let is_ready = *readiness.borrow_and_update();
        // Without a pod nobody can ask.
        match own.map_or(Word::Stay, |own| own.word(&*shared.pods)) {
            Word::Leave => return,
            Word::Stay => {
                let set = |it: &mut bool| std::mem::replace(it, is_ready) != is_ready;
                permit.send_if_modified(set);
            }
            Word::Unknown => {}
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            Ok(()) = readiness.changed() => {}
        }
    }
}

/// Takes the startup taint off the node once it is ready, and tells of it when the runtime takes
/// another list, and when that is over, each thing once.
pub(super) async fn tell_node(shared: Shared) {
    let Origin::Kubernetes { kubeconfig } = &shared.config.origin else {
        return;
    };
    let node = &shared.config.name;
    let probes = told::probes(&shared);
    let mut taint = shared.config.startup_taint.clone();
    let mut told = Standing::InForce;
    loop {
        tokio::time::sleep(PAUSE).await;
        let is_ready = taint.is_some() && probes.is_ready();
        let displaced = shared.installer.report().displaced;
        let standing = displaced.map_or(Standing::InForce, Standing::Displaced);
        let is_news = standing != told;
        if !is_ready && !is_news {
            continue;
        }
        // Made when there is something to say: that is next to never.
        let client = match client::client(kubeconfig.as_deref()).await {
            Ok(client) => client,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "own node");
                continue;
            }
        };
        if let Some(key) = taint.take_if(|_| is_ready) {
            cluster::remove_taint(client.clone(), node, &key).await;
        }
        if is_news {
            cluster::tell_standing(client, node, &standing).await;
            told = standing;
        }
    }
}
