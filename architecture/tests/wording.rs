//! Doc comments name their subject first: a reader searches for nouns.

use architecture::{members, sources};

/// Beginnings of a doc comment that say nothing of its subject.
const RIDDLES: [&str; 21] = [
    "What",
    "Whether",
    "Who",
    "Whose",
    "Whom",
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
    "It",
    "There",
    "Someone",
];

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
        found.is_empty(),
        "doc comments that begin with {RIDDLES:?}, not with the noun of what they describe:\n{}",
        found.join("\n")
    );
}
