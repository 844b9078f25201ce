//! Labels and selectors, by the rules of Kubernetes.

use std::collections::BTreeMap;

use super::{MAX_ENTRIES, MAX_REQUIREMENTS, Problems, message};
use crate::{
    names,
    selector::{LabelSelector, Operator},
};

pub(super) fn check(path: &str, labels: &BTreeMap<String, String>, problems: &mut Problems) {
    if labels.len() > MAX_ENTRIES {
        let found = labels.len();
        return problems.push(
            path,
            format!("expected at most {MAX_ENTRIES} labels, found {found}"),
        );
    }
    for (key, value) in labels {
        check_key(&format!("{path}.{key}"), key, problems);
        check_value(&format!("{path}.{key}"), value, problems);
    }
}

pub(super) fn check_key(path: &str, key: &str, problems: &mut Problems) {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if !names::is_name(name) || prefix.is_some_and(|prefix| !names::is_dns_subdomain(prefix)) {
        let expected = "a label key such as \"app\" or \"example.com/app\"";
        problems.push(path, format!("expected {expected}, found {key:?}"));
    }
}

fn check_value(path: &str, value: &str, problems: &mut Problems) {
    if !value.is_empty() && !names::is_name(value) {
        let expected = "a label value (at most 63 letters, digits, '-', '_' and '.')";
        problems.push(path, format!("expected {expected}, found {value:?}"));
    }
}

pub(super) fn check_selector(path: &str, selector: &LabelSelector, problems: &mut Problems) {
    check(
        &format!("{path}.matchLabels"),
        &selector.match_labels,
        problems,
    );
    if selector.match_expressions.len() > MAX_REQUIREMENTS {
        let message = format!("expected at most {MAX_REQUIREMENTS} entries");
        return problems.push(format!("{path}.matchExpressions"), message);
    }
    for (index, requirement) in selector.match_expressions.iter().enumerate() {
        let path = format!("{path}.matchExpressions[{index}]");
        check_key(&format!("{path}.key"), &requirement.key, problems);
        let operator = requirement.operator;
        let wants_values = matches!(operator, Operator::In | Operator::NotIn);
        let values = format!("{path}.values");
        if wants_values && requirement.values.is_empty() {
            let message = format!("{}, found {operator:?} without", message::NO_VALUES);
            problems.push(&values, message);
        }
        if !wants_values && !requirement.values.is_empty() {
            let message = format!("{}, found {operator:?}", message::SOME_VALUES);
            problems.push(&values, message);
        }
        if requirement.values.len() > MAX_ENTRIES {
            let found = requirement.values.len();
            let message = format!("expected at most {MAX_ENTRIES} entries, found {found}");
            problems.push(&values, message);
            continue;
        }
        for (index, value) in requirement.values.iter().enumerate() {
            check_value(&format!("{values}[{index}]"), value, problems);
        }
    }
}
