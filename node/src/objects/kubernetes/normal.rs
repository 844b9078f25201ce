//! Normal form of a Forwarder's status, independent of its writer. Pure.

use crds::ForwarderStatus;
use serde_json::{Map, Value};

/// Fields that a node reports; `computed` is written by the operator.
const FIELDS: [&str; 8] = [
    "links",
    "linksUp",
    "epoch",
    "digest",
    "netns",
    "attachments",
    "linkStates",
    "conditions",
];

/// `status` in normal form: only fields that a node reports, lists sorted by key.
pub(super) fn normal(mut status: ForwarderStatus) -> ForwarderStatus {
    status.computed = None;
    status.link_states.sort_by(|a, b| a.id.cmp(&b.id));
    status.attachments.sort_by(|a, b| a.key.cmp(&b.key));
    status.conditions.sort_by(|a, b| a.r#type.cmp(&b.r#type));
    status
}

/// Document for server-side apply: the present fields.
pub(super) fn applied(status: &ForwarderStatus) -> Value {
    // A status consists of strings, numbers and lists of them.
    serde_json::to_value(status).unwrap_or_default()
}

/// Merge patch that replaces all reported fields: absent ones are `null`.
pub(super) fn replacing(status: &ForwarderStatus) -> Value {
    let mut applied = applied(status);
    let fields = FIELDS.map(|name| (name.to_owned(), applied[name].take()));
    Value::Object(Map::from_iter(fields))
}

/// `status` with the observed `generation` of its Forwarder.
pub(super) fn about(mut status: ForwarderStatus, generation: i64) -> ForwarderStatus {
    for condition in &mut status.conditions {
        condition.observed_generation = Some(generation);
    }
    normal(status)
}

/// `status` with the epoch of the report `before` while the table is the same: most are, in most epochs.
pub(super) fn since(mut status: ForwarderStatus, before: &ForwarderStatus) -> ForwarderStatus {
    if !before.digest.is_empty() && before.digest == status.digest {
        status.epoch.clone_from(&before.epoch);
    }
    status
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_field_that_a_node_reports_is_replaced() {
        let mut whole: ForwarderStatus = serde_json::from_value(json!({
            "links": {"up": 1, "total": 1}, "linksUp": "1/1", "epoch": "e", "digest": "d", "netns": "n",
            "computed": {"epoch": "e", "digest": "d"},
            "attachments": [{"app": "a", "key": "k", "addresses": ["192.0.2.1/32"]}],
            "linkStates": [{"id": "b/c", "up": true}, {"id": "a/b", "up": true}],
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "Attached", "status": "True"}],
        }))
        .unwrap();
        let fields = serde_json::to_value(&whole).unwrap();
        let mut names: Vec<&str> = fields
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        names.retain(|name| *name != "computed");
        let mut known = FIELDS;
        known.sort_unstable();
        assert_eq!(names, known);

        whole = normal(whole);
        assert_eq!(whole.link_states[0].id, "a/b");
        assert_eq!(whole.conditions[0].r#type, "Attached");
        assert!(applied(&whole).get("computed").is_none());
        let nothing = replacing(&ForwarderStatus::default());
        assert_eq!(nothing["attachments"], Value::Null);
        assert_eq!(nothing.as_object().unwrap().len(), FIELDS.len());
    }
}
