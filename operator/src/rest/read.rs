//! Listing and reading topologies, out of the caches.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use crds::TopologyStatus;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Rest, access::Right, extract::In, problem::Problem};
use crate::observe::Entry;

/// Topologies in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct TopologyList {
    /// Sorted by namespace and name.
    items: Vec<TopologySummary>,
}

/// A topology without its declaration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TopologySummary {
    /// Kubernetes namespace.
    namespace: String,
    /// Its name.
    name: String,
    /// Changes with its name's owner.
    uid: String,
    /// Counts the changes of its declaration.
    generation: i64,
    /// Changes with the object; good for `If-Match`.
    resource_version: String,
    /// Status of the topology.
    status: TopologyStatus,
}

#[utoipa::path(
    get, path = "/apis/beemesh.io/v1alpha1/topologies", operation_id = "listAllTopologies", tag = "topologies",
    summary = "All topologies in short", security((), ("bearer" = [])),
    responses(
        (status = 200, description = "All topologies.", content_type = "application/json", body = ref("#/components/schemas/TopologyList")),
        (status = "default", description = "What is wrong.", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
    )
)]
pub(super) async fn list_all(
    State(rest): State<Rest>,
    headers: HeaderMap,
) -> Result<Json<TopologyList>, Problem> {
    list(&rest, &headers, "").await
}

#[utoipa::path(
    get, path = "/apis/beemesh.io/v1alpha1/namespaces/{namespace}/topologies", operation_id = "listTopologies", tag = "topologies",
    summary = "The topologies of one namespace in short", security((), ("bearer" = [])),
    params(("namespace" = String, Path, description = "Kubernetes namespace")),
    responses(
        (status = 200, description = "The topologies of the namespace.", content_type = "application/json", body = ref("#/components/schemas/TopologyList")),
        (status = "default", description = "What is wrong.", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
    )
)]
pub(super) async fn list_some(
    State(rest): State<Rest>,
    headers: HeaderMap,
    In(namespace): In<String>,
) -> Result<Json<TopologyList>, Problem> {
    list(&rest, &headers, &namespace).await
}

#[utoipa::path(
    get, path = "/apis/beemesh.io/v1alpha1/namespaces/{namespace}/topologies/{name}", operation_id = "readTopology", tag = "topologies",
    summary = "One topology", security((), ("bearer" = [])),
    description = "Declaration and status, as the operator sees them: a moment after the API server does.",
    params(
        ("namespace" = String, Path, description = "Kubernetes namespace"),
        ("name" = String, Path, description = "Name of the topology"),
    ),
    responses(
        (status = 200, description = "The topology.", content_type = "application/json", body = ref("#/components/schemas/MicroServiceTopology"),
         headers(("etag" = String, description = "Its resourceVersion, for If-Match"))),
        (status = 404, description = "There is no such topology.", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
        (status = "default", description = "What is wrong.", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
    )
)]
pub(super) async fn read(
    State(rest): State<Rest>,
    headers: HeaderMap,
    In((namespace, name)): In<(String, String)>,
) -> Result<Response, Problem> {
    let entry = readable(&rest, &headers, &namespace, &name).await?;
    let mut object = json(&*entry.object)?;
    object["status"] = json(&entry.status)?;
    Ok(tagged(
        &entry.resource_version,
        Json(object).into_response(),
    ))
}

/// One topology that the asker may read.
///
/// # Errors
/// As [`super::access::Access::allow_read`], then 404.
pub(super) async fn readable(
    rest: &Rest,
    headers: &HeaderMap,
    namespace: &str,
    name: &str,
) -> Result<Arc<Entry>, Problem> {
    let right = Right::topology("get", namespace, name);
    rest.0.access.allow_read(headers, right).await?;
    let entry = rest.0.cache.topology(namespace, name);
    entry.ok_or_else(|| Problem::not_found(format!("there is no topology {namespace}/{name}")))
}

/// An answer that says which version of the object it holds.
pub(super) fn tagged(resource_version: &str, mut response: Response) -> Response {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{resource_version}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

async fn list(
    rest: &Rest,
    headers: &HeaderMap,
    namespace: &str,
) -> Result<Json<TopologyList>, Problem> {
    let right = Right::topology("list", namespace, "");
    rest.0.access.allow_read(headers, right).await?;
    let topologies = rest.0.cache.topologies().into_iter();
    let is_asked = |entry: &Arc<Entry>| namespace.is_empty() || entry.key.namespace == namespace;
    let items = topologies.filter(is_asked).map(|entry| TopologySummary {
        namespace: entry.key.namespace.clone(),
        name: entry.key.name.clone(),
        uid: entry.uid.clone(),
        generation: entry.generation,
        resource_version: entry.resource_version.clone(),
        status: entry.status.clone(),
    });
    Ok(Json(TopologyList {
        items: items.collect(),
    }))
}

fn json(value: &impl Serialize) -> Result<Value, Problem> {
    serde_json::to_value(value).map_err(|error| Problem::internal(&error))
}
