//! Conversion of a value into a topology, which goes on after a problem to find further ones.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;
use serde_path_to_error::Track;

use super::{
    fields, message,
    path::{self, Path, Removed, Step},
};
use crate::{MicroServiceTopology, Problem, error};

/// Values that are read, all attempts together: a document of the largest size is read a few times.
const MAX_WORK: usize = 4_000_000;
/// Unknown fields of one attempt that are kept.
const MAX_UNKNOWN: usize = error::MAX_PROBLEMS + 1;

/// Treatment of unknown fields.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    /// Each is a problem: every written field must have an effect.
    Refused,
    /// They are left out and returned: a newer version stored them.
    Ignored,
}

/// Reads one document; unknown fields are returned where they are ignored.
///
/// # Errors
/// Every unknown field and every value of a wrong type. A wrong value is reported and removed,
/// and the rest is read again; fields missing only because of that are not reported.
pub(super) fn read(
    mut document: Value,
    treatment: Unknown,
) -> Result<(MicroServiceTopology, BTreeSet<Path>), Vec<Problem>> {
    fields::remove_nulls(&mut document, "");
    let mut removed = Removed::default();
    let mut problems = BTreeSet::new();
    let mut ignored = BTreeSet::new();
    // The last ones first: taking them out does not move the others.
    for place in fields::misplaced_lists(&document).into_iter().rev() {
        problems.insert((place.clone(), "expected an object, found a list".to_owned()));
        removed.remove(&mut document, &place);
    }
    let attempts = (MAX_WORK / size(&document)).clamp(2, error::MAX_PROBLEMS);
    for _ in 0..attempts {
        let attempt = attempt(&document);
        for unknown in attempt.unknown {
            let unknown = removed.as_written(&unknown);
            if fields::is_written_by_server(&unknown) {
                continue;
            }
            match treatment {
                Unknown::Refused => problems.insert((unknown.clone(), fields::unknown(&unknown))),
                Unknown::Ignored => ignored.insert(unknown),
            };
        }
        let (place, error) = match attempt.result {
            Ok(topology) if problems.is_empty() => return Ok((topology, ignored)),
            Ok(_) => break,
            Err(failure) => failure,
        };
        let missing = message::missing_field(&error).map(|name| {
            let mut path = removed.as_written(&place);
            path.push(Step::Field(name.to_owned()));
            path
        });
        match missing {
            Some(path) if removed.has_field(&path) => {}
            Some(path) => drop(problems.insert((path, "required field is missing".to_owned()))),
            None => drop(problems.insert((removed.as_written(&place), message::plain(&error)))),
        }
        if !removed.remove(&mut document, &place) {
            break;
        }
    }
    let problem = |(path, message): (Path, String)| Problem::new(path::display(&path), message);
    Err(problems.into_iter().map(problem).collect())
}

struct Attempt {
    result: Result<MicroServiceTopology, (Path, String)>,
    unknown: Vec<Path>,
}

fn attempt(document: &Value) -> Attempt {
    let mut track = Track::new();
    let mut unknown = Vec::new();
    let tracked = serde_path_to_error::Deserializer::new(document, &mut track);
    let mut ignored = |path: serde_ignored::Path<'_>| {
        if unknown.len() < MAX_UNKNOWN {
            unknown.push(path::of_ignored(&path));
        }
    };
    let watched = serde_ignored::Deserializer::new(tracked, &mut ignored);
    let result = MicroServiceTopology::deserialize(watched).map_err(|error| error.to_string());
    let result = result.map_err(|error| (path::of_error(&track.path()), error));
    Attempt { result, unknown }
}

/// Number of values in `value`, itself included.
fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(entries) => entries.iter().map(size).sum(),
        Value::Object(fields) => fields.values().map(size).sum(),
        _ => 0,
    }
}
