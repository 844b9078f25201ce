//! Polling of directories by a timer.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use super::Change;
use super::hub::{Listeners, is_hidden};

/// Interval between two polls.
pub(super) const EVERY: Duration = Duration::from_secs(2);

/// Polling thread; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Polling {
    _stop: Sender<()>,
}

/// Version of a file: inode, length, last change.
type Stamp = (u64, u64, i64, i64);
/// Files of a directory; empty where it is absent.
type Files = BTreeMap<PathBuf, Stamp>;

impl Polling {
    pub(super) fn start(listeners: Arc<Listeners>) -> Polling {
        let (stop, stopped) = channel();
        let thread = thread::Builder::new().name("directories".into());
        if let Err(error) = thread.spawn(move || keep_looking(&listeners, &stopped)) {
            // Listeners read their files at intervals too.
            tracing::error!(%error, "directories not watched, polling thread not started");
        }
        Polling { _stop: stop }
    }
}

fn keep_looking(listeners: &Listeners, stopped: &Receiver<()>) {
    let mut seen = BTreeMap::new();
    while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
        look(&mut seen, listeners);
    }
}

/// Reports changed files. All files of a new directory are reported.
pub(super) fn look(seen: &mut BTreeMap<PathBuf, Files>, listeners: &Listeners) {
    let directories = listeners.all_directories();
    let now = directories.into_iter().map(|path| {
        let files = files(&path);
        (path, files)
    });
    let before = std::mem::replace(seen, now.collect());
    let nothing = Files::new();
    let mut changed = Vec::new();
    for (directory, files) in &*seen {
        let before = before.get(directory).unwrap_or(&nothing);
        let paths = files.keys().chain(before.keys());
        let is_new = |path: &&PathBuf| files.get(*path) != before.get(*path);
        changed.extend(paths.filter(is_new).cloned());
    }
    changed.sort();
    changed.dedup();
    if !changed.is_empty() {
        listeners.tell(&Change::Files(changed));
    }
}

fn files(directory: &Path) -> Files {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let stamped = entries.filter_map(|entry| {
        let of = entry.metadata().ok()?;
        let stamp = (of.ino(), of.len(), of.ctime(), of.ctime_nsec());
        Some((entry.path(), stamp))
    });
    stamped.filter(|(path, _)| !is_hidden(path)).collect()
}
