//! Files in the census: DEL queue, link-state snapshot, temporary files, and the socket.

use super::{Needed, count, wires::leak};
use crate::diagnose::{
    desired::{files, link_states, stem},
    paths::Paths,
};
use crds::diagnosis::report::{Census, Kind, Leak};
use std::{
    fs, io,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

/// Age after which a temporary file is orphaned.
const WRITING: Duration = Duration::from_secs(600);
/// Time within which a running daemon has replayed a DEL.
const REPLAYING: Duration = Duration::from_secs(60);

/// Counts files, and lists the orphaned ones.
pub(super) fn all(census: &mut Census, needed: &Needed, paths: &Paths) {
    queue(census, needed, paths);
    reports(census, needed, paths);
    let kept = [
        paths.state_dir.clone(),
        cni::queue::directory(&paths.state_dir),
    ];
    let directories = kept
        .into_iter()
        .chain([paths.cache_dir.join("forwarders"), link_states(paths)]);
    for file in directories.flat_map(|directory| entries(&directory)) {
        census.leaks.extend(stray(&file));
    }
    if let Some(leak) = socket(&paths.socket) {
        census.leaks.push(leak);
    }
}

/// A queued DEL is work of the daemon; one that stays in the queue is orphaned.
fn queue(census: &mut Census, needed: &Needed, paths: &Paths) {
    let records = files(&cni::queue::directory(&paths.state_dir)).unwrap_or_default();
    count(census, "queue-files", records.len());
    for file in records.iter().filter(|file| is_older(file, REPLAYING)) {
        let record = fs::read(file).ok();
        let record = record.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let is_leased =
            |record: &cni::queue::Record| needed.leases.iter().any(|lease| lease.key == record.key);
        let (why, removable) = match record.as_ref().map(is_leased) {
            Some(true) => ("the daemon has not replayed it: does it run?", false),
            Some(false) => (
                "the daemon has not replayed it, and nothing is leased to its key",
                true,
            ),
            None => ("it cannot be read", false),
        };
        census
            .leaks
            .push(leak(Kind::QueueFile, &shown(file), "", why, removable));
    }
}

/// Link-state files of Forwarders that no longer exist.
fn reports(census: &mut Census, needed: &Needed, paths: &Paths) {
    let reports = files(&link_states(paths)).unwrap_or_default();
    count(census, "link-states", reports.len());
    if !needed.desired.is_complete() {
        return;
    }
    let keys = needed.desired.keys();
    for file in reports.iter().filter(|file| is_older(file, REPLAYING)) {
        if stem(file).is_some_and(|key| !keys.contains(&key)) {
            let why = "no Forwarder of this node's topologies has this name, and no peer has reported on it";
            census
                .leaks
                .push(leak(Kind::LinkState, &shown(file), "", why, true));
        }
    }
}

fn stray(file: &Path) -> Option<Leak> {
    let name = file.file_name()?.to_str()?;
    if name.ends_with(".tmp") && is_older(file, WRITING) {
        let why = "it is a temporary file, not written for ten minutes";
        return Some(leak(Kind::StrayFile, &shown(file), "", why, true));
    }
    if name.ends_with(".bad") || name.contains(".damaged-") {
        let why = "it was damaged, and is kept for inspection";
        return Some(leak(Kind::StrayFile, &shown(file), "", why, false));
    }
    None
}

fn socket(path: &Path) -> Option<Leak> {
    let refused = UnixStream::connect(path).err()?;
    let why = "it has no listener; the daemon recreates it at its start";
    (refused.kind() == io::ErrorKind::ConnectionRefused)
        .then(|| leak(Kind::Socket, &shown(path), "", why, false))
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// True when a file is older than `age`; false when it was removed meanwhile.
fn is_older(file: &Path, age: Duration) -> bool {
    let changed = fs::metadata(file).and_then(|metadata| metadata.modified());
    changed.is_ok_and(|changed| changed.elapsed().is_ok_and(|elapsed| elapsed > age))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_being_written_is_no_leak() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, age: Duration| {
            let path = directory.path().join(name);
            let file = fs::File::create(&path).unwrap();
            file.set_modified(std::time::SystemTime::now() - age)
                .unwrap();
            stray(&path).map(|leak| leak.removable)
        };
        let old = Duration::from_secs(3600);
        assert_eq!(file(".x.1.0.tmp", Duration::ZERO), None);
        assert_eq!(file(".y.1.0.tmp", old), Some(true));
        assert_eq!(file("leases.journal.damaged-1", old), Some(false));
        assert_eq!(file("leases.journal", old), None);
    }
}
