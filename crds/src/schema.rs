//! The CustomResourceDefinitions: validation at the API server.
//!
//! ```text
//! types -> kube, schemars: fields, docs, defaults --+
//! bounds of lint ------------> table of bounds -----+--> definitions -> yaml/*.yaml
//! messages of lint ----------> table of CEL rules --+
//! ```
//! Checks within one object are done here; a check across two lists
//! (a link to an unknown Forwarder) costs more than the API server grants a rule, and is left to
//! [`crate::lint()`] in the operator. Every rule lets an object that broke it before it was there be
//! changed elsewhere (ratcheting): rules sit at the field that they are about. Entries of
//! `spec.links` are the exception: the API server does not tell entries of an atomic list apart, so
//! that a rule which comes later must be one of the list.

mod bounds;
mod columns;
mod rules;
mod tree;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

use self::tree::Tree;
use crate::{AllocationObject, ForwarderObject, TopologyObject, VniRangeObject};

/// All definitions, complete. Those of `TopologyObject::crd()` and its like lack bounds and rules.
///
/// # Panics
/// When a table names a field that a type does not have: a test calls this.
pub fn definitions() -> Vec<CustomResourceDefinition> {
    let bare = [
        TopologyObject::crd(),
        ForwarderObject::crd(),
        AllocationObject::crd(),
        VniRangeObject::crd(),
    ];
    bare.into_iter().map(complete).collect()
}

fn complete(bare: CustomResourceDefinition) -> CustomResourceDefinition {
    let mut document = serde_json::to_value(bare).expect("a definition is JSON");
    let kind = document["spec"]["names"]["kind"].clone();
    let columns = columns::of(kind.as_str().unwrap_or_default());
    document["spec"]["versions"][0]["additionalPrinterColumns"] = columns;
    let schema = &mut document["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    plain_numbers(schema);
    let mut tree = Tree::new(schema);
    match kind.as_str().unwrap_or_default() {
        "MicroServiceTopology" => {
            bounds::topology(&mut tree);
            rules::topology(&mut tree);
        }
        "Forwarder" => bounds::forwarder(&mut tree),
        "Allocation" => bounds::allocation(&mut tree),
        _ => bounds::vni_range(&mut tree),
    }
    serde_json::from_value(document).expect("a definition stays one")
}

/// OpenAPI has no unsigned formats: the API server warns of each.
fn plain_numbers(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            let format = fields.get("format").and_then(Value::as_str);
            if let Some((format, most)) = match format {
                Some("uint8") => Some(("int32", Some(u64::from(u8::MAX)))),
                Some("uint32") => Some(("int64", Some(u64::from(u32::MAX)))),
                Some("uint64") => Some(("int64", None)),
                _ => None,
            } {
                fields.insert("format".to_owned(), format.into());
                if let Some(most) = most {
                    fields.entry("maximum").or_insert_with(|| most.into());
                }
            }
            fields.values_mut().for_each(plain_numbers);
        }
        Value::Array(entries) => entries.iter_mut().for_each(plain_numbers),
        _ => {}
    }
}
