//! YAML in, topologies out, or every problem with its place.
//!
//! ```text
//! bytes -> (size, UTF-8) -> yaml: documents as values -> typed: topology, or every problem
//! ```

mod fields;
mod message;
mod path;
mod typed;
mod yaml;

use std::{collections::BTreeSet, io::Read};

use serde_json::Value;

use self::typed::Unknown;

use crate::{API_VERSION, MicroServiceTopology, Problem, error, lint, suggest};

/// Largest input in bytes: room for 100,000 links written out.
pub const MAX_INPUT_BYTES: usize = 8 << 20;

/// Reads every topology in `text` (YAML, one or more documents). `file` is its name for messages.
///
/// # Errors
/// Every problem of structure, in order: unknown and duplicate fields, wrong types, wrong kind,
/// two topologies with one name, nothing at all. What is well formed but wrong is `lint`'s.
pub fn read(file: &str, text: &[u8]) -> Result<Vec<MicroServiceTopology>, Vec<Problem>> {
    let documents = match check_size(text).and_then(yaml::documents) {
        Ok(documents) => documents,
        Err(problem) => return Err(vec![problem.in_file(file)]),
    };
    if documents.is_empty() {
        let message = format!("expected a {}, found nothing", MicroServiceTopology::KIND);
        return Err(vec![Problem::new("", message).in_file(file)]);
    }
    let count = documents.len();
    let mut topologies = Vec::new();
    let mut problems = Vec::new();
    for (index, document) in documents.into_iter().enumerate() {
        match topology(document) {
            Ok(topology) => topologies.push(topology),
            Err(found) => problems.extend(in_document(found, file, index, count)),
        }
    }
    problems.extend(repeated(&topologies).map(|problem| problem.in_file(file)));
    if problems.is_empty() {
        Ok(topologies)
    } else {
        Err(error::bounded(problems))
    }
}

/// As [`read`], from a reader; stops after [`MAX_INPUT_BYTES`].
///
/// # Errors
/// As [`read`]; also when reading fails.
pub fn read_limited(
    file: &str,
    input: impl Read,
) -> Result<Vec<MicroServiceTopology>, Vec<Problem>> {
    let mut text = Vec::new();
    // One byte more than allowed shows that there is too much.
    match input
        .take(MAX_INPUT_BYTES as u64 + 1)
        .read_to_end(&mut text)
    {
        Ok(_) => read(file, &text),
        Err(cause) => {
            let message = format!("failed to read: {cause}");
            Err(vec![Problem::new("", message).in_file(file)])
        }
    }
}

/// [`read_limited`], then [`lint`](lint::lint) of every topology: what every `-f` asks for.
///
/// # Errors
/// Every problem found; those of `lint` only when the structure is sound.
pub fn load(file: &str, input: impl Read) -> Result<Vec<MicroServiceTopology>, Vec<Problem>> {
    let topologies = read_limited(file, input)?;
    let count = topologies.len();
    let mut problems = Vec::new();
    for (index, topology) in topologies.iter().enumerate() {
        problems.extend(in_document(lint::lint(topology), file, index, count));
    }
    if problems.is_empty() {
        Ok(topologies)
    } else {
        Err(error::bounded(problems))
    }
}

/// A topology as the API server stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The topology, as far as this version has its fields.
    pub topology: MicroServiceTopology,
    /// Paths of fields of `spec` that this version does not have, sorted, [`MAX_IGNORED`] at most.
    pub ignored: Vec<String>,
}

/// Most paths of [`Stored::ignored`].
pub const MAX_IGNORED: usize = 16;

/// Reads one topology strictly: an unknown field is a problem, as in a file. Status and metadata that is not the
/// user's are ignored.
///
/// # Errors
/// As [`read`], without a file.
pub fn from_value(mut document: Value) -> Result<MicroServiceTopology, Vec<Problem>> {
    fields::without_servers(&mut document);
    topology(document)
}

/// Reads one topology leniently, as the API server stores it: definitions of a newer version write the defaults of
/// fields that this version does not have into every object.
///
/// # Errors
/// As [`read`], without a file, and without unknown fields.
pub fn stored(mut document: Value) -> Result<Stored, Vec<Problem>> {
    fields::without_servers(&mut document);
    check_kind(&document)?;
    let (topology, unknown) = typed::read(document, Unknown::Ignored)?;
    let ignored = unknown.iter().take(MAX_IGNORED);
    Ok(Stored {
        topology,
        ignored: ignored.map(|path| path::display(path)).collect(),
    })
}

fn check_size(text: &[u8]) -> Result<&[u8], Problem> {
    if text.len() <= MAX_INPUT_BYTES {
        return Ok(text);
    }
    let limit = MAX_INPUT_BYTES >> 20;
    Err(Problem::new(
        "",
        format!("too large: expected at most {limit} MiB"),
    ))
}

fn topology(document: Value) -> Result<MicroServiceTopology, Vec<Problem>> {
    check_kind(&document)?;
    let (topology, _) = typed::read(document, Unknown::Refused)?;
    Ok(topology)
}

/// Of another kind nothing else is worth saying.
fn check_kind(document: &Value) -> Result<(), Vec<Problem>> {
    let Some(object) = document.as_object() else {
        let found = message::describe(document);
        let message = format!("expected a {}, found {found}", MicroServiceTopology::KIND);
        return Err(vec![Problem::new("", message)]);
    };
    let expected = [
        ("apiVersion", API_VERSION),
        ("kind", MicroServiceTopology::KIND),
    ];
    let problems: Vec<Problem> = expected
        .into_iter()
        .filter_map(|(field, wanted)| match object.get(field) {
            Some(Value::String(found)) if found == wanted => None,
            Some(Value::String(found)) => {
                let hint = suggest::hint(found, [wanted]);
                Some(Problem::new(
                    field,
                    format!("expected {wanted}, found {found:?}{hint}"),
                ))
            }
            Some(other) => {
                let found = message::describe(other);
                Some(Problem::new(
                    field,
                    format!("expected {wanted}, found {found}"),
                ))
            }
            None => Some(Problem::new(
                field,
                format!("required field is missing: {wanted}"),
            )),
        })
        .collect();
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems)
    }
}

/// Names the file, and the document where there are several.
fn in_document(
    problems: Vec<Problem>,
    file: &str,
    index: usize,
    count: usize,
) -> impl Iterator<Item = Problem> {
    let place = if count > 1 {
        format!("{file} (document {})", index + 1)
    } else {
        file.to_owned()
    };
    problems
        .into_iter()
        .map(move |problem| problem.in_file(&place))
}

fn repeated(topologies: &[MicroServiceTopology]) -> impl Iterator<Item = Problem> {
    let mut seen = BTreeSet::new();
    topologies.iter().filter_map(move |topology| {
        let metadata = &topology.metadata;
        let is_new = seen.insert((&metadata.namespace, &metadata.name));
        let name = format!("{}/{}", metadata.namespace, metadata.name);
        (!is_new).then(|| Problem::new("metadata.name", format!("duplicate topology {name:?}")))
    })
}

#[cfg(test)]
mod tests;
