//! Reports as files of a directory that all nodes share, `<forwarder>.json`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{LinkStates, Report, Which};
use crate::error::Error;
use store::atomic;

/// The directory adapter of [`LinkStates`].
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    node: String,
    known: BTreeMap<String, Report>,
}

impl Directory {
    /// Uses the directory `path`, making it if need be, in the name of `node`.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be made.
    pub fn open(path: &Path, node: &str) -> Result<Directory, Error> {
        fs::create_dir_all(path).map_err(Error::file("create", path))?;
        Ok(Directory {
            path: path.to_owned(),
            node: node.to_owned(),
            known: BTreeMap::new(),
        })
    }

    /// Reads one report into `known`. True when that changed something.
    fn refresh(&mut self, forwarder: &str) -> bool {
        let path = file_of(&self.path, forwarder);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return self.known.remove(forwarder).is_some();
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "failed to read link states");
                return false;
            }
        };
        match serde_json::from_slice::<Report>(&bytes) {
            Ok(report) if self.known.get(forwarder) == Some(&report) => false,
            Ok(report) => {
                self.known.insert(forwarder.to_owned(), report);
                true
            }
            Err(error) => {
                // The last good report stands: garbage is no evidence against a link.
                tracing::warn!(path = %path.display(), %error, "link states are not readable");
                false
            }
        }
    }

    fn all_names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let present = entries.filter_map(|entry| forwarder_of(&entry.path()));
        let mut names: Vec<String> = present.chain(self.known.keys().cloned()).collect();
        names.sort();
        names.dedup();
        names
    }
}

/// The file of the directory `path` that is about a Forwarder.
pub(crate) fn file_of(path: &Path, forwarder: &str) -> PathBuf {
    path.join(format!("{forwarder}.json"))
}

/// Makes a report the file of a Forwarder, also where somebody removed the directory `path`.
///
/// # Errors
/// [`Error::File`]: try again.
pub(crate) fn write(path: &Path, forwarder: &str, report: &Report) -> Result<(), Error> {
    let bytes = serde_json::to_vec(report).unwrap_or_default();
    if !path.exists() {
        fs::create_dir_all(path).map_err(Error::file("create", path))?;
    }
    Ok(atomic::publish(&file_of(path, forwarder), &bytes)?)
}

/// The Forwarder that a file of the directory is about; none for temporary files.
pub fn forwarder_of(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?.strip_suffix(".json")?;
    (!name.starts_with('.')).then(|| name.to_owned())
}

impl LinkStates for Directory {
    fn read(&mut self, which: &Which) -> BTreeMap<String, Option<Report>> {
        let names = match which {
            Which::All => self.all_names(),
            Which::Some(names) => names.iter().cloned().collect(),
        };
        let mut changed = BTreeMap::new();
        for name in names {
            if self.refresh(&name) {
                let report = self.known.get(&name).cloned();
                changed.insert(name, report);
            }
        }
        changed
    }

    fn publish(&mut self, forwarder: &str, links: &BTreeMap<String, bool>) -> Result<bool, Error> {
        if !self.known.contains_key(forwarder) {
            self.refresh(forwarder);
        }
        let before = self.known.get(forwarder);
        if before.is_some_and(|report| report.origin == self.node && report.links == *links) {
            return Ok(false);
        }
        let seq = before.map_or(1, |report| report.seq + 1);
        let report = Report {
            origin: self.node.clone(),
            seq,
            links: links.clone(),
        };
        write(&self.path, forwarder, &report)?;
        self.known.insert(forwarder.to_owned(), report);
        Ok(true)
    }

    fn withdraw(&mut self, forwarder: &str) {
        self.refresh(forwarder);
        let is_another_nodes = |report: &Report| report.origin != self.node;
        if self.known.get(forwarder).is_some_and(is_another_nodes) {
            return;
        }
        self.known.remove(forwarder);
        // Absent is as good as removed.
        let _ = fs::remove_file(file_of(&self.path, forwarder));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(up: bool) -> BTreeMap<String, bool> {
        BTreeMap::from([("a/b".to_owned(), up)])
    }

    #[test]
    fn tells_others_what_changed_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let mut one = Directory::open(directory.path(), "n1").unwrap();
        let mut two = Directory::open(directory.path(), "n2").unwrap();
        assert!(one.publish("t.a", &links(true)).unwrap());
        assert!(!one.publish("t.a", &links(true)).unwrap());

        let changed = two.read(&Which::All);
        assert_eq!(changed["t.a"].as_ref().unwrap().links, links(true));
        assert!(two.read(&Which::All).is_empty());

        assert!(one.publish("t.a", &links(false)).unwrap());
        let changed = two.read(&Which::Some(["t.a".to_owned()].into()));
        assert_eq!(changed["t.a"].as_ref().unwrap().seq, 2);

        fs::write(directory.path().join("t.a.json"), b"{\"orig").unwrap();
        assert!(two.read(&Which::All).is_empty(), "garbage changes nothing");

        one.withdraw("t.a");
        assert_eq!(
            two.read(&Which::All),
            BTreeMap::from([("t.a".to_owned(), None)])
        );
    }

    #[test]
    fn goes_on_counting_after_a_restart_and_repeats_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Directory::open(directory.path(), "n1").unwrap();
        assert!(open().publish("t.a", &links(true)).unwrap());
        assert!(!open().publish("t.a", &links(true)).unwrap());
        let mut again = open();
        assert!(again.publish("t.a", &links(false)).unwrap());
        assert_eq!(again.known["t.a"].seq, 2);
    }
}
