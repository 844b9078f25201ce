//! Definitions of a newer version, as `helm upgrade` applies them before the operator is replaced.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use e2e::ApiServer;
use serde_json::{Value, json};

use crate::cluster::Cluster;

/// A field that this version does not have, with a default that the API server writes into every object.
const FIELD: &str = "ofNewerVersion";

/// Every struct of the declaration gets one more field. Topologies stay accepted, and a weight that changes is followed.
pub(crate) fn fields_of_newer_versions_are_ignored() -> Result<()> {
    let cluster = Cluster::on(ApiServer::start()?)?;
    for node in ["newer-1", "newer-2"] {
        cluster.node(node, &json!({}))?;
    }
    let namespace = cluster.namespace("newer")?;
    let spec = |weight: u32| {
        json!({
            "forwarders": [{"name": "a", "node": "newer-1"}, {"name": "b", "node": "newer-2"}],
            "links": [{"a": "a", "b": "b", "weight": weight}],
            "apps": [{"name": "x", "podSelector": {"matchLabels": {"app": "x"}}}],
        })
    };
    namespace.topology("t", &spec(1))?;
    namespace.until("t", "Computed", "True", "")?;
    apply_newer(&cluster.server)?;
    namespace.eventually("the API server writes the defaults", || {
        let stored = namespace.get("mst", "t")?;
        for path in ["/spec", "/spec/routing", "/spec/links/0", "/spec/apps/0"] {
            let field = stored.pointer(&format!("{path}/{FIELD}"));
            ensure!(field.is_some(), "{path}: {stored}");
        }
        Ok(())
    })?;
    // A new generation is judged by what is stored now.
    namespace.topology("t", &spec(7))?;
    let object = namespace.until("t", "Accepted", "True", "")?;
    let conditions = object["status"]["conditions"].to_string();
    ensure!(
        conditions.contains(FIELD),
        "no condition names the field: {conditions}"
    );
    namespace.eventually("the weight is followed", || {
        let forwarders = namespace.forwarders("t")?;
        let weights = forwarders
            .iter()
            .map(|it| &it["spec"]["links"][0]["weight"]);
        let weights: Vec<&Value> = weights.collect();
        ensure!(weights == [7, 7], "{weights:?}");
        Ok(())
    })
}

fn apply_newer(server: &ApiServer) -> Result<()> {
    let folder = tempfile::tempdir()?;
    for definition in crds::schema::definitions() {
        let mut definition = serde_json::to_value(definition)?;
        let schema = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
        let spec = definition.pointer_mut(schema).context("a spec")?;
        add_field(spec);
        let name = definition["metadata"]["name"].as_str().context("a name")?;
        let file = Path::new(folder.path()).join(format!("{name}.json"));
        fs::write(file, definition.to_string())?;
    }
    server.apply_crds(folder.path())
}

/// Adds [`FIELD`] to each struct of a schema.
fn add_field(schema: &mut Value) {
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().for_each(add_field);
        properties.insert(FIELD.to_owned(), json!({"type": "string", "default": "x"}));
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(schema) = schema.get_mut(inner) {
            add_field(schema);
        }
    }
}
