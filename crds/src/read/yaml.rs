//! YAML parser with bounds on time and memory.

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;
use serde_path_to_error::Track;

use crate::Problem;

/// Values of all kinds together: a link written in full is eleven.
const MAX_NODES: usize = 1_500_000;

/// The documents in `text`, empty ones left out.
///
/// # Errors
/// The first thing that is no YAML, is too much, or is a field given twice.
pub(super) fn documents(text: &[u8]) -> Result<Vec<Value>, Problem> {
    let documents = serde_saphyr::from_slice_multiple_with_options::<Document>(text, options());
    match documents {
        Ok(documents) => Ok(documents.into_iter().map(|document| document.0).collect()),
        Err(error) => Err(problem(&error.to_string())),
    }
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: MAX_NODES,
            max_events: 2 * MAX_NODES,
            max_documents: 256,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_recorded_anchor_events: 10_000,
        },
        // `y` is a fine name here; kubectl takes it for a boolean unless it is quoted, and refuses it itself.
        strict_booleans: true,
        with_snippet: false,
        emit_comments: false,
    }
}

/// A value that says at which path reading it failed.
struct Document(Value);

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Document, D::Error> {
        let mut track = Track::new();
        let tracked = serde_path_to_error::Deserializer::new(deserializer, &mut track);
        match Value::deserialize(tracked) {
            Ok(value) => Ok(Document(value)),
            // The library owns the error type, so the path travels in the text.
            Err(error) => Err(D::Error::custom(format!(
                "{}{SEPARATOR}{error}",
                track.path()
            ))),
        }
    }
}

const SEPARATOR: char = '\u{a6}';

fn problem(error: &str) -> Problem {
    let (path, error) = error.split_once(SEPARATOR).unwrap_or(("", error));
    let path = path.trim_end_matches(['?', '.']);
    let (message, place) = error.rsplit_once(" at line ").unwrap_or((error, ""));
    let line = place.split_once(',').map_or(place, |(line, _)| line);
    if let Some(rest) = message.strip_prefix("duplicate mapping key: ") {
        let key = rest.split_once(", set ").map_or(rest, |(key, _)| key);
        let path = if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        };
        return Problem::new(
            path,
            format!("duplicate field (given again in line {line})"),
        );
    }
    if message.contains("budget breached") {
        let message = "too much: expected a topology, found more values, nesting or aliases";
        return Problem::new("", format!("{message} than one can need (line {line})"));
    }
    let place = if line.is_empty() {
        String::new()
    } else {
        format!(" in line {line}")
    };
    Problem::new(path, format!("expected YAML{place}: {message}"))
}
