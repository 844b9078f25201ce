//! Desired state from a directory of YAML files, `forwarders/*.yaml` and `nodes/*.yaml`.
//!
//! A file is read when its stamp changes. An unreadable file keeps its last readable version; while
//! there is none, the state is incomplete, as the file may hold any object.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crds::{Forwarder, ForwarderStatus, NodeObject};
use serde::de::DeserializeOwned;

use super::{Snapshot, Source, check_forwarder};
use crate::error::Error;
use store::atomic;

#[cfg(test)]
mod tests;

/// Largest file in bytes; a Forwarder with 1,000 links takes a tenth.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// The directory adapter of [`Source`].
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    forwarders: Files<Forwarder>,
    nodes: Files<NodeObject>,
    reported: BTreeMap<String, ForwarderStatus>,
}

impl Directory {
    /// Opens `root`, and creates its missing subdirectories.
    ///
    /// # Errors
    /// [`Error::File`] when a directory cannot be created.
    pub fn open(root: &Path) -> Result<Directory, Error> {
        for name in ["forwarders", "nodes", "status"] {
            let path = root.join(name);
            fs::create_dir_all(&path).map_err(Error::file("create", path))?;
        }
        Ok(Directory {
            root: root.to_owned(),
            forwarders: Files::new(root.join("forwarders")),
            nodes: Files::new(root.join("nodes")),
            reported: BTreeMap::new(),
        })
    }

    fn status_file(&self, forwarder: &str) -> PathBuf {
        self.root.join("status").join(format!("{forwarder}.yaml"))
    }
}

impl Source for Directory {
    fn load(&mut self) -> Snapshot {
        let mut snapshot = Snapshot {
            is_complete: true,
            ..Snapshot::default()
        };
        snapshot.is_complete &= self
            .forwarders
            .refresh(check_forwarder, &mut snapshot.problems);
        snapshot.is_complete &= self.nodes.refresh(check_node, &mut snapshot.problems);
        for (path, forwarder) in self.forwarders.good() {
            let name = forwarder.metadata.name.clone();
            if snapshot.forwarders.contains_key(&name) {
                let problem = format!("{}: another file has {name} too", path.display());
                snapshot.problems.push(problem);
                continue;
            }
            snapshot.forwarders.insert(name, forwarder.clone());
        }
        for (_, node) in self.nodes.good() {
            snapshot
                .nodes
                .insert(node.metadata.name.clone(), node.clone());
        }
        snapshot
    }

    fn report(&mut self, forwarder: &str, status: &ForwarderStatus) -> Result<bool, Error> {
        // An earlier daemon process may have written the same status.
        if self.reported(forwarder).as_ref() == Some(status) {
            return Ok(false);
        }
        let path = self.status_file(forwarder);
        let text = serde_saphyr::to_string(status).map_err(|error| Error::File {
            action: "encode",
            path: path.clone(),
            source: std::io::Error::other(error),
        })?;
        atomic::publish(&path, text.as_bytes())?;
        self.reported.insert(forwarder.to_owned(), status.clone());
        Ok(true)
    }

    fn reported(&mut self, forwarder: &str) -> Option<ForwarderStatus> {
        if let Some(status) = self.reported.get(forwarder) {
            return Some(status.clone());
        }
        let text = fs::read_to_string(self.status_file(forwarder)).ok()?;
        let status: ForwarderStatus = serde_saphyr::from_str(&text).ok()?;
        self.reported.insert(forwarder.to_owned(), status.clone());
        Some(status)
    }

    fn forget(&mut self, forwarder: &str) {
        self.reported.remove(forwarder);
        // An absent file counts as removed.
        let _ = fs::remove_file(self.status_file(forwarder));
    }
}

/// Files of one kind, each with its last readable version.
#[derive(Debug)]
struct Files<T> {
    directory: PathBuf,
    by_path: BTreeMap<PathBuf, Entry<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    stamp: Stamp,
    good: Option<Arc<T>>,
    problem: Option<String>,
}

/// Version of a file: inode, length, nanoseconds of the last change.
type Stamp = (u64, u64, i128);

impl<T: DeserializeOwned> Files<T> {
    fn new(directory: PathBuf) -> Files<T> {
        Files {
            directory,
            by_path: BTreeMap::new(),
        }
    }

    /// Reads changed files. True when every file has a readable version.
    fn refresh(&mut self, check: fn(&T) -> Result<(), String>, problems: &mut Vec<String>) -> bool {
        let paths = match list(&self.directory) {
            Ok(paths) => paths,
            Err(error) => {
                problems.push(format!("{}: {error}", self.directory.display()));
                return false;
            }
        };
        self.by_path
            .retain(|path, _| paths.binary_search(path).is_ok());
        for path in paths {
            self.refresh_one(path, check);
        }
        let told = self.by_path.iter().filter_map(|(path, entry)| {
            let problem = entry.problem.as_ref()?;
            Some(format!("{}: {problem}", path.display()))
        });
        problems.extend(told);
        self.by_path.values().all(|entry| entry.good.is_some())
    }

    fn refresh_one(&mut self, path: PathBuf, check: fn(&T) -> Result<(), String>) {
        let stamp = stamp(&path);
        let before = self.by_path.get(&path);
        if let (Some(before), Some(stamp)) = (before, stamp)
            && before.stamp == stamp
        {
            return;
        }
        let read = read(&path).and_then(|value| check(&value).map(|()| value));
        let (good, problem) = match read {
            Ok(value) => (Some(Arc::new(value)), None),
            Err(problem) => (before.and_then(|entry| entry.good.clone()), Some(problem)),
        };
        self.by_path.insert(
            path,
            Entry {
                stamp: stamp.unwrap_or_default(),
                good,
                problem,
            },
        );
    }

    fn good(&self) -> impl Iterator<Item = (&PathBuf, &Arc<T>)> {
        self.by_path
            .iter()
            .filter_map(|(path, entry)| Some((path, entry.good.as_ref()?)))
    }
}

/// YAML files of a directory, sorted. Hidden ones are temporary files of writers.
fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let is_hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes()[0] == b'.');
        let extension = path.extension().and_then(|extension| extension.to_str());
        if !is_hidden && matches!(extension, Some("yaml" | "yml" | "json")) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    let nanoseconds =
        i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    Some((metadata.ino(), metadata.len(), nanoseconds))
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, String> {
    let len = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if len > MAX_FILE_BYTES {
        return Err(format!("{len} bytes, at most {MAX_FILE_BYTES} are read"));
    }
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    serde_saphyr::from_str(&text).map_err(|error| error.to_string())
}

fn check_node(node: &NodeObject) -> Result<(), String> {
    if node.metadata.name.is_empty() {
        return Err("metadata.name: empty".to_owned());
    }
    Ok(())
}
