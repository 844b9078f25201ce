//! Owner of each entry of a topology's drain, by the object's managed fields.

use crate::cluster::stored::Stored;
use crds::topology::Drain;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::Value;

/// The field manager of `beemesh drain`.
pub(super) const MANAGER: &str = "beemesh-ctl";

/// Owners of a drain.
pub(super) struct Owned {
    /// Entries that `beemesh drain` has declared.
    pub(super) drain: Drain,
    /// Another field manager that declares some of it.
    pub(super) other: Option<String>,
}

impl Owned {
    /// Of `present`, the drain as it is.
    pub(super) fn new(stored: &Stored, present: Option<&Drain>) -> Self {
        let entries = stored.metadata.managed_fields.iter().flatten();
        let mut owned = Self {
            drain: Drain::default(),
            other: None,
        };
        for entry in entries {
            let Some(fields) = fields(entry) else {
                continue;
            };
            let manager = entry.manager.as_deref().unwrap_or_default();
            if manager == MANAGER && entry.operation.as_deref() == Some("Apply") {
                let present = present.cloned().unwrap_or_default();
                owned.drain = Drain {
                    forwarders: names(&fields["f:forwarders"], &present.forwarders),
                    links: names(&fields["f:links"], &present.links),
                };
            } else {
                owned.other = Some(manager.to_owned());
            }
        }
        owned
    }
}

/// The part of an entry that is about the drain.
fn fields(entry: &ManagedFieldsEntry) -> Option<Value> {
    let fields = serde_json::to_value(entry.fields_v1.as_ref()?).ok()?;
    fields.pointer("/f:spec/f:drain").cloned()
}

/// A list that is a set names its entries (`v:"a"`); one that is atomic is owned as a whole.
fn names(fields: &Value, present: &[String]) -> Vec<String> {
    let Some(fields) = fields.as_object() else {
        return Vec::new();
    };
    let of_entry = |key: &String| {
        let text = key.strip_prefix("v:")?;
        serde_json::from_str::<String>(text).ok()
    };
    let entries: Vec<String> = fields.keys().filter_map(of_entry).collect();
    match entries.is_empty() && fields.is_empty() {
        true => present.to_vec(),
        false => entries,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn entries_of_a_set_are_told_from_a_whole_list() {
        let present = ["a".to_owned(), "b".to_owned()];
        let set = json!({".": {}, "v:\"b\"": {}});
        assert_eq!(names(&set, &present), ["b"]);
        assert_eq!(names(&json!({}), &present), present);
        assert_eq!(names(&Value::Null, &present), [""; 0]);
    }
}
