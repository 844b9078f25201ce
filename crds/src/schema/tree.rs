//! A schema as a tree of fields.

use kube::core::Rule;
use serde_json::{Value, json};

/// A schema, to be added to.
pub(super) struct Tree<'a>(&'a mut Value);

impl<'a> Tree<'a> {
    pub(super) fn new(schema: &'a mut Value) -> Tree<'a> {
        Tree(schema)
    }

    /// Sets `words` in the schema at `path`, such as `spec.links[].a`: `[]` means the entries of a
    /// list, `{}` the values of a map; empty means the whole object.
    pub(super) fn set(&mut self, path: &str, words: Value) {
        let place = self.at(path);
        let Value::Object(words) = words else {
            unreachable!("words of a schema are an object");
        };
        place
            .as_object_mut()
            .expect("a schema is an object")
            .extend(words);
    }

    /// List of objects with the key field `key`: appliers share it entry by entry.
    pub(super) fn list_map(&mut self, path: &str, key: &str) {
        let words = json!({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]});
        self.set(path, words);
    }

    /// A rule on the value at `path`, which blames `field` of it (empty: itself).
    pub(super) fn rule(&mut self, path: &str, field: &str, rule: &str, message: &str) {
        let mut rule = Rule::new(rule).message(message);
        if !field.is_empty() {
            rule = rule.field_path(format!(".{field}"));
        }
        let rule = serde_json::to_value(rule).expect("a rule is JSON");
        let place = self
            .at(path)
            .as_object_mut()
            .expect("a schema is an object");
        let rules = place
            .entry("x-kubernetes-validations")
            .or_insert_with(|| json!([]));
        rules.as_array_mut().expect("rules are a list").push(rule);
    }

    fn at(&mut self, path: &str) -> &mut Value {
        let steps = path.split('.').filter(|step| !step.is_empty());
        steps.fold(&mut *self.0, |schema, step| {
            let name = step.trim_end_matches(['[', ']', '{', '}']);
            let field = child(child(schema, "properties", path), name, path);
            match &step[name.len()..] {
                "[]" => child(field, "items", path),
                "{}" => child(field, "additionalProperties", path),
                _ => field,
            }
        })
    }
}

fn child<'v>(value: &'v mut Value, name: &str, path: &str) -> &'v mut Value {
    let child = value.get_mut(name);
    child.unwrap_or_else(|| panic!("no {name} in the schema of {path}"))
}
