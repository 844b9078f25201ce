//! The NetworkAttachmentDefinition of a topology, for pods that Multus attaches. Pure.
//!
//! Made where a topology asks for it by [`ANNOTATION`]; a pod then names it in `k8s.v1.cni.cncf.io/networks`.

use std::collections::BTreeMap;

use crds::{MicroServiceTopology, forwarder::TOPOLOGY_LABEL};
use kube::{ResourceExt, core::DynamicObject};
use serde_json::{Value, json};

use super::names::controller;

/// Annotation of a topology that wants one: `"true"`.
pub const ANNOTATION: &str = "beemesh.io/network-attachment";
/// Group and version of the kind.
pub const API_VERSION: &str = "k8s.cni.cncf.io/v1";
/// The kind.
pub const KIND: &str = "NetworkAttachmentDefinition";

/// True when a topology with these annotations wants one.
pub fn is_wanted(annotations: &BTreeMap<String, String>) -> bool {
    annotations
        .get(ANNOTATION)
        .is_some_and(|value| value == "true")
}

/// The one that the topology `namespace`/`name` with this uid wants.
pub fn wanted(namespace: &str, name: &str, uid: &str) -> Value {
    // Also the name of the network of which the runtime collects garbage: one topology's only.
    let config = json!({
        "cniVersion": "1.0.0",
        "type": "beemesh-cni",
        "name": format!("beemesh-{namespace}-{name}"),
        "topology": format!("{namespace}/{name}"),
    });
    json!({
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {TOPOLOGY_LABEL: name},
            "ownerReferences": [{
                "apiVersion": crds::API_VERSION,
                "kind": MicroServiceTopology::KIND,
                "name": name,
                "uid": uid,
                "controller": true,
                "blockOwnerDeletion": false,
            }],
        },
        "spec": {"config": config.to_string()},
    })
}

/// Change of the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// All is as it should be.
    Nothing,
    /// Create it.
    Create,
    /// Apply it again.
    Apply,
    /// Delete it.
    Delete,
    /// Leave a foreign one, and report it.
    Foreign,
    /// One of a former topology of this name is on its way out.
    Wait,
}

/// Chooses the step for the topology with this uid.
pub fn step(there: Option<&DynamicObject>, wanted: Option<&Value>, uid: &str) -> Step {
    let owner = there.and_then(|there| controller(&there.metadata));
    let is_own = owner.is_some_and(|owner| owner == uid);
    let is_going = there.is_some_and(|there| there.metadata.deletion_timestamp.is_some());
    match (there, wanted) {
        (None, None) => Step::Nothing,
        (None, Some(_)) => Step::Create,
        (Some(_), None) if is_own && !is_going => Step::Delete,
        (Some(_), None) => Step::Nothing,
        (Some(_), Some(_)) if is_going => Step::Wait,
        (Some(there), Some(wanted)) if is_own => match is_like(there, wanted) {
            true => Step::Nothing,
            false => Step::Apply,
        },
        (Some(_), Some(_)) if owner.is_some() => Step::Delete,
        (Some(_), Some(_)) => Step::Foreign,
    }
}

/// True when the content is equal, in any order of fields.
fn is_like(there: &DynamicObject, wanted: &Value) -> bool {
    let config = |spec: &Value| -> Option<Value> {
        let text = spec["config"].as_str()?;
        serde_json::from_str(text).ok()
    };
    let labels = wanted["metadata"]["labels"].as_object();
    let mut labels = labels.into_iter().flatten();
    labels.all(|(key, value)| there.labels().get(key).is_some_and(|label| label == value))
        && config(&there.data["spec"]).is_some()
        && config(&there.data["spec"]) == config(&wanted["spec"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> DynamicObject {
        serde_json::from_value(value).expect("it has kind and metadata")
    }

    #[test]
    fn is_made_kept_and_removed_but_never_somebody_elses() {
        let ours = wanted("plant", "iot", "t1");
        let same = object(ours.clone());
        let mut edited = same.clone();
        edited.data["spec"]["config"] = json!("{}");
        let mut foreign = same.clone();
        foreign.metadata.owner_references = None;
        let former = object(wanted("plant", "iot", "t0"));
        let mut going = same.clone();
        going.metadata.deletion_timestamp =
            Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).expect("a time"));
        #[rustfmt::skip]
        let cases = [
            // there             is wanted  step
            (None,               false,     Step::Nothing),
            (None,               true,      Step::Create),
            (Some(&same),        true,      Step::Nothing),
            (Some(&edited),      true,      Step::Apply),
            (Some(&same),        false,     Step::Delete),
            (Some(&foreign),     true,      Step::Foreign),
            (Some(&foreign),     false,     Step::Nothing),
            (Some(&former),      true,      Step::Delete),
            (Some(&former),      false,     Step::Nothing),
            (Some(&going),       true,      Step::Wait),
            (Some(&going),       false,     Step::Nothing),
        ];
        for (there, is_wanted, expected) in cases {
            let actual = step(there, is_wanted.then_some(&ours), "t1");
            assert_eq!(actual, expected, "{there:?}, wanted: {is_wanted}");
        }
    }

    #[test]
    fn only_the_word_true_asks_for_it() {
        for (value, expected) in [
            ("true", true),
            ("false", false),
            ("", false),
            ("yes", false),
        ] {
            let annotations = BTreeMap::from([(ANNOTATION.to_owned(), value.to_owned())]);
            assert_eq!(is_wanted(&annotations), expected, "{value}");
        }
        assert!(!is_wanted(&BTreeMap::new()));
    }
}
