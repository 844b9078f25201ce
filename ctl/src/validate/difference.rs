//! Differences between two objects, field by field.

use serde::Serialize;
use serde_json::Value;

/// One field that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Difference {
    /// Kind and name of the object.
    pub(super) object: String,
    /// Path of the field; empty for the whole object.
    pub(super) field: String,
    /// As JSON; `-` for nothing.
    pub(super) expected: String,
    /// As JSON; `-` for nothing.
    pub(super) found: String,
}

impl Difference {
    /// Two texts that should be the same; `None` when they are.
    pub(super) fn of(object: &str, field: &str, expected: &str, found: &str) -> Option<Self> {
        let or_dash = |text: &str| match text {
            "" => "-".to_owned(),
            text => text.to_owned(),
        };
        (expected != found).then(|| Self {
            object: object.to_owned(),
            field: field.to_owned(),
            expected: or_dash(expected),
            found: or_dash(found),
        })
    }
}

/// Every field of `object` under `path` that differs.
pub(super) fn differences(
    object: &str,
    path: &str,
    expected: &Value,
    found: &Value,
) -> Vec<Difference> {
    let under = |key: &str| match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    };
    match (expected, found) {
        (Value::Object(one), Value::Object(other)) => {
            let more = other.keys().filter(|key| !one.contains_key(*key));
            one.keys()
                .chain(more)
                .flat_map(|key| {
                    let part = |object: &serde_json::Map<String, Value>| {
                        object.get(key).cloned().unwrap_or_default()
                    };
                    differences(object, &under(key), &part(one), &part(other))
                })
                .collect()
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let pairs = one.iter().zip(other).enumerate();
            pairs
                .flat_map(|(position, (one, other))| {
                    differences(object, &format!("{path}[{position}]"), one, other)
                })
                .collect()
        }
        _ => Difference::of(object, path, &shown(expected), &shown(found))
            .into_iter()
            .collect(),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_the_deepest_field_that_differs() {
        let one = json!({"a": {"b": [1, {"c": "x"}]}, "same": true, "gone": 1});
        let other = json!({"a": {"b": [1, {"c": "y"}]}, "same": true, "new": [2]});
        let found = differences("fwd/f", "spec", &one, &other);
        let lines: Vec<String> = found
            .iter()
            .map(|it| format!("{} {} {}", it.field, it.expected, it.found))
            .collect();
        assert_eq!(
            lines,
            ["spec.a.b[1].c x y", "spec.gone 1 -", "spec.new - [2]"]
        );
    }
}
