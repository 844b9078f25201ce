//! Label selectors, with the meaning that Kubernetes gives them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Label selector. An empty one matches all objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Every one of these labels must be there with this value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Every one of these requirements must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<Requirement>,
}

/// One requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// Relation of the label's value to `values`.
    pub operator: Operator,
    /// Needed by `In` and `NotIn`, forbidden with the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// The operators of a [`Requirement`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Operator {
    /// The label is there and its value is one of those listed.
    In,
    /// The label is absent, or its value is none of those listed.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

impl LabelSelector {
    /// True when the selector matches an object with these labels.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        matches_labels(&self.match_labels, labels)
            && self
                .match_expressions
                .iter()
                .all(|requirement| requirement.holds(labels))
    }
}

impl Requirement {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match self.operator {
            Operator::In => value.is_some_and(|value| self.values.contains(value)),
            Operator::NotIn => value.is_none_or(|value| !self.values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

/// True when `labels` has all of `wanted`: the semantics of a `nodeSelector`.
pub fn matches_labels(
    wanted: &BTreeMap<String, String>,
    labels: &BTreeMap<String, String>,
) -> bool {
    wanted
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> BTreeMap<String, String> {
        let pairs = text
            .split_whitespace()
            .filter_map(|pair| pair.split_once('='));
        pairs
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn selectors_match_as_in_kubernetes() {
        use Operator::{DoesNotExist, Exists, In, NotIn};
        let requirement = |operator, values: &[&str]| Requirement {
            key: "tier".to_owned(),
            operator,
            values: values.iter().map(ToString::to_string).collect(),
        };
        #[rustfmt::skip]
        let cases = [
            // matchLabels  expression                        labels               matches
            ("",            None,                             "",                  true),
            ("app=a",       None,                             "app=a tier=x",      true),
            ("app=a",       None,                             "app=b",             false),
            ("app=a",       Some(requirement(In, &["x"])),    "app=a tier=x",      true),
            ("app=a",       Some(requirement(In, &["x"])),    "app=a tier=y",      false),
            ("",            Some(requirement(In, &["x"])),    "",                  false),
            ("",            Some(requirement(NotIn, &["x"])), "",                  true),
            ("",            Some(requirement(NotIn, &["x"])), "tier=x",            false),
            ("",            Some(requirement(Exists, &[])),   "tier=",             true),
            ("",            Some(requirement(Exists, &[])),   "app=a",             false),
            ("",            Some(requirement(DoesNotExist, &[])), "app=a",         true),
            ("",            Some(requirement(DoesNotExist, &[])), "tier=x",        false),
        ];
        for (match_labels, expression, object, expected) in cases {
            let selector = LabelSelector {
                match_labels: labels(match_labels),
                match_expressions: expression.into_iter().collect(),
            };
            assert_eq!(
                selector.matches(&labels(object)),
                expected,
                "{selector:?} on {object}"
            );
        }
    }
}
