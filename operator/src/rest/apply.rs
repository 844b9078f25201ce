//! Handlers that apply and delete topologies, with the caller's own token.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, Request, StatusCode, header},
    response::{IntoResponse, Response},
};
use crds::{MicroServiceTopology, TopologyObject};
use kube::{
    Resource,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
    core::DynamicObject,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    Rest,
    access::{Caller, Right},
    extract::{Asked, Body, In, if_match},
    problem::Problem,
    read::tagged,
};

/// Field manager of applied fields in `managedFields`.
const FIELD_MANAGER: &str = "beemesh-rest";

/// Fields of `metadata` that a caller may write; all others belong to the API server and are
/// dropped.
const METADATA: [&str; 5] = [
    "name",
    "namespace",
    "labels",
    "annotations",
    "resourceVersion",
];

/// `?force=true&dryRun=true`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Manner {
    force: bool,
    dry_run: bool,
}

#[utoipa::path(
    put, path = "/apis/beemesh.io/v1alpha1/namespaces/{namespace}/topologies/{name}", operation_id = "applyTopology", tag = "topologies",
    summary = "Apply a topology", security(("bearer" = [])),
    description = "Server-side apply as field manager `beemesh-rest`, with the caller's own token and strict field validation. \
        Needs the right to `patch` the topology, and to `create` one that is not there. \
        A `resourceVersion` in the body or in `If-Match` must be that of the object.",
    params(
        ("namespace" = String, Path, description = "Kubernetes namespace"),
        ("name" = String, Path, description = "Name of the topology"),
        ("force" = Option<bool>, Query, description = "Take over fields that others own"),
        ("dryRun" = Option<bool>, Query, description = "Dry run: validate without storing"),
        ("If-Match" = Option<String>, Header, description = "ETag of the version that this one replaces"),
    ),
    request_body(
        description = "YAML or JSON, as `kubectl apply` takes it",
        content((ref("#/components/schemas/MicroServiceTopology") = "application/yaml"), (ref("#/components/schemas/MicroServiceTopology") = "application/json")),
    ),
    responses(
        (status = 200, description = "The topology as it is stored.", content_type = "application/json", body = ref("#/components/schemas/MicroServiceTopology"),
         headers(("etag" = String, description = "Its resourceVersion, for If-Match"))),
        (status = 409, description = "It has changed since, or others own some of its fields.", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
        (status = 413, description = "It is too large.", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
        (status = 422, description = "It is invalid; `errors` has each field.", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
        (status = "default", description = "What is wrong.", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
    )
)]
pub(super) async fn apply(
    State(rest): State<Rest>,
    headers: HeaderMap,
    In((namespace, name)): In<(String, String)>,
    Asked(manner): Asked<Manner>,
    body: Body,
) -> Result<Response, Problem> {
    let right = Right::topology("patch", &namespace, &name);
    let caller = rest.0.access.allow(&headers, right).await?;
    let path = url_path(&namespace, &name)?;
    let body = body.read().await?;
    let of = (namespace.clone(), name.clone());
    let declared = rest.compute(move || declared(&of.0, &of.1, &body));
    let (_, mut object) = declared.await??;
    if let Some(version) = if_match(&headers) {
        object["metadata"]["resourceVersion"] = Value::String(version);
    }
    let mut parameters = PatchParams::apply(FIELD_MANAGER).validation_strict();
    parameters.force = manner.force;
    parameters.dry_run = manner.dry_run;
    let request = kube::core::Request::new(path).patch(&name, &parameters, &Patch::Apply(&object));
    let request = request.map_err(|error| Problem::internal(&error))?;
    let mut stored: DynamicObject = send(&rest, &caller, request).await?;
    stored.metadata.managed_fields = None;
    let version = stored.metadata.resource_version.clone().unwrap_or_default();
    tracing::info!(user = caller.user, topology = %format_args!("{namespace}/{name}"), dry_run = manner.dry_run, "applied a topology");
    Ok(tagged(&version, Json(stored).into_response()))
}

#[utoipa::path(
    delete, path = "/apis/beemesh.io/v1alpha1/namespaces/{namespace}/topologies/{name}", operation_id = "deleteTopology", tag = "topologies",
    summary = "Delete a topology", security(("bearer" = [])),
    description = "Uses the caller's own token. Derived objects are deleted in the background.",
    params(
        ("namespace" = String, Path, description = "Kubernetes namespace"),
        ("name" = String, Path, description = "Name of the topology"),
        ("If-Match" = Option<String>, Header, description = "ETag of the version to delete"),
    ),
    responses(
        (status = 204, description = "It is deleted."),
        (status = 404, description = "There is no such topology.", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
        (status = 409, description = "It has changed since.", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
        (status = "default", description = "What is wrong.", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
    )
)]
pub(super) async fn delete(
    State(rest): State<Rest>,
    headers: HeaderMap,
    In((namespace, name)): In<(String, String)>,
) -> Result<StatusCode, Problem> {
    let right = Right::topology("delete", &namespace, &name);
    let caller = rest.0.access.allow(&headers, right).await?;
    let path = url_path(&namespace, &name)?;
    let parameters = DeleteParams {
        preconditions: if_match(&headers).map(|version| Preconditions {
            resource_version: Some(version),
            uid: None,
        }),
        ..DeleteParams::default()
    };
    let request = kube::core::Request::new(path).delete(&name, &parameters);
    let request = request.map_err(|error| Problem::internal(&error))?;
    // A Status, or the object where something holds it: both mean that it goes.
    send::<Value>(&rest, &caller, request).await?;
    tracing::info!(user = caller.user, topology = %format_args!("{namespace}/{name}"), "deleted a topology");
    Ok(StatusCode::NO_CONTENT)
}

/// The one topology in `body`, with nothing that the lint has against it: as a value, and as it was written.
///
/// # Errors
/// 422 with every problem.
pub(super) fn declared(
    namespace: &str,
    name: &str,
    body: &[u8],
) -> Result<(MicroServiceTopology, Value), Problem> {
    let read = crds::read("", body).map_err(Problem::invalid)?;
    let Ok([mut topology]) = <[MicroServiceTopology; 1]>::try_from(read) else {
        return Err(Problem::field(
            "",
            "expected one MicroServiceTopology, found several",
        ));
    };
    let written: Result<Value, _> = serde_saphyr::from_slice(body);
    let mut object = written.map_err(|error| Problem::field("", error.to_string()))?;
    let metadata = own_metadata(&mut object);
    for (field, wanted) in [("name", name), ("namespace", namespace)] {
        let found = metadata.entry(field).or_insert_with(|| wanted.into());
        if found != wanted {
            let message = format!("expected {wanted:?} as in the path, found {found}");
            return Err(Problem::field(&format!("metadata.{field}"), message));
        }
    }
    topology.metadata.namespace = namespace.to_owned();
    match crds::lint(&topology) {
        problems if problems.is_empty() => Ok((topology, object)),
        problems => Err(Problem::invalid(problems)),
    }
}

/// Takes out what the API server writes, so that an answer to a read can be sent back.
fn own_metadata(object: &mut Value) -> &mut Map<String, Value> {
    if let Value::Object(fields) = object {
        fields.remove("status");
    }
    let metadata = &mut object["metadata"];
    if !metadata.is_object() {
        *metadata = Value::Object(Map::new());
    }
    let Value::Object(fields) = metadata else {
        unreachable!("made an object above");
    };
    fields.retain(|field, _| METADATA.contains(&field.as_str()));
    fields
}

/// URL path of a topology or of its namespace at the API server. Only valid names are accepted.
fn url_path(namespace: &str, name: &str) -> Result<String, Problem> {
    let is_safe = |text: &str| {
        let is_one = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !text.is_empty()
            && text.len() <= 253
            && text.bytes().all(|byte| is_one(byte) || byte == b'.')
    };
    for (path, text) in [("metadata.namespace", namespace), ("metadata.name", name)] {
        if !is_safe(text) || text.starts_with('.') {
            let message = format!("expected lower-case letters, digits and '-', found {text:?}");
            return Err(Problem::field(path, message));
        }
    }
    Ok(TopologyObject::url_path(&(), Some(namespace)))
}

/// Asks the API server in the caller's name.
async fn send<T: serde::de::DeserializeOwned>(
    rest: &Rest,
    caller: &Caller,
    mut request: Request<Vec<u8>>,
) -> Result<T, Problem> {
    let mut token = HeaderValue::from_str(&format!("Bearer {}", caller.token))
        .map_err(|error| Problem::internal(&error))?;
    token.set_sensitive(true);
    request.headers_mut().insert(header::AUTHORIZATION, token);
    let answer = rest.0.client.request::<T>(request).await;
    answer.map_err(Problem::of_api_server)
}

#[cfg(test)]
mod tests;
