//! Doc comments name their subject first: a reader searches for nouns.

use architecture::{members, sources};

/// Beginnings of a doc comment that say nothing of its subject.
const RIDDLES: [&str; 17] = [
    "What",
    "Whether",
    "Who",
    "Whose",
    "Those",
    "How",
    "Where",
    "Which",
    "Why",
    "That",
    "Anything",
    "Everything",
    "Nothing",
    "Something",
    "Somebody",
    "Nobody",
    "Told",
];

/// Such comments that are still there, over all crates. The number only falls.
const LEFT: usize = 77;

#[test]
fn doc_comments_begin_with_their_subject() {
    let mut found = Vec::new();
    for source in members().iter().flat_map(|folder| sources(folder)) {
        let mut is_inside = false;
        for (number, line) in source.text.lines().enumerate() {
            let line = line.trim_start();
            let comment = line
                .strip_prefix("/// ")
                .or_else(|| line.strip_prefix("//! "));
            let first = comment
                .filter(|_| !is_inside)
                .and_then(|comment| comment.split(' ').next());
            is_inside = comment.is_some() || line == "///" || line == "//!";
            if first.is_some_and(|word| RIDDLES.contains(&word)) {
                found.push(format!("{}:{}: {line}", source.path.display(), number + 1));
            }
        }
    }
    assert!(
        found.len() <= LEFT,
        "{} doc comments begin with {RIDDLES:?}, {LEFT} did:\n{}",
        found.len(),
        found.join("\n")
    );
}
