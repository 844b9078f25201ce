//! kubeconform against the real schemas: those of a real API server's OpenAPI, our definitions among them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use e2e::ApiServer;
use serde_json::{Map, Value, json};

use crate::helm::{self, Values};
use crate::{metadata, server};

/// kubeconform's own pattern: kind, then `-group-version` or `-version`.
const LAYOUT: &str = "{{.ResourceKind}}{{.KindSuffix}}.json";

/// Kinds without an offline schema; `server::the_api_server_accepts_what_is_rendered` checks them
/// against definitions written by hand, promcheck with its own parser.
const SKIPPED: &str = "PodMonitor,PrometheusRule,ServiceMonitor";

const ROOT: &str = "#/components/schemas/";

pub(crate) fn kubeconform_accepts_what_is_rendered() -> Result<()> {
    let folder = tempfile::tempdir()?;
    write_schemas(server::shared()?, folder.path())?;
    for values in Values::ALL {
        let mut arguments = values.arguments();
        arguments.push("--include-crds".into());
        let manifests = helm::template("beemesh", &arguments)?;
        let summary = kubeconform(folder.path(), &manifests)?;
        let count = helm::objects(&manifests)?.len();
        let skipped = summary["skipped"].as_u64().unwrap_or(u64::MAX);
        let expected = if matches!(values, Values::Everything) {
            3
        } else {
            0
        };
        ensure!(skipped == expected, "{}: {summary}", values.name());
        ensure!(
            summary["valid"] == count as u64 - skipped,
            "{}: {summary}",
            values.name()
        );
    }
    Ok(())
}

pub(crate) fn kubeconform_refuses_a_field_that_is_not_there() -> Result<()> {
    let folder = tempfile::tempdir()?;
    write_schemas(server::shared()?, folder.path())?;
    let good = helm::template("beemesh", &Values::Everything.arguments())?;
    for (right, wrong) in [
        ("  replicas:", "  replica:"),
        (
            "terminationGracePeriodSeconds: 30",
            "terminationGracePeriodSeconds: half",
        ),
        ("roleRef:", "roleref:"),
        ("      shape: Line", "      shapes: Line"),
    ] {
        let right = if good.contains(right) {
            right
        } else {
            right.trim_start()
        };
        ensure!(good.contains(right), "nothing renders {right}");
        let bad = good.replacen(right, wrong, 1);
        ensure!(
            kubeconform(folder.path(), &bad).is_err(),
            "{wrong:?} was accepted"
        );
    }
    Ok(())
}

/// Runs kubeconform and returns its summary.
fn kubeconform(schemas: &Path, manifests: &str) -> Result<Value> {
    let input = schemas.join("input.yaml");
    fs::write(&input, manifests)?;
    let ran = Command::new(e2e::tools::find("kubeconform")?)
        .args(["-strict", "-summary", "-output", "json", "-skip", SKIPPED])
        .arg("-schema-location")
        .arg(schemas.join(LAYOUT))
        .arg(&input)
        .stderr(Stdio::inherit())
        .output()?;
    let said: Value = serde_json::from_slice(&ran.stdout).context("kubeconform printed no JSON")?;
    ensure!(ran.status.success(), "{said:#}");
    Ok(said["summary"].clone())
}

/// Writes one file for each kind that the chart may render.
fn write_schemas(server: &ApiServer, folder: &Path) -> Result<()> {
    let mut versions = BTreeSet::from(["apiextensions.k8s.io/v1".to_owned()]);
    for values in Values::ALL {
        for object in helm::objects(&helm::template("beemesh", &values.arguments())?)? {
            versions.insert(
                object["apiVersion"]
                    .as_str()
                    .context("no apiVersion")?
                    .to_owned(),
            );
        }
    }
    ensure!(
        !metadata::definitions()?.is_empty(),
        "no definitions of ours"
    );
    let index = get(server, "/openapi/v3")?;
    for version in versions {
        let path = if version.contains('/') {
            "apis/"
        } else {
            "api/"
        }
        .to_owned()
            + &version;
        let document = get(
            server,
            index["paths"][&path]["serverRelativeURL"]
                .as_str()
                .with_context(|| path.clone())?,
        )?;
        let schemas = document["components"]["schemas"]
            .as_object()
            .context("no schemas")?;
        for (name, schema) in schemas {
            write_kinds(folder, schemas, name, schema, &version)?;
        }
    }
    Ok(())
}

/// Writes the schema `name` for each kind of `version` that it describes.
fn write_kinds(
    folder: &Path,
    schemas: &Map<String, Value>,
    name: &str,
    schema: &Value,
    version: &str,
) -> Result<()> {
    let kinds = schema["x-kubernetes-group-version-kind"]
        .as_array()
        .into_iter()
        .flatten();
    for kind in kinds {
        let [group, number, kind] =
            ["group", "version", "kind"].map(|key| kind[key].as_str().unwrap_or_default());
        if [group, number].join("/").trim_start_matches('/') != version
            || schema["properties"]["metadata"].is_null()
        {
            continue;
        }
        let group = group.split('.').next().unwrap_or_default();
        let suffix = [group, number].join("-");
        let file = format!(
            "{}-{}.json",
            kind.to_lowercase(),
            suffix.trim_start_matches('-')
        );
        let mut needed = Map::new();
        collect(schemas, name, &mut needed);
        let whole = json!({"$ref": format!("{ROOT}{name}"), "components": {"schemas": needed}});
        fs::write(folder.join(file), whole.to_string())?;
    }
    Ok(())
}

/// Adds the schema `name` and all that it refers to, made strict.
fn collect(schemas: &Map<String, Value>, name: &str, needed: &mut Map<String, Value>) {
    if needed.contains_key(name) {
        return;
    }
    let Some(schema) = schemas.get(name) else {
        return;
    };
    let mut strict = schema.clone();
    close(&mut strict);
    needed.insert(name.to_owned(), strict.clone());
    references(&strict, &mut |reference| {
        collect(schemas, reference, needed)
    });
}

/// Forbids what is not described: as the API server does with strict field validation.
fn close(schema: &mut Value) {
    let Value::Object(fields) = schema else {
        return;
    };
    // It says what the server fills in, and is no schema.
    fields.remove("default");
    let is_open = fields.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    let is_object =
        fields.get("properties").is_some() && fields.get("type") == Some(&json!("object"));
    if is_object && !is_open && !fields.contains_key("additionalProperties") {
        fields.insert("additionalProperties".into(), Value::Bool(false));
    }
    // Here keys are names of fields, not words of the schema.
    let properties = fields.get_mut("properties").and_then(Value::as_object_mut);
    properties
        .into_iter()
        .flat_map(Map::values_mut)
        .for_each(close);
    for word in ["additionalProperties", "items", "not"] {
        fields.get_mut(word).into_iter().for_each(close);
    }
    for word in ["allOf", "anyOf", "oneOf"] {
        let alternatives = fields.get_mut(word).and_then(Value::as_array_mut);
        alternatives.into_iter().flatten().for_each(close);
    }
}

fn references(schema: &Value, found: &mut impl FnMut(&str)) {
    match schema {
        Value::Object(fields) => {
            if let Some(name) = fields.get("$ref").and_then(Value::as_str) {
                found(name.trim_start_matches(ROOT));
            }
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

fn get(server: &ApiServer, path: &str) -> Result<Value> {
    server.kubectl(&["get", "--raw", path])?.json()
}
