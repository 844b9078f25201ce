//! Holds JSON against the schemas of the OpenAPI document, and strictly: what no schema knows is wrong.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// Words of JSON Schema that say nothing of what is valid here.
const SILENT: [&str; 10] = [
    "description",
    "title",
    "default",
    "format",
    "$schema",
    "example",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
];

/// Checks `value` against `schema` of `document`.
pub(crate) fn check(document: &Value, schema: &Value, value: &Value) -> Result<()> {
    check_at(document, schema, value, "")
}

fn check_at(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<()> {
    let schema = match schema {
        Value::Bool(true) => return Ok(()),
        Value::Object(schema) => schema,
        _ => bail!("{at}: nothing is valid here"),
    };
    for (word, wanted) in schema {
        match word.as_str() {
            "$ref" => {
                let target = resolve(document, wanted)?;
                check_at(document, target, value, at)?;
            }
            "type" => ensure!(
                is_of_type(wanted, value),
                "{at}: expected {wanted}, found {value}"
            ),
            "enum" => {
                let is_one = wanted.as_array().is_some_and(|known| known.contains(value));
                ensure!(is_one, "{at}: expected one of {wanted}, found {value}");
            }
            "const" => ensure!(wanted == value, "{at}: expected {wanted}, found {value}"),
            "anyOf" | "oneOf" => {
                let ways = wanted.as_array().context("ways are a list")?;
                let fit = ways
                    .iter()
                    .filter(|way| check_at(document, way, value, at).is_ok());
                let count = fit.count();
                let is_right = if word == "oneOf" {
                    count == 1
                } else {
                    count > 0
                };
                ensure!(is_right, "{at}: {count} of {wanted} fit {value}");
            }
            "allOf" => {
                for part in wanted.as_array().context("parts are a list")? {
                    check_at(document, part, value, at)?;
                }
            }
            "required" => {
                for name in wanted
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                {
                    let is_there = !value.is_object() || value.get(name).is_some();
                    ensure!(is_there, "{at}: {name} is missing in {value}");
                }
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    check_at(document, wanted, item, &format!("{at}[{index}]"))?;
                }
            }
            "minimum" => ensure!(
                value.as_f64() >= wanted.as_f64(),
                "{at}: {value} < {wanted}"
            ),
            "maximum" => ensure!(
                value.as_f64() <= wanted.as_f64(),
                "{at}: {value} > {wanted}"
            ),
            "properties" | "additionalProperties" => {}
            // Bounds and rules that admission holds objects to before they come here.
            "minLength" | "maxLength" | "minItems" | "maxItems" | "maxProperties"
            | "minProperties" | "pattern" | "uniqueItems" | "propertyNames" => {}
            word if SILENT.contains(&word) || word.starts_with("x-") => {}
            word => bail!("{at}: this test does not know {word:?}"),
        }
    }
    check_fields(document, schema, value, at)
}

fn check_fields(
    document: &Value,
    schema: &serde_json::Map<String, Value>,
    value: &Value,
    at: &str,
) -> Result<()> {
    let is_composed = ["$ref", "anyOf", "oneOf", "allOf"]
        .iter()
        .any(|word| schema.contains_key(*word));
    let is_free = schema.contains_key("x-kubernetes-preserve-unknown-fields");
    let (known, others) = (schema.get("properties"), schema.get("additionalProperties"));
    if is_composed || is_free || (known.is_none() && others.is_none()) {
        return Ok(());
    }
    for (name, field) in value.as_object().into_iter().flatten() {
        let at = format!("{at}.{name}");
        match known.and_then(|known| known.get(name)).or(others) {
            Some(schema) => check_at(document, schema, field, &at)?,
            None => bail!("{at}: no schema knows this field"),
        }
    }
    Ok(())
}

fn resolve<'a>(document: &'a Value, reference: &Value) -> Result<&'a Value> {
    let reference = reference.as_str().context("a reference is a text")?;
    let target = document.pointer(reference.trim_start_matches('#'));
    target.with_context(|| format!("{reference} leads nowhere"))
}

fn is_of_type(wanted: &Value, value: &Value) -> bool {
    let is = |name: &str| match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    };
    match wanted {
        Value::String(name) => is(name),
        Value::Array(names) => names.iter().filter_map(Value::as_str).any(is),
        _ => false,
    }
}

/// The schema of an answer to `method` on the route `path`, and its media type; `None` for an answer without a body.
pub(crate) fn of_answer<'a>(
    document: &'a Value,
    method: &str,
    path: &str,
    status: u16,
) -> Result<Option<(&'a str, &'a Value)>> {
    let paths = document["paths"]
        .as_object()
        .context("paths are an object")?;
    let found = paths.iter().find(|(template, _)| fits(template, path));
    let (_, operations) = found.with_context(|| format!("the document has no {path}"))?;
    let operation = operations.get(method.to_ascii_lowercase());
    let operation = operation.with_context(|| format!("the document has no {method} {path}"))?;
    let responses = &operation["responses"];
    let response = responses.get(status.to_string());
    let response = response
        .or_else(|| responses.get("default"))
        .context("no such answer")?;
    let Some(content) = response.get("content").and_then(Value::as_object) else {
        return Ok(None);
    };
    let (media_type, content) = content.iter().next().context("no media type")?;
    Ok(Some((media_type, &content["schema"])))
}

/// True when `path` (with or without a query) matches a template such as `/a/{b}`.
fn fits(template: &str, path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    let (template, path): (Vec<&str>, Vec<&str>) =
        (template.split('/').collect(), path.split('/').collect());
    let is_same = |(wanted, found): (&&str, &&str)| wanted.starts_with('{') || wanted == found;
    template.len() == path.len() && template.iter().zip(&path).all(is_same)
}
