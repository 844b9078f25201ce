//! File watches of the daemon.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::config::{Config, Origin};
use crate::error::Error;
use crate::host::file_watch::{Change, Watch};
use crate::mailbox::Mailbox;

/// Watches the desired state and the DEL queue.
pub(super) fn watch(
    config: &Config,
    mailbox: &Arc<Mailbox>,
    replay_due: &Arc<Notify>,
) -> Result<Watch, Error> {
    let queue = cni::queue::directory(&config.state_dir);
    fs::create_dir_all(&queue).map_err(Error::file("create", &queue))?;
    let objects = match &config.origin {
        Origin::Directory(directory) => ["forwarders", "nodes"]
            .map(|name| directory.join(name))
            .to_vec(),
        Origin::Kubernetes { .. } => Vec::new(),
    };
    let directories = objects.iter().chain([&queue]).cloned().collect();
    let (mailbox, replay_due) = (Arc::clone(mailbox), Arc::clone(replay_due));
    Watch::start(directories, move |change| match change {
        Change::Anything => {
            replay_due.notify_one();
            mailbox.tell(|pending| pending.source = true);
        }
        Change::Files(paths) => {
            if paths.iter().any(|path| path.starts_with(&queue)) {
                replay_due.notify_one();
            }
            if paths
                .iter()
                .any(|path| objects.iter().any(|object| path.starts_with(object)))
            {
                mailbox.tell(|pending| pending.source = true);
            }
        }
    })
}

/// Renews the watches at intervals, in case a directory was removed and recreated.
pub(super) async fn renew(mut watch: Watch, pause: Duration) {
    loop {
        tokio::time::sleep(pause).await;
        watch.renew();
    }
}
