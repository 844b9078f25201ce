//! Replay of the DEL queue, which plugins fill while the daemon is away.

use std::path::Path;

use crate::attach::pod_links::PodWiring;
use crate::attach::service::AttachService;

/// Releases the leases in the queue of `state_dir`. An unreadable record is set aside; a failed one
/// stays for the next replay.
pub fn replay<W: PodWiring>(state_dir: &Path, service: &AttachService<W>) {
    let (records, garbage) = match cni::queue::list(state_dir) {
        Ok(listed) => listed,
        Err(error) => {
            tracing::warn!(%error, "failed to read the DEL queue");
            return;
        }
    };
    for file in garbage {
        tracing::warn!(file = %file.display(), "a DEL record was not readable and is set aside");
    }
    for (file, record) in records {
        // An ADD of this key replays it too; the second of them finds the file gone.
        let of_pod = || service.release_live(record.netns.as_deref(), record.pod.as_ref());
        if let Some(Err(error)) = file.exists().then(of_pod) {
            tracing::warn!(%error, "failed to replay a DEL");
            continue;
        }
        let replayed = service.release_once(
            &record.key,
            || file.exists(),
            || {
                if let Err(error) = cni::queue::remove(state_dir, &record.key) {
                    tracing::warn!(file = %file.display(), %error, "failed to remove a DEL record");
                }
            },
        );
        match replayed {
            Ok(()) => tracing::info!(container = record.key.container_id, "replayed a DEL"),
            Err(error) => tracing::warn!(%error, "failed to replay a DEL"),
        }
    }
}
