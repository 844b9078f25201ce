//! The walk of a failure: from a link that falls in a Forwarder to another node's kernel, in at most six rooms and in one direction.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms in the order of the walk, each with the modules of this crate that it may import. The peer's `link_state` is the fourth
/// room's far end; `dataplane` is a crate below.
#[rustfmt::skip]
const ROOMS: &[(&str, &[&str])] = &[
    // dataplane::monitor hands events to the thread that waits for them.
    ("run/monitor.rs",      &["error", "mailbox", "routing::failover"]),
    ("routing/failover.rs", &["error", "mailbox", "routing::link_state"]),
    ("routing/link_state",  &["error"]),
    ("flooding",            &["attach::admission", "error", "objects", "routing::link_state"]),
    ("routing",             &["attach", "error", "host::netns_registry", "mailbox", "objects", "telemetry"]),
];

fn sources(room: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(room);
    if root.is_file() {
        return vec![root];
    }
    let own = root.with_extension("rs");
    let mut found: Vec<PathBuf> = own.is_file().then_some(own).into_iter().collect();
    let mut directories = vec![root];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a room").flatten() {
            let path = entry.path();
            match path.is_dir() {
                true => directories.push(path),
                false => found.push(path),
            }
        }
    }
    let is_test = |path: &Path| path.to_string_lossy().contains("tests");
    found.retain(|path| path.extension().is_some_and(|it| it == "rs") && !is_test(path));
    found
}

/// The modules of this crate that production code names, up to two levels.
fn imports(path: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(path).expect("a source file");
    let code = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default();
    let code = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let code: String = code.collect::<Vec<_>>().join("\n");
    let named = code.split("crate::").skip(1).map(|rest| {
        let path: String = rest
            .chars()
            .take_while(|it| it.is_ascii_lowercase() || "_:".contains(*it))
            .collect();
        let names: Vec<&str> = path.split("::").filter(|it| !it.is_empty()).collect();
        names[..names.len().min(2)].join("::")
    });
    named.collect()
}

#[test]
fn a_failure_crosses_six_rooms_in_one_direction() {
    for (room, allowed) in ROOMS {
        for path in sources(room) {
            let found = imports(&path);
            let own = room.trim_end_matches(".rs").replace('/', "::");
            let is_allowed = |name: &String| {
                let is_of = |module: &str| {
                    *name == module
                        || name.starts_with(&format!("{module}::"))
                        || module.starts_with(&format!("{name}::"))
                };
                is_of(&own) || allowed.iter().any(|module| is_of(module))
            };
            let wrong: Vec<&String> = found.iter().filter(|name| !is_allowed(name)).collect();
            assert!(wrong.is_empty(), "{} imports {wrong:?}", path.display());
        }
    }
}

#[test]
fn no_file_is_watched_on_the_walk() {
    for (room, _) in ROOMS {
        for path in sources(room) {
            let text = fs::read_to_string(&path).expect("a source file");
            assert!(!text.contains("file_watch"), "{}", path.display());
        }
    }
}

#[test]
fn the_walk_is_written_down_with_at_most_six_rooms() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../ARCHITECTURE.md");
    let text = fs::read_to_string(path).expect("ARCHITECTURE.md");
    let (_, walk) = text
        .split_once("## The walk of a failure\n")
        .expect("the walk has a section");
    let walk = walk.split("\n## ").next().unwrap_or_default();
    let rooms: Vec<&str> = walk
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(1)
        .collect();
    let rooms: Vec<&&str> = rooms
        .iter()
        .filter(|line| !line.starts_with("| -"))
        .collect();
    assert!((4..=6).contains(&rooms.len()), "{rooms:?}");
    for name in [
        "monitor",
        "failover",
        "link_state",
        "flooding",
        "routing",
        "Fib",
    ] {
        assert!(rooms.iter().any(|line| line.contains(name)), "{name}");
    }
}
