//! Directory of a lab: declared objects, existing parts, and parts to remove.
//!
//! ```text
//! BASE/<namespace>.<topology>/
//!   lock                 held while something is changed
//!   journal              names of namespaces, each written before it is made
//!   lab.json             hosts, instances, faults: the Record, replaced as a whole
//!   directory/           forwarders/ nodes/ status/, which the daemons watch
//!   key                  with it the daemons exchange link states
//!   nodes/<node>/        cni.sock, log, pid, state/, run/
//! ```

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crds::Forwarder;
use node::host::labs;
use store::atomic;
pub(crate) use store::lock::Lock;
use store::lock::LockError;

use crate::state::names;
use crate::state::paths::Place;
pub(crate) use crate::state::record::{Burn, Direction, Faults, Host, Instance, Limit, Record};
use console::failure::Failure;

/// The directory of one lab.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// Directory of the lab of this topology, running or not.
    pub(crate) fn of(place: &Place, namespace: &str, topology: &str) -> Directory {
        Directory {
            path: place.base.join(names::lab_directory(namespace, topology)),
        }
    }

    /// Directories of all labs of this user.
    pub(crate) fn all(place: &Place) -> Vec<Directory> {
        let Ok(entries) = fs::read_dir(&place.base) else {
            return Vec::new();
        };
        let mut all: Vec<Directory> = entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| Directory { path: entry.path() })
            .collect();
        all.sort_by(|one, other| one.path.cmp(&other.path));
        all
    }

    /// Name of the lab: `NAMESPACE.TOPOLOGY`.
    pub(crate) fn name(&self) -> String {
        let name = self.path().file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Path of the directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// True when the directory exists.
    pub(crate) fn exists(&self) -> bool {
        self.path.exists()
    }

    /// True when namespaces may exist. Without a journal the directory holds only a queued DEL of a
    /// plugin that was called after the lab was gone.
    pub(crate) fn is_lab(&self) -> bool {
        self.path.join(labs::JOURNAL).exists()
    }

    /// Directory that the daemons watch.
    pub fn objects(&self) -> PathBuf {
        self.path.join("directory")
    }

    /// The Forwarder objects.
    pub(crate) fn forwarders(&self) -> PathBuf {
        self.objects().join("forwarders")
    }

    /// Directory of the statuses that the daemons report.
    pub(crate) fn status(&self) -> PathBuf {
        self.objects().join("status")
    }

    /// Files of one node's daemon.
    pub fn node(&self, node: &str) -> PathBuf {
        self.path.join("nodes").join(names::node_directory(node))
    }

    /// Runtime directory of a node's daemon: its snapshot of link states.
    pub fn run(&self, node: &str) -> PathBuf {
        self.node(node).join("run")
    }

    /// Path of the mesh key for link-state flooding.
    pub(crate) fn key(&self) -> PathBuf {
        self.path.join("key")
    }

    /// Creates the mesh key, unless it exists.
    ///
    /// # Errors
    /// Errors of the file system.
    pub(crate) fn make_key(&self) -> io::Result<()> {
        use std::io::Read;
        use std::os::unix::fs::OpenOptionsExt;
        let key = self.key();
        if key.exists() {
            return Ok(());
        }
        let mut bytes = [0_u8; 32];
        fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let temporary = self.path.join(format!(".key.{}.tmp", std::process::id()));
        let mut file = OpenOptions::new();
        file.write(true).create(true).truncate(true).mode(0o600);
        file.open(&temporary)?.write_all(text.as_bytes())?;
        fs::rename(&temporary, &key)
    }

    /// Socket on which the daemon of `node` serves the plugin.
    pub fn socket(&self, node: &str) -> PathBuf {
        self.node(node).join("cni.sock")
    }

    /// Takes the lock, and creates the directory on demand; waits for another holder.
    ///
    /// # Errors
    /// [`Failure::TimedOut`] after `limit`; [`Failure::Failed`] when the directory cannot be
    /// created.
    pub(crate) fn lock(&self, limit: Duration) -> Result<Lock, Failure> {
        Lock::take(&self.path, limit).map_err(|error| match error {
            LockError::InUse { path } => Failure::TimedOut(format!(
                "another `beemesh lab` has been at work on {} for {} s",
                path.display(),
                limit.as_secs()
            )),
            error => Failure::failed(&error),
        })
    }

    /// Record of the lab; `None` without a lab, or before its first write.
    ///
    /// # Errors
    /// [`Failure::Failed`] when the file exists and is unreadable.
    pub(crate) fn record(&self) -> Result<Option<Record>, Failure> {
        let path = self.path.join("lab.json");
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| Failure::Failed(format!("{}: {error}", path.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("read", &error)),
        }
    }

    /// Replaces the record.
    ///
    /// # Errors
    /// [`Failure::Failed`] when it cannot be written.
    pub(crate) fn write_record(&self, record: &Record) -> Result<(), Failure> {
        let bytes = serde_json::to_vec_pretty(record)
            .map_err(|error| Failure::Failed(format!("failed to encode the lab: {error}")))?;
        atomic::publish(&self.path.join("lab.json"), &bytes)
            .map_err(|error| self.failed("write", &error.source))
    }

    /// Records the names of namespaces that are about to be created.
    ///
    /// # Errors
    /// [`Failure::Failed`] when they cannot be written: then nothing may be created.
    pub(crate) fn journal<'a>(
        &self,
        netns: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), Failure> {
        let mut lines = String::new();
        for name in netns {
            lines.push_str(name);
            lines.push('\n');
        }
        let mut options = OpenOptions::new();
        let file = options
            .create(true)
            .append(true)
            .open(self.path.join(labs::JOURNAL));
        // No fsync: a crash that loses the page cache ends the namespaces too.
        file.and_then(|mut file| file.write_all(lines.as_bytes()))
            .map_err(|error| self.failed("write the journal of", &error))
    }

    /// All names in the journal.
    pub(crate) fn journaled(&self) -> BTreeSet<String> {
        let mut names = labs::journaled(&self.path);
        names.retain(|name| is_ours(name));
        names
    }

    /// Written Forwarder objects, sorted by name.
    ///
    /// # Errors
    /// [`Failure::Failed`] naming the invalid file.
    pub(crate) fn read_forwarders(&self) -> Result<Vec<Forwarder>, Failure> {
        let entries = match fs::read_dir(self.forwarders()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.failed("list", &error)),
        };
        let mut forwarders = Vec::new();
        for path in entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| is_object(path))
        {
            let wrong = |error: String| Failure::Failed(format!("{}: {error}", path.display()));
            let text = fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
            let forwarder: Forwarder =
                serde_saphyr::from_str(&text).map_err(|error| wrong(error.to_string()))?;
            forwarders.push(forwarder);
        }
        forwarders.sort_by(|one, other| one.spec.name.cmp(&other.spec.name));
        Ok(forwarders)
    }

    /// Removes all files but the lock, the journal last: it lists the remaining parts.
    ///
    /// # Errors
    /// [`Failure::Failed`] when a file cannot be removed.
    pub(crate) fn empty(&self) -> Result<(), Failure> {
        for name in ["directory", "nodes"] {
            match fs::remove_dir_all(self.path.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(self.failed("empty", &error));
                }
                _ => {}
            }
        }
        for name in ["lab.json", "journal"] {
            match fs::remove_file(self.path.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(self.failed("empty", &error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes the directory.
    ///
    /// # Errors
    /// [`Failure::Failed`] when a file cannot be removed.
    pub(crate) fn remove(&self) -> Result<(), Failure> {
        for attempt in 0.. {
            match fs::remove_dir_all(&self.path) {
                Ok(()) => break,
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                // A file was written meanwhile.
                Err(_) if attempt < 10 => std::thread::sleep(Duration::from_millis(10)),
                Err(error) => return Err(self.failed("remove", &error)),
            }
        }
        Ok(())
    }

    fn failed(&self, what: &str, error: &io::Error) -> Failure {
        Failure::Failed(format!("failed to {what} {}: {error}", self.path.display()))
    }
}

/// Removes empty parent directories of labs.
pub(crate) fn remove_empty_parents(place: &Place) {
    for directory in place.base.ancestors().take(2) {
        // Not empty, or absent: both are fine.
        let _ = fs::remove_dir(directory);
    }
}

/// True for a name that only the lab or its daemons use.
fn is_ours(name: &str) -> bool {
    let prefixes = ["bm-", "bmu-", "bmh-", "bma-"];
    prefixes.iter().any(|prefix| name.starts_with(prefix)) && !name.contains('/')
}

/// True for a YAML file that is not being written.
pub(crate) fn is_object(path: &Path) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    name.ends_with(".yaml") && !name.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> (tempfile::TempDir, Directory) {
        let base = tempfile::tempdir().unwrap();
        let place = Place {
            base: base.path().to_owned(),
            is_privileged: true,
        };
        (base, Directory::of(&place, "plant", "iot"))
    }

    #[test]
    fn the_journal_keeps_only_names_that_the_lab_gives() {
        let (_base, directory) = directory();
        let _lock = directory.lock(Duration::ZERO).unwrap();
        directory.journal(["bm-a", "bma-b"]).unwrap();
        directory
            .journal(["bmh-c", "../etc", "eth0", "bm-a"])
            .unwrap();
        let names: Vec<String> = directory.journaled().into_iter().collect();
        assert_eq!(names, ["bm-a", "bma-b", "bmh-c"]);
    }

    #[test]
    fn one_at_a_time_changes_a_lab() {
        let (_base, directory) = directory();
        let lock = directory.lock(Duration::ZERO).unwrap();
        assert!(matches!(
            directory.lock(Duration::ZERO),
            Err(Failure::TimedOut(_))
        ));
        drop(lock);
        directory.lock(Duration::ZERO).unwrap();
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let (_base, directory) = directory();
        assert_eq!(directory.record().unwrap(), None);
        let _lock = directory.lock(Duration::ZERO).unwrap();
        let mut record = Record {
            topology: "iot".to_owned(),
            ..Record::default()
        };
        record.faults.cut.insert("a/b#2".to_owned());
        directory.write_record(&record).unwrap();
        assert_eq!(directory.record().unwrap(), Some(record));
    }
}
