//! Modules of a crate, and those of each room, form layers: no two use one another, not even over others.

use std::collections::BTreeSet;

use architecture::modules::{circles, edges, room};
use architecture::{Source, members, sources};

/// Circles that are still to be opened. The list only shrinks.
const OPEN: &[&str] = &["ctl/status: advice, one"];

#[test]
fn no_crate_has_a_circle_of_modules_beyond_those_named() {
    let mut found = BTreeSet::new();
    for folder in members() {
        let sources = sources(&folder);
        note(&mut found, &folder, &sources);
        let rooms: BTreeSet<&String> = sources.iter().filter_map(|it| it.module.first()).collect();
        for name in rooms {
            note(
                &mut found,
                &format!("{folder}/{name}"),
                &room(&sources, name),
            );
        }
    }
    let open: BTreeSet<String> = OPEN.iter().map(|circle| (*circle).to_owned()).collect();
    let new: Vec<&String> = found.difference(&open).collect();
    assert!(new.is_empty(), "modules that use one another: {new:?}");
    let opened: Vec<&String> = open.difference(&found).collect();
    assert!(
        opened.is_empty(),
        "no circle any more, take it off the list: {opened:?}"
    );
}

fn note(found: &mut BTreeSet<String>, place: &str, sources: &[Source]) {
    for circle in circles(&edges(sources)) {
        found.insert(format!("{place}: {}", circle.join(", ")));
    }
}
