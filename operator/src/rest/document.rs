//! The OpenAPI 3.1 document: paths from the handlers, schemas from the types.

use axum::{Json, extract::State, http::HeaderMap};
use crds::{
    API_VERSION, MicroServiceTopology, TopologyObject,
    report::{GraphReport, PlanReport, RoutesReport},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Rest, apply,
    log_level::{self, LogLevel},
    plan,
    problem::Problem,
    read::{self, TopologyList},
    stages::{self, TablesReport},
};

/// Path of the schemas in the document.
const SCHEMAS: &str = "/components/schemas";

/// Every handler with its route.
pub(super) fn routes() -> OpenApiRouter<Rest> {
    OpenApiRouter::with_openapi(about())
        .routes(routes!(read::list_all))
        .routes(routes!(read::list_some))
        .routes(routes!(read::read, apply::apply, apply::delete))
        .routes(routes!(stages::stage))
        .routes(routes!(stages::routes))
        .routes(routes!(stages::tables))
        .routes(routes!(plan::propose))
        .routes(routes!(log_level::read, log_level::change))
        .routes(routes!(serve))
}

/// The whole document.
pub fn document() -> Value {
    let (_, paths) = routes().split_for_parts();
    let mut document = serde_json::to_value(paths).expect("a document is JSON");
    document["components"] = json!({
        "schemas": schemas(),
        "securitySchemes": {
            "bearer": {
                "type": "http",
                "scheme": "bearer",
                "description": "A token of the cluster, as the API server takes it (TokenReview).",
            },
        },
    });
    document
}

#[utoipa::path(
    get, path = "/openapi.json", operation_id = "readDocument", tag = "operator",
    summary = "This document", security(()),
    responses(
        (status = 200, description = "An OpenAPI 3.1 document.", content_type = "application/json", body = ref("#/components/schemas/Document")),
        (status = "default", description = "What is wrong.", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
    )
)]
async fn serve(State(_): State<Rest>, _: HeaderMap) -> Json<Value> {
    Json(document())
}

fn about() -> OpenApi {
    let info = InfoBuilder::new()
        .title("beemesh operator")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Topologies of beemesh: declared, computed, planned. Reads are open unless the operator is started with \
             `--anonymous-read=false`; all else needs a token of the cluster and the cluster's leave.",
        ))
        .build();
    OpenApiBuilder::new().info(info).build()
}

/// Schemas of everything that is sent or answered, by name.
fn schemas() -> Map<String, Value> {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = SCHEMAS.into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    add::<GraphReport>(&mut generator);
    add::<RoutesReport>(&mut generator);
    add::<PlanReport>(&mut generator);
    add::<TablesReport>(&mut generator);
    add::<TopologyList>(&mut generator);
    add::<LogLevel>(&mut generator);
    add::<Problem>(&mut generator);
    let metadata = generator.subschema_for::<ObjectMeta>();
    let reference = generator.subschema_for::<TopologyObject>();
    let mut schemas = generator.take_definitions(true);
    let reference = reference.as_value()["$ref"].as_str().unwrap_or_default();
    let name = reference.rsplit('/').next().unwrap_or_default();
    let topology = topology(schemas.remove(name).unwrap_or_default(), metadata);
    schemas.insert(MicroServiceTopology::KIND.to_owned(), topology);
    schemas.insert("Document".to_owned(), json!({"type": "object"}));
    schemas
}

/// The type of kube leaves out what every object has.
fn topology(mut schema: Value, metadata: Schema) -> Value {
    schema["properties"]["apiVersion"] = json!({"type": "string", "const": API_VERSION});
    schema["properties"]["kind"] = json!({"type": "string", "const": MicroServiceTopology::KIND});
    schema["properties"]["metadata"] = metadata.to_value();
    schema["required"] = json!(["apiVersion", "kind", "metadata", "spec"]);
    schema
}

fn add<T: JsonSchema>(generator: &mut SchemaGenerator) {
    generator.subschema_for::<T>();
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    found.insert(reference.clone());
                }
                fields.values().for_each(|field| references(field, found));
            }
            Value::Array(entries) => entries.iter().for_each(|entry| references(entry, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_schema_is_used() {
        let document = document();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        for reference in &found {
            let pointer = reference.trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        let schemas = document["components"]["schemas"].as_object();
        for name in schemas.expect("an object").keys() {
            let reference = format!("#/components/schemas/{name}");
            assert!(found.contains(&reference), "{name} is not used");
        }
    }

    #[test]
    fn every_operation_says_who_may_and_what_is_answered() {
        let document = document();
        assert_eq!(document["openapi"], "3.1.0");
        let paths = document["paths"].as_object().expect("an object");
        let mut names = BTreeSet::new();
        for (path, operations) in paths {
            for (method, operation) in operations.as_object().expect("an object") {
                let at = format!("{method} {path}");
                let name = operation["operationId"].as_str().expect(&at);
                assert!(names.insert(name.to_owned()), "{name} twice");
                assert!(operation["summary"].is_string(), "{at}");
                assert!(operation["security"].is_array(), "{at}");
                let responses = &operation["responses"];
                let problem = "/default/content/application~1problem+json/schema/$ref";
                let problem = responses.pointer(problem).and_then(Value::as_str);
                assert_eq!(problem, Some("#/components/schemas/Problem"), "{at}");
                let placeholders = path.matches('{').count();
                let parameters = operation["parameters"].as_array();
                let in_path = parameters
                    .into_iter()
                    .flatten()
                    .filter(|one| one["in"] == "path");
                assert_eq!(in_path.count(), placeholders, "{at}");
                let is_write = method != "get";
                let is_open = operation["security"]
                    .as_array()
                    .is_some_and(|ways| ways.contains(&json!({})));
                assert_eq!(is_open, !is_write, "{at}");
            }
        }
        assert_eq!(names.len(), 12, "{names:?}");
    }
    #[test]
    fn the_page_for_people_lists_every_operation() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/rest.md");
        let page = std::fs::read_to_string(page).expect("docs/rest.md is there");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
        let listed: BTreeSet<String> = rows
            .map(|row| {
                row.split('`')
                    .step_by(2)
                    .take(2)
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect();
        let document = document();
        let paths = document["paths"].as_object().expect("an object");
        let declared = paths.iter().flat_map(|(path, operations)| {
            let methods = operations
                .as_object()
                .into_iter()
                .flat_map(|all| all.keys());
            methods.map(move |method| format!("{} {path}", method.to_uppercase()))
        });
        assert_eq!(listed, declared.collect());
    }
}
