//! The fields there are, to name the nearest one to a field that is not.

use serde_json::Value;

use super::path::{Path, Step};
use crate::suggest;

/// Fields by parent, list indices left out. A test holds it against the types.
#[rustfmt::skip]
pub(super) const FIELDS: [(&str, &[&str]); 17] = [
    ("", &["apiVersion", "kind", "metadata", "spec"]),
    ("metadata", &["name", "namespace", "labels", "annotations"]),
    ("spec", &["addressing", "forwarders", "forwarderPerNode", "shape", "links", "routing",
               "liveness", "apps", "allowedNamespaces", "drain"]),
    ("spec.addressing", &["cidrs", "blockPrefixes"]),
    ("spec.forwarders", &["name", "node", "nodeSelector"]),
    ("spec.forwarderPerNode", &["nodeSelector"]),
    ("spec.links", &["a", "b", "weight", "weightBack", "type", "mtu"]),
    ("spec.routing", &["maxPaths", "resilient"]),
    ("spec.liveness", &["interval", "multiplier"]),
    ("spec.apps", &["name", "podSelector", "external", "forwarder", "weight"]),
    ("spec.apps.podSelector", &["matchLabels", "matchExpressions"]),
    ("spec.apps.podSelector.matchExpressions", &["key", "operator", "values"]),
    ("spec.apps.external", &["forwarder", "cidrs"]),
    ("spec.drain", &["forwarders", "links"]),
    // Maps of the user's own: nothing in them is unknown.
    ("metadata.labels", &[]),
    ("metadata.annotations", &[]),
    ("spec.apps.podSelector.matchLabels", &[]),
];

/// The fields of [`FIELDS`] that are lists: each entry has those fields.
const LISTS: [&str; 4] = [
    "spec.forwarders",
    "spec.links",
    "spec.apps",
    "spec.apps.podSelector.matchExpressions",
];

/// Places where a list is written for an object. Serde would take its entries for the fields.
pub(super) fn misplaced_lists(document: &Value) -> Vec<Path> {
    let mut found = Vec::new();
    collect_misplaced(document, "", &mut Path::new(), &mut found);
    found
}

fn collect_misplaced(value: &Value, pattern: &str, path: &mut Path, found: &mut Vec<Path>) {
    let Some((_, fields)) = FIELDS.iter().find(|(field, _)| *field == pattern) else {
        return;
    };
    let is_entry = matches!(path.last(), Some(Step::Index(_)));
    match value {
        Value::Array(entries) if LISTS.contains(&pattern) && !is_entry => {
            for (index, entry) in entries.iter().enumerate() {
                path.push(Step::Index(index));
                collect_misplaced(entry, pattern, path, found);
                path.pop();
            }
        }
        Value::Array(_) => found.push(path.clone()),
        Value::Object(object) => {
            for (name, value) in object
                .iter()
                .filter(|(name, _)| fields.contains(&name.as_str()))
            {
                let pattern = if pattern.is_empty() {
                    name.clone()
                } else {
                    format!("{pattern}.{name}")
                };
                path.push(Step::Field(name.clone()));
                collect_misplaced(value, &pattern, path, found);
                path.pop();
            }
        }
        _ => {}
    }
}

/// Removes fields that are null: to the API server such a field is absent, so that it gets its default.
pub(super) fn remove_nulls(value: &mut Value, pattern: &str) {
    let Some((_, fields)) = FIELDS.iter().find(|(field, _)| *field == pattern) else {
        return;
    };
    match value {
        Value::Array(entries) if LISTS.contains(&pattern) => {
            let objects = entries.iter_mut().filter(|entry| entry.is_object());
            objects.for_each(|entry| remove_nulls(entry, pattern));
        }
        Value::Object(object) => {
            object.retain(|name, value| !(value.is_null() && fields.contains(&name.as_str())));
            for (name, value) in object.iter_mut() {
                match pattern {
                    "" => remove_nulls(value, name),
                    _ => remove_nulls(value, &format!("{pattern}.{name}")),
                }
            }
        }
        _ => {}
    }
}

/// Fields that the API server adds to an object: `kubectl get -o yaml` can be read back.
const WRITTEN_BY_SERVER: [&str; 12] = [
    "status",
    "metadata.creationTimestamp",
    "metadata.deletionGracePeriodSeconds",
    "metadata.deletionTimestamp",
    "metadata.finalizers",
    "metadata.generateName",
    "metadata.generation",
    "metadata.managedFields",
    "metadata.ownerReferences",
    "metadata.resourceVersion",
    "metadata.selfLink",
    "metadata.uid",
];

/// Removes from an object of the API server the fields that are not the user's: status and the server's own
/// metadata, of later versions too.
pub(super) fn without_servers(document: &mut Value) {
    let Some(object) = document.as_object_mut() else {
        return;
    };
    object.remove("status");
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        metadata.retain(|field, _| FIELDS[1].1.contains(&field.as_str()));
    }
}

pub(super) fn is_written_by_server(path: &[Step]) -> bool {
    WRITTEN_BY_SERVER.contains(&pattern(path).as_str())
}

/// The message for the unknown field at `path`.
pub(super) fn unknown(path: &[Step]) -> String {
    let (Some(Step::Field(name)), parents) = (path.last(), &path[..path.len().saturating_sub(1)])
    else {
        return "unknown field".to_owned();
    };
    let parent = pattern(parents);
    let known = FIELDS
        .iter()
        .find(|(field, _)| *field == parent)
        .map_or(&[][..], |(_, f)| f);
    let hint = suggest::hint(name, known.iter().copied());
    format!("unknown field, expected one of {}{hint}", known.join(", "))
}

/// `spec.links` for `spec.links[2]`.
fn pattern(path: &[Step]) -> String {
    let names = path.iter().filter_map(|step| match step {
        Step::Field(name) => Some(name.as_str()),
        Step::Index(_) => None,
    });
    names.collect::<Vec<_>>().join(".")
}
