//! Namespaces of labs on the same host, which the census skips.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

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

/// Namespaces of all labs below [`DIRECTORY`].
pub(super) fn namespaces() -> BTreeSet<String> {
    let labs = fs::read_dir(DIRECTORY).into_iter().flatten().flatten();
    labs.flat_map(|lab| journaled(&lab.path())).collect()
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
}
