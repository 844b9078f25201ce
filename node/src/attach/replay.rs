//! Replay of the DEL queue, which plugins fill while the daemon is away.

use std::path::Path;

use crate::attach::pod_links::PodWiring;
use crate::attach::service::AttachService;

/// Releases the leases in the queue of `state_dir`. An unreadable record is set aside; a failed one
/// stays for the next replay. False when one failed.
pub fn replay<W: PodWiring>(state_dir: &Path, service: &AttachService<W>) -> bool {
    let (records, garbage) = match cni::queue::list(state_dir) {
        Ok(listed) => listed,
        Err(error) => {
            tracing::warn!(%error, "DEL queue not readable");
            return false;
        }
    };
    for file in garbage {
        tracing::warn!(file = %file.display(), "unreadable DEL record set aside");
    }
    let mut is_done = true;
    for (file, record) in records {
        // An ADD of this key replays it too; the second of them finds the file gone.
        let of_pod = || service.release_live(record.netns.as_deref(), record.pod.as_ref());
        if let Some(Err(error)) = file.exists().then(of_pod) {
            tracing::warn!(%error, "DEL not replayed, retried");
            is_done = false;
            continue;
        }
        let replayed = service.release_once(
            &record.key,
            || file.exists(),
            || {
                if let Err(error) = cni::queue::remove(state_dir, &record.key) {
                    is_done = false;
                    tracing::warn!(file = %file.display(), %error, "DEL record not removed");
                }
            },
        );
        match replayed {
            Ok(()) => tracing::info!(container = record.key.container_id, "DEL replayed"),
            Err(error) => {
                is_done = false;
                tracing::warn!(%error, "DEL not replayed, retried");
            }
        }
    }
    is_done
}
