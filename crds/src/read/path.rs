//! Places in a document: `spec.links[2].weight`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// One step into a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Field(String),
    Index(usize),
}

pub(super) type Path = Vec<Step>;

/// The path as text; empty for the whole document.
pub(super) fn display(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Index(index) => text.push_str(&format!("[{index}]")),
            Step::Field(name) if text.is_empty() => text.push_str(name),
            Step::Field(name) => text.extend([".", name]),
        }
    }
    text
}

pub(super) fn of_error(path: &serde_path_to_error::Path) -> Path {
    use serde_path_to_error::Segment;
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(Step::Index(*index)),
            Segment::Map { key } => Some(Step::Field(key.clone())),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect()
}

pub(super) fn of_ignored(path: &serde_ignored::Path<'_>) -> Path {
    use serde_ignored::Path as Ignored;
    let (parent, step) = match path {
        Ignored::Root => return Vec::new(),
        Ignored::Seq { parent, index } => (parent, Some(Step::Index(*index))),
        Ignored::Map { parent, key } => (parent, Some(Step::Field(key.clone()))),
        Ignored::Some { parent }
        | Ignored::NewtypeStruct { parent }
        | Ignored::NewtypeVariant { parent } => (parent, None),
    };
    let mut steps = of_ignored(parent);
    steps.extend(step);
    steps
}

/// Fields removed from a document, so that paths in the rest can be shown as written.
#[derive(Default)]
pub(super) struct Removed {
    fields: BTreeSet<Path>,
    indices: BTreeMap<Path, BTreeSet<usize>>,
}

impl Removed {
    /// Takes the value at `path` (as it is now) out of `root`. False when there is none.
    pub(super) fn remove(&mut self, root: &mut Value, path: &[Step]) -> bool {
        let Some((last, parents)) = path.split_last() else {
            return false;
        };
        let Some(parent) = descend(root, parents) else {
            return false;
        };
        match (parent, last) {
            (Value::Object(object), Step::Field(name)) => {
                self.fields.insert(self.as_written(path));
                object.remove(name).is_some()
            }
            (Value::Array(list), Step::Index(index)) if *index < list.len() => {
                let written = self.as_written(path);
                if let (Some(Step::Index(index)), parents) = (written.last(), parents) {
                    let parents = self.as_written(parents);
                    self.indices.entry(parents).or_default().insert(*index);
                }
                list.remove(*index);
                true
            }
            _ => false,
        }
    }

    /// True when the field at `path` (as written) was removed.
    pub(super) fn has_field(&self, path: &[Step]) -> bool {
        self.fields.contains(path)
    }

    /// The place that `path` (as it is now) had in the document as written.
    pub(super) fn as_written(&self, path: &[Step]) -> Path {
        let mut written = Path::new();
        for step in path {
            let step = match (step, self.indices.get(&written)) {
                (Step::Index(index), Some(removed)) => Step::Index(restored(*index, removed)),
                _ => step.clone(),
            };
            written.push(step);
        }
        written
    }
}

fn descend<'a>(root: &'a mut Value, path: &[Step]) -> Option<&'a mut Value> {
    path.iter().try_fold(root, |value, step| match step {
        Step::Field(name) => value.get_mut(name),
        Step::Index(index) => value.get_mut(*index),
    })
}

/// The index that had `index` left of it once those `removed` are not counted.
fn restored(index: usize, removed: &BTreeSet<usize>) -> usize {
    removed.iter().fold(
        index,
        |index, gone| if *gone <= index { index + 1 } else { index },
    )
}
