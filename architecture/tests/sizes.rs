//! Budgets: a reader finds a place from a short list, and no crate or folder takes in everything.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use architecture::{Source, members, root, sources};

/// Production lines of a crate.
const CRATE: usize = 12_000;
/// Production lines of the files of one folder, without folders below it.
const FOLDER: usize = 2_500;
/// Entries of one folder. A module that is a file and a folder of the same name counts once.
const ENTRIES: usize = 14;

/// Exceptions: name, ceiling. Each is a room still to be divided; ceilings only fall.
type Exceptions = &'static [(&'static str, usize)];

// Ceilings rose for suspect links, and the node's for labs on the same host.
const LARGE_CRATES: Exceptions = &[("node", 19_410), ("operator", 12_310)];

const LARGE_FOLDERS: Exceptions = &[
    ("crds/src", 3_050),
    ("e2e/src", 3_110),
    ("e2e/src/cluster", 2_700),
    ("e2e/src/stories", 2_650),
    ("operator/src/observe", 2_790),
    ("operator/src/plan", 2_530),
    ("topology/src", 2_900),
];

const CROWDED: Exceptions = &[
    ("crds/src", 26),
    // One file is one case of the corpus.
    ("crds/tests/corpus/bad", 999),
    ("crds/tests/corpus/good", 999),
    ("ctl/src", 31),
    ("dataplane/src", 20),
    ("e2e/src", 26),
    ("e2e/src/cluster", 20),
    ("e2e/src/stories", 23),
    ("node/src", 15),
    ("node/tests/kernel", 18),
    ("node/tests/kubernetes", 16),
    ("operator/tests/apiserver", 15),
    ("operator/tests/chart", 17),
    // One file is one step of a golden story.
    ("operator/tests/plan/stories/nodes", 99),
    ("operator/tests/plan/stories/revisions", 99),
    ("operator/tests/plan/stories/ring", 99),
    ("operator/tests/plan/stories/twice", 99),
    ("operator/tests/resilience", 15),
    ("topology/src", 16),
];

/// Places over `budget` that no exception covers, and exceptions that are needed no longer.
fn over(sizes: &BTreeMap<String, usize>, budget: usize, exceptions: Exceptions) -> Vec<String> {
    let exceptions: BTreeMap<&str, usize> = exceptions.iter().copied().collect();
    let limit = |name: &String| exceptions.get(name.as_str()).copied().unwrap_or(budget);
    let over = sizes.iter().filter(|(name, size)| **size > limit(name));
    let over = over.map(|(name, size)| format!("{name} has {size}, {} are allowed", limit(name)));
    let is_small = |name: &&&str| sizes.get(**name).is_none_or(|size| *size <= budget);
    let needless = exceptions.keys().filter(is_small);
    let needless = needless.map(|name| format!("{name} is within {budget} and needs no exception"));
    over.chain(needless).collect()
}

#[test]
fn no_crate_has_more_lines_than_its_budget() {
    let lines = |folder: &String| sources(folder).iter().map(Source::lines).sum();
    let sizes = members()
        .iter()
        .map(|folder| (folder.clone(), lines(folder)))
        .collect();
    assert_eq!(
        over(&sizes, CRATE, LARGE_CRATES),
        [""; 0],
        "production lines"
    );
}

#[test]
fn no_folder_has_more_lines_than_its_budget() {
    let mut sizes: BTreeMap<String, usize> = BTreeMap::new();
    for source in members().iter().flat_map(|folder| sources(folder)) {
        let folder = source.path.parent().unwrap_or(Path::new(""));
        *sizes.entry(folder.display().to_string()).or_default() += source.lines();
    }
    assert_eq!(
        over(&sizes, FOLDER, LARGE_FOLDERS),
        [""; 0],
        "production lines"
    );
}

#[test]
fn no_folder_has_more_entries_than_its_budget() {
    let mut sizes = BTreeMap::new();
    for folder in members() {
        for part in ["src", "tests"] {
            count(&root().join(&folder).join(part), &mut sizes);
        }
    }
    assert_eq!(over(&sizes, ENTRIES, CROWDED), [""; 0], "entries");
}

fn count(directory: &Path, sizes: &mut BTreeMap<String, usize>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    let paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    let mut twins = 0;
    for folder in paths.iter().filter(|path| path.is_dir()) {
        twins += usize::from(paths.contains(&folder.with_extension("rs")));
        count(folder, sizes);
    }
    let name = directory.strip_prefix(root()).expect("below the root");
    sizes.insert(name.display().to_string(), paths.len() - twins);
}
