//! Object cache on disk: one file for each object, and an index of all objects.
//!
//! ```text
//! change -> mark -> (500 ms) -> changed files -> index -> removal of stale files -> unmark
//! ```
//! The mark is set before anyone can act on a change, without the lock of the store: a disk may stall. A daemon that finds it knows that there may
//! be more objects than the index lists: it serves the cached ones and deletes nothing. A file
//! carries its own checksum and is used only when that matches; a topology with a missing file is
//! left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::Shared;
use super::health::Health;
use super::store::{Entry, Feed, Item, Table};
use crate::error::Error;
use crds::TopologyKey;
use crds::forwarder::SharedValues;
use store::atomic;
use store::sealed::{seal, unseal};

mod record;
#[cfg(test)]
mod tests;
pub(crate) mod view;

/// Debounce time of changes.
const GATHER: Duration = Duration::from_millis(500);
/// Pause after a failed write.
const RETRY: Duration = Duration::from_secs(5);
/// Format version of the index and of the files.
const VERSION: u32 = 1;
const INDEX: &str = "index.json";
const MARK: &str = "changing";
const DIRECTORIES: [&str; 4] = ["forwarders", "nodes", "pods", "topologies"];

/// Cache directory.
#[derive(Debug)]
pub(super) struct Cache {
    path: PathBuf,
    node: String,
    /// Number of changes.
    changes: AtomicU64,
    is_marked: AtomicBool,
    /// Lock of the mark's file. Taken before the lock of the store.
    marking: Mutex<()>,
    /// Holds the reason why the cache is not written.
    health: Arc<Health>,
    written: Mutex<Written>,
    /// Values that Forwarders repeat, in files as in watches.
    values: Mutex<SharedValues>,
    due: Notify,
}

/// Written files: stamp of the item, and checksum.
type Written = BTreeMap<PathBuf, (u64, u32)>;

/// Desired content of the directory at one moment.
#[derive(Debug)]
pub(super) struct Records {
    changes: u64,
    tables: BTreeMap<Feed, Table>,
}

/// Index of all objects.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    version: u32,
    node: String,
    tables: Vec<IndexedTable>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct IndexedTable {
    feed: Feed,
    is_whole: bool,
    /// Checksums of files, by key.
    files: BTreeMap<String, u32>,
    /// Topology by Forwarder of this node; these need no file of their own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    own: BTreeMap<String, TopologyKey>,
}

/// Writes changes to the directory for ever.
pub(super) async fn run(shared: Arc<Shared>) {
    loop {
        shared.cache.due.notified().await;
        tokio::time::sleep(GATHER).await;
        let writer = Arc::clone(&shared);
        let written = tokio::task::spawn_blocking(move || writer.flush()).await;
        if !written.unwrap_or(false) {
            tokio::time::sleep(RETRY).await;
            shared.cache.due.notify_one();
        }
    }
}

impl Cache {
    /// Opens the directory `path`, and reads its content.
    pub(super) fn open(
        path: &Path,
        node: &str,
        health: Arc<Health>,
    ) -> (Cache, BTreeMap<Feed, Table>) {
        let cache = Cache {
            path: path.to_owned(),
            node: node.to_owned(),
            changes: AtomicU64::new(0),
            is_marked: AtomicBool::new(false),
            marking: Mutex::default(),
            health,
            written: Mutex::default(),
            values: Mutex::default(),
            due: Notify::new(),
        };
        cache.tell(cache.make().err());
        let tables = cache.load();
        (cache, tables)
    }

    /// Creates missing directories.
    fn make(&self) -> Result<(), Error> {
        for name in DIRECTORIES {
            let directory = self.path.join(name);
            fs::create_dir_all(&directory).map_err(Error::file("create", &directory))?;
        }
        Ok(())
    }

    pub(super) fn values(&self) -> MutexGuard<'_, SharedValues> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a change. Must be called under the lock of the store.
    pub(super) fn changed(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
        self.due.notify_one();
    }

    pub(super) fn is_marked(&self) -> bool {
        self.is_marked.load(Ordering::Relaxed)
    }

    /// Marks the index as outdated. Must be called before the change, without the lock of the store.
    pub(super) fn mark(&self) {
        let _marking = self.marking.lock().unwrap_or_else(PoisonError::into_inner);
        self.changed();
        if self.is_marked() {
            return;
        }
        if fs::write(self.path.join(MARK), b"").is_err() {
            // A full disk still permits removals. Without an index the cache is not used.
            let _ = fs::remove_file(self.path.join(INDEX));
        }
        self.is_marked.store(true, Ordering::Relaxed);
    }

    /// Records to write for `tables`.
    pub(super) fn records(&self, tables: &BTreeMap<Feed, Table>) -> Records {
        Records {
            changes: self.changes.load(Ordering::Relaxed),
            tables: tables.clone(),
        }
    }

    /// Removes the mark after `records` were written, if nothing has changed since. `lock` takes the lock of the store.
    pub(super) fn unmark<G>(&self, records: &Records, lock: impl FnOnce() -> G) {
        let _marking = self.marking.lock().unwrap_or_else(PoisonError::into_inner);
        let store = lock();
        if self.changes.load(Ordering::Relaxed) != records.changes {
            return;
        }
        // From here on a change is marked anew, after this.
        self.is_marked.store(false, Ordering::Relaxed);
        drop(store);
        match fs::remove_file(self.path.join(MARK)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                self.is_marked.store(true, Ordering::Relaxed);
            }
            _ => {}
        }
    }

    /// Writes `records` to the directory. True when that succeeded.
    pub(super) fn write(&self, records: &Records) -> bool {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let result = self.try_write(records, &mut written);
        let is_written = result.is_ok();
        self.tell(result.err());
        is_written
    }

    fn try_write(&self, records: &Records, written: &mut Written) -> Result<(), Error> {
        self.make()?;
        if !fs::exists(self.path.join(INDEX)).unwrap_or(false) {
            // The directory may have been emptied; or the mark could not be created because the
            // disk is full: then existing files are not written again.
            written.retain(|path, _| fs::exists(path).unwrap_or(false));
        }
        let mut index = Index {
            version: VERSION,
            node: self.node.clone(),
            tables: Vec::new(),
        };
        let mut wanted = BTreeSet::new();
        for (feed, table) in &records.tables {
            let mut indexed = IndexedTable {
                feed: feed.clone(),
                is_whole: table.is_whole,
                files: BTreeMap::new(),
                own: BTreeMap::new(),
            };
            for (key, entry) in &table.entries {
                if let Some(Item::Own(network)) = &entry.item {
                    indexed.own.insert(key.clone(), network.clone());
                    continue;
                }
                let Some(item) = &entry.item else { continue };
                let Some(path) = self.file(feed, key) else {
                    // An object that cannot be written is missing after a restart.
                    indexed.is_whole = false;
                    continue;
                };
                let known = written
                    .get(&path)
                    .filter(|(stamp, _)| *stamp == entry.stamp);
                let checksum = match known {
                    Some((_, checksum)) => *checksum,
                    None => {
                        let (bytes, checksum) = record::encode(item);
                        atomic::write_unsettled(&path, &bytes)?;
                        written.insert(path.clone(), (entry.stamp, checksum));
                        checksum
                    }
                };
                indexed.files.insert(key.clone(), checksum);
                wanted.insert(path);
            }
            index.tables.push(indexed);
        }
        for name in DIRECTORIES {
            atomic::settle(&self.path.join(name))?;
        }
        let json = serde_json::to_vec(&index).unwrap_or_default();
        atomic::write(&self.path.join(INDEX), &seal(&json).0)?;
        written.retain(|path, _| {
            let is_wanted = wanted.contains(path);
            if !is_wanted {
                // A file that stays is in no index.
                let _ = fs::remove_file(path);
            }
            is_wanted
        });
        Ok(())
    }

    /// Reads the directory, and removes unusable files.
    fn load(&self) -> BTreeMap<Feed, Table> {
        let index = fs::read(self.path.join(INDEX)).unwrap_or_default();
        let index = unseal(&index).map(|(json, _)| serde_json::from_slice(json));
        let index: Index = index.and_then(Result::ok).unwrap_or_default();
        let is_ours = index.version == VERSION && index.node == self.node;
        let is_marked = fs::exists(self.path.join(MARK)).unwrap_or(true);
        self.is_marked.store(is_marked, Ordering::Relaxed);
        let mut written = Written::new();
        let mut tables = BTreeMap::new();
        let mut is_exact = is_ours && !is_marked;
        for indexed in index.tables.into_iter().filter(|_| is_ours) {
            let feed = indexed.feed.clone();
            tables.insert(feed, self.read(indexed, &mut written, &mut is_exact));
        }
        if !is_exact {
            for (feed, table) in &mut tables {
                table.is_whole &= matches!(feed, Feed::Network(_));
            }
        }
        self.sweep(&written);
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = written;
        tables
    }

    fn read(&self, indexed: IndexedTable, written: &mut Written, is_exact: &mut bool) -> Table {
        let mut table = Table {
            is_whole: indexed.is_whole,
            ..Table::default()
        };
        for (key, network) in indexed.own {
            let item = Some(Item::Own(network));
            table.entries.insert(key, Entry::known(item, 0));
        }
        for (key, expected) in indexed.files {
            let path = self.file(&indexed.feed, &key);
            let read = path.as_ref().and_then(|path| read(path, &indexed.feed));
            let (Some(path), Some((item, checksum))) = (path, read) else {
                table.is_whole = false;
                *is_exact = false;
                continue;
            };
            *is_exact &= checksum == expected;
            let stamp = written.len() as u64 + 1;
            written.insert(path, (stamp, checksum));
            let item = item.sharing(&mut self.values());
            table.entries.insert(key, Entry::known(Some(item), stamp));
        }
        table
    }

    /// Removes temporary files, and files that the index does not list.
    fn sweep(&self, written: &Written) {
        for name in DIRECTORIES {
            let entries = fs::read_dir(self.path.join(name));
            for entry in entries.into_iter().flatten().flatten() {
                let path = entry.path();
                let is_damaged = path.extension().is_some_and(|end| end == "damaged");
                if !is_damaged && !written.contains_key(&path) {
                    let _ = fs::remove_file(path);
                }
            }
        }
    }

    /// Path of an object's file; `None` when its key is no valid file name.
    fn file(&self, feed: &Feed, key: &str) -> Option<PathBuf> {
        let directory = match feed {
            Feed::Own | Feed::Network(_) => "forwarders",
            Feed::Topologies => "topologies",
            Feed::Nodes => "nodes",
            Feed::Pods => "pods",
        };
        let is_plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_name = (1..=super::read::KEY_MAX).contains(&key.len())
            && !key.starts_with('.')
            && key.bytes().all(|byte| is_plain(byte) || byte == b'.');
        is_name.then(|| self.path.join(directory).join(format!("{key}.json")))
    }

    /// Logs a failure of the disk once, and its recovery once.
    fn tell(&self, error: Option<Error>) {
        let problem = error.map(|error| super::health::chain(&error));
        let before = self.health.set_not_kept(problem.clone());
        let path = self.path.display();
        match problem {
            Some(error) if before.is_none() => {
                tracing::warn!(%path, error, "object cache not written");
            }
            None if before.is_some() => {
                tracing::info!(%path, "object cache written again");
            }
            _ => {}
        }
    }
}

/// Item and checksum of a file. A damaged file is renamed.
fn read(path: &Path, feed: &Feed) -> Option<(Item, u32)> {
    let bytes = fs::read(path).ok()?;
    let read = record::decode(&bytes, feed);
    if read.is_none() {
        tracing::warn!(path = %path.display(), "damaged file of the object cache set aside");
        // A file that stays is damaged at the next read too.
        let _ = fs::rename(path, path.with_extension("damaged"));
    }
    read
}
