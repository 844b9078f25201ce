//! Replay of the DEL queue, which plugins fill while the daemon is away.

use std::path::Path;

use telemetry::{Failures, chain};

use crate::attach::pod_links::PodWiring;
use crate::attach::service::AttachService;

/// Releases the leases in the queue of `state_dir`. An unreadable record is set aside; a failed one
/// stays for the next replay.
pub fn replay<W: PodWiring>(state_dir: &Path, service: &AttachService<W>) -> Failures {
    let mut failures = Failures::default();
    let (records, garbage) = match cni::queue::list(state_dir) {
        Ok(listed) => listed,
        Err(error) => {
            failures.add(format!("queue not readable: {error}"));
            return failures;
        }
    };
    for file in garbage {
        tracing::warn!(file = %file.display(), "unreadable DEL record set aside");
    }
    for (file, record) in records {
        // An ADD of this key replays it too; the second of them finds the file gone.
        let of_pod = || service.release_live(record.netns.as_deref(), record.pod.as_ref());
        if let Some(Err(error)) = file.exists().then(of_pod) {
            failures.add(chain(&error));
            continue;
        }
        let container = &record.key.container_id;
        let remove = || match cni::queue::remove(state_dir, &record.key) {
            Ok(()) => tracing::info!(container, "DEL replayed"),
            Err(error) => failures.add(format!("record not removed: {error}")),
        };
        if let Err(error) = service.release_once(&record.key, || file.exists(), remove) {
            failures.add(chain(&error));
        }
    }
    failures
}
