//! Labs on the same host, whose namespaces are not the node's, whatever their names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Directory of the host administrator's labs, one subdirectory each.
pub const DIRECTORY: &str = "/run/beemesh/lab";
/// Journal file of a lab: names of its network namespaces, one a line, each written before the
/// namespace is created.
pub const JOURNAL: &str = "journal";

/// Names in a lab's journal. A truncated last line names a namespace that was not created.
pub fn journaled(lab: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(lab.join(JOURNAL)).unwrap_or_default();
    let whole = text
        .split_inclusive('\n')
        .filter_map(|line| line.strip_suffix('\n'));
    whole.map(str::to_owned).collect()
}

/// Labs whose namespaces a daemon leaves alone.
#[derive(Clone, Debug, Default)]
pub struct Labs {
    /// Directory of the labs, one subdirectory each; `None` for none.
    directory: Option<PathBuf>,
}

impl Labs {
    /// Labs below `directory`.
    pub fn below(directory: &Path) -> Labs {
        Labs {
            directory: Some(directory.to_owned()),
        }
    }

    /// Labs that a daemon leaves alone, with its objects from a directory or from a cluster: none for the daemon of a lab,
    /// whose `up` has made sure that its namespaces are its own.
    pub fn beside(objects: Option<&Path>) -> Labs {
        let lab = objects.and_then(Path::parent);
        match lab.is_some_and(|lab| lab.join(JOURNAL).exists()) {
            true => Labs::default(),
            false => Labs::below(Path::new(DIRECTORY)),
        }
    }

    /// Namespaces of all labs, with the name of the lab.
    pub fn namespaces(&self) -> BTreeMap<String, String> {
        let labs = self.directory.iter().flat_map(fs::read_dir);
        let named = labs.flatten().flatten().flat_map(|lab| {
            let name = lab.file_name().to_string_lossy().into_owned();
            let names = journaled(&lab.path()).into_iter();
            names.map(move |netns| (netns, name.clone()))
        });
        named.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_last_line_of_a_journal_names_no_namespace() {
        let lab = tempfile::tempdir().unwrap();
        assert!(journaled(lab.path()).is_empty(), "no journal yet");
        fs::write(lab.path().join(JOURNAL), "bm-a\nbmh-b\nbm-c").unwrap();
        let names: Vec<String> = journaled(lab.path()).into_iter().collect();
        assert_eq!(names, ["bm-a", "bmh-b"]);
    }

    #[test]
    fn a_labs_own_daemon_leaves_no_lab_alone_and_any_other_does() {
        let labs = tempfile::tempdir().unwrap();
        let lab = labs.path().join("default.iot");
        fs::create_dir(&lab).unwrap();
        fs::write(lab.join(JOURNAL), "bm-a\n").unwrap();
        let namespaces = Labs::below(labs.path()).namespaces();
        assert_eq!(namespaces["bm-a"], "default.iot");
        let of_lab = Labs::beside(Some(&lab.join("directory")));
        assert_eq!(of_lab.directory, None);
        let other = Labs::beside(Some(&labs.path().join("directory")));
        assert_eq!(other.directory.as_deref(), Some(Path::new(DIRECTORY)));
    }
}
