//! DEL records: releases that did not reach the node, kept on disk until the node replays them.
//!
//! One file for each attachment, `<state dir>/del/<hash of the key>.json`, written to a temporary
//! name, fsynced and renamed, so that a record is whole or absent. A record that cannot be read is
//! set aside as `<name>.bad`, never deleted and never in the way of the others.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::node_protocol::{Key, Pod};

/// Age of a temporary file whose writer does not live any more: a DEL ends within a second.
const ABANDONED: Duration = Duration::from_secs(60);

/// DEL that the node has not received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Key of the attachment to release.
    pub key: Key,
    /// `CNI_NETNS` of the DEL, if it had one.
    #[serde(default)]
    pub netns: Option<String>,
    /// The pod, from `CNI_ARGS` of the DEL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Pod>,
}

/// The directory of records under `state_dir`.
pub fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join("del")
}

/// The file that holds the record of `key`.
pub fn path(state_dir: &Path, key: &Key) -> PathBuf {
    directory(state_dir).join(key.file_name())
}

/// Writes `record` so that it outlives a crash of the machine. Writing it again replaces it. Without a state directory there is
/// nothing to release: the node never had one, or beemesh was uninstalled from it.
///
/// # Errors
/// Whatever the file system says.
pub fn push(state_dir: &Path, record: &Record) -> io::Result<()> {
    match fs::create_dir(directory(state_dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let bytes = serde_json::to_vec(record)?;
    store::atomic::write(&path(state_dir, &record.key), &bytes).map_err(|error| error.source)
}

/// The records that could be read, with their files, and the files that could not.
pub type Listing = (Vec<(PathBuf, Record)>, Vec<PathBuf>);

/// Every record that can be read, with its file, in the order of file names. What cannot be read
/// is set aside and returned second.
///
/// # Errors
/// Whatever the file system says of the directory itself; an absent one is empty.
pub fn list(state_dir: &Path) -> io::Result<Listing> {
    let (mut records, mut garbage) = (Vec::new(), Vec::new());
    let entries = match fs::read_dir(directory(state_dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((records, garbage)),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let file = entry.path();
        if is_abandoned(&entry) {
            remove_file(&file)?;
            continue;
        }
        if file.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        match read(&file) {
            Ok(record) => records.push((file, record)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => {
                fs::rename(&file, file.with_extension("json.bad"))?;
                garbage.push(file);
            }
        }
    }
    records.sort_by(|a, b| a.0.cmp(&b.0));
    Ok((records, garbage))
}

/// Deletes the record of `key`; an absent one is success.
///
/// # Errors
/// Whatever the file system says.
pub fn remove(state_dir: &Path, key: &Key) -> io::Result<()> {
    remove_file(&path(state_dir, key))
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// True for the temporary file of a writer that was killed: one that lives has renamed it long since.
fn is_abandoned(entry: &fs::DirEntry) -> bool {
    let is_temporary = entry
        .path()
        .extension()
        .is_some_and(|extension| extension == "tmp");
    let written = || entry.metadata().and_then(|metadata| metadata.modified());
    let is_old = |written: SystemTime| written.elapsed().is_ok_and(|age| age > ABANDONED);
    is_temporary && written().is_ok_and(is_old)
}

fn read(file: &Path) -> io::Result<Record> {
    Ok(serde_json::from_slice(&fs::read(file)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_del_leaves_nothing_on_a_node_that_was_cleaned() {
        let directory = tempfile::tempdir().unwrap();
        let state_dir = directory.path().join("cni");
        push(&state_dir, &record("late")).unwrap();
        assert!(!state_dir.exists());
    }

    fn record(container_id: &str) -> Record {
        let key = Key {
            container_id: container_id.into(),
            ifname: "eth0".into(),
            network: "mesh".into(),
        };
        Record {
            key,
            netns: Some("/run/netns/a".into()),
            pod: None,
        }
    }

    #[test]
    fn keeps_one_record_for_each_attachment_until_it_is_removed() {
        let state_dir = tempfile::tempdir().unwrap();
        assert_eq!(
            list(state_dir.path()).unwrap(),
            (vec![], vec![]),
            "nothing was ever queued"
        );
        for container in ["a", "b", "a"] {
            push(state_dir.path(), &record(container)).unwrap();
        }
        let (records, garbage) = list(state_dir.path()).unwrap();
        assert_eq!((records.len(), garbage.len()), (2, 0));
        assert!(
            records
                .iter()
                .all(|(file, read)| *file == path(state_dir.path(), &read.key))
        );
        for _ in 0..2 {
            remove(state_dir.path(), &record("a").key).unwrap();
        }
        assert_eq!(list(state_dir.path()).unwrap().0[0].1, record("b"));
    }

    #[test]
    fn sets_garbage_aside_and_reads_the_rest() {
        let state_dir = tempfile::tempdir().unwrap();
        push(state_dir.path(), &record("a")).unwrap();
        let whole = fs::read(path(state_dir.path(), &record("a").key)).unwrap();
        let directory = directory(state_dir.path());
        for (name, bytes) in [
            ("0.json", &whole[..whole.len() / 2]),
            ("1.json", b"\xff"),
            ("2.json", b""),
        ] {
            fs::write(directory.join(name), bytes).unwrap();
        }
        fs::write(directory.join("3.json.17.tmp"), b"half").unwrap();
        let killed = directory.join("4.json.18.tmp");
        let old = SystemTime::now() - 2 * ABANDONED;
        fs::File::create(&killed)
            .unwrap()
            .set_modified(old)
            .unwrap();
        let (records, garbage) = list(state_dir.path()).unwrap();
        assert_eq!((records.len(), garbage.len()), (1, 3));
        assert!(directory.join("0.json.bad").exists());
        assert!(!killed.exists(), "what a killed writer left is swept");
        assert!(
            directory.join("3.json.17.tmp").exists(),
            "its writer may live"
        );
        assert_eq!(
            list(state_dir.path()).unwrap().1,
            Vec::<PathBuf>::new(),
            "once only"
        );
    }
}
