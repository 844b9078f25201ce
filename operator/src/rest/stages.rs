//! Computed results of a topology: each stage, routes, and the tables' digests.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc};

use axum::{
    Json,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use crds::{
    forwarder::Computed as Digests,
    report::{self, GraphReport, RoutesReport, Seen, Stage},
};
use futures::{Stream, StreamExt, stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use topology::{ForwarderIndex, Graph, Spf, Table};

use super::{
    Rest,
    extract::{Asked, From, In},
    problem::Problem,
    read::readable,
};
use crate::{observe::Entry, plan::Computed};

/// Tables that are spelled out together: one step of an answer.
const CHUNK: usize = 16;

/// Epoch and digest of each table of a topology.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct TablesReport {
    /// Epoch of the global topology, 16 hexadecimal digits.
    epoch: String,
    /// Digest of all tables, 16 hexadecimal digits.
    digest: String,
    /// By Forwarder.
    forwarders: BTreeMap<String, TableDigests>,
}

/// Digest of each Forwarder's table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct TableDigests {
    /// The table while all links are up.
    computed: Digests,
    /// The table that its node has programmed; absent until the node reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    programmed: Option<Digests>,
}

#[utoipa::path(
    get, path = "/apis/beemesh.io/v1alpha1/namespaces/{namespace}/topologies/{name}/stages/{stage}", operation_id = "readStage", tag = "computed",
    summary = "One stage of the computation", security((), ("bearer" = [])),
    description = "`global` has all Forwarders, links and Apps; `mwt` the least weights and distances from one Forwarder; `spt` all its shortest paths.",
    params(
        ("namespace" = String, Path, description = "Kubernetes namespace"),
        ("name" = String, Path, description = "Name of the topology"),
        ("stage" = inline(StageName), Path, description = "The stage"),
        ("from" = Option<String>, Query, description = "The Forwarder that paths start from; the first in byte order when absent"),
    ),
    responses(
        (status = 200, description = "The stage.", content_type = "application/json", body = ref("#/components/schemas/GraphReport")),
        (status = 409, description = "The topology is rejected, and never was anything else; `errors` says why.", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
        (status = 404, description = "There is no such topology, stage or Forwarder.", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
        (status = "default", description = "What is wrong.", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
    )
)]
pub(super) async fn stage(
    State(rest): State<Rest>,
    headers: HeaderMap,
    In((namespace, name, stage)): In<(String, String, String)>,
    Asked(from): Asked<From>,
) -> Result<Json<GraphReport>, Problem> {
    let (entry, computed) = computed(&rest, &headers, &namespace, &name).await?;
    let stage = match stage.as_str() {
        "global" => Stage::Global,
        "mwt" => Stage::Mwt,
        "spt" => Stage::Spt,
        _ => {
            let detail = format!("there is no stage {stage:?}: expected global, mwt or spt");
            return Err(Problem::not_found(detail));
        }
    };
    let root = root(&computed, from.from.as_deref())?;
    let report = rest
        .compute(move || graph(&entry, &computed, stage, root))
        .await?;
    Ok(Json(report))
}

#[utoipa::path(
    get, path = "/apis/beemesh.io/v1alpha1/namespaces/{namespace}/topologies/{name}/routes", operation_id = "readRoutes", tag = "computed",
    summary = "The tables of all Forwarders, or of one", security((), ("bearer" = [])),
    params(
        ("namespace" = String, Path, description = "Kubernetes namespace"),
        ("name" = String, Path, description = "Name of the topology"),
        ("from" = Option<String>, Query, description = "Only the table of this Forwarder"),
    ),
    responses(
        (status = 200, description = "The tables.", content_type = "application/json", body = ref("#/components/schemas/RoutesReport")),
        (status = 409, description = "The topology is rejected, and never was anything else; `errors` says why.", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
        (status = 404, description = "There is no such topology or Forwarder.", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
        (status = "default", description = "What is wrong.", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
    )
)]
pub(super) async fn routes(
    State(rest): State<Rest>,
    headers: HeaderMap,
    In((namespace, name)): In<(String, String)>,
    Asked(from): Asked<From>,
) -> Result<Response, Problem> {
    let (_, computed) = computed(&rest, &headers, &namespace, &name).await?;
    let Some(from) = from.from else {
        let json = [(header::CONTENT_TYPE, "application/json")];
        return Ok((json, Body::from_stream(all_tables(rest, computed))).into_response());
    };
    let Some(root) = root(&computed, Some(&from))? else {
        return Err(no_forwarder(&from));
    };
    let table = rest.compute(move || {
        let table = report::table(&computed.graph, &computed.table(root));
        (computed.epoch.to_string(), table)
    });
    let (epoch, table) = table.await?;
    let tables = BTreeMap::from([(from, table)]);
    Ok(Json(RoutesReport { epoch, tables }).into_response())
}

#[utoipa::path(
    get, path = "/apis/beemesh.io/v1alpha1/namespaces/{namespace}/topologies/{name}/tables", operation_id = "readTables", tag = "computed",
    summary = "Epoch and digest of each Forwarder's table, computed and programmed", security((), ("bearer" = [])),
    params(
        ("namespace" = String, Path, description = "Kubernetes namespace"),
        ("name" = String, Path, description = "Name of the topology"),
    ),
    responses(
        (status = 200, description = "The digests.", content_type = "application/json", body = ref("#/components/schemas/TablesReport")),
        (status = 409, description = "The topology is rejected, and never was anything else; `errors` says why.", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
        (status = 404, description = "There is no such topology.", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
        (status = "default", description = "What is wrong.", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
    )
)]
pub(super) async fn tables(
    State(rest): State<Rest>,
    headers: HeaderMap,
    In((namespace, name)): In<(String, String)>,
) -> Result<Json<TablesReport>, Problem> {
    let (entry, computed) = computed(&rest, &headers, &namespace, &name).await?;
    let held = rest.0.cache.forwarders(&entry.key);
    let programmed = held.iter().filter(|one| !one.status.digest.is_empty());
    let mut programmed: BTreeMap<&str, Digests> = programmed
        .map(|one| {
            let (epoch, digest) = (one.status.epoch.clone(), one.status.digest.clone());
            (one.spec.name.as_str(), Digests { epoch, digest })
        })
        .collect();
    let names = computed.graph.forwarders().iter().zip(0..);
    let digests = names.map(|(name, index)| {
        let digests = TableDigests {
            computed: computed.of(ForwarderIndex(index)),
            programmed: programmed.remove(name.as_str()),
        };
        (name.clone(), digests)
    });
    Ok(Json(TablesReport {
        epoch: computed.epoch.to_string(),
        digest: computed.digest.to_string(),
        forwarders: digests.collect(),
    }))
}

/// Names of the stages, for the document.
#[derive(utoipa::ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "only its schema is used")]
enum StageName {
    Global,
    Mwt,
    Spt,
}

/// Computed topology, after a check that the caller may read it.
async fn computed(
    rest: &Rest,
    headers: &HeaderMap,
    namespace: &str,
    name: &str,
) -> Result<(Arc<Entry>, Arc<Computed>), Problem> {
    let entry = readable(rest, headers, namespace, name).await?;
    match (&entry.computed, entry.problems.is_empty()) {
        (Some(computed), _) => {
            let computed = Arc::clone(computed);
            Ok((entry, computed))
        }
        (None, true) => {
            let detail = format!("{namespace}/{name} is not computed yet; try again");
            Err(Problem::unavailable(detail))
        }
        (None, false) => Err(Problem::rejected(entry.problems.clone())),
    }
}

/// The Forwarder that is asked for, or the first in byte order; `None` when there is none at all.
fn root(computed: &Computed, from: Option<&str>) -> Result<Option<ForwarderIndex>, Problem> {
    let graph = &computed.graph;
    match from {
        Some(name) => graph
            .forwarder(name)
            .map(Some)
            .ok_or_else(|| no_forwarder(name)),
        None => Ok((!graph.forwarders().is_empty()).then_some(ForwarderIndex(0))),
    }
}

fn no_forwarder(name: &str) -> Problem {
    Problem::not_found(format!("there is no forwarder {name:?} in the topology"))
}

fn graph(
    entry: &Entry,
    computed: &Computed,
    stage: Stage,
    root: Option<ForwarderIndex>,
) -> GraphReport {
    let graph = Graph::new(&computed.graph);
    let root = root.filter(|_| stage != Stage::Global);
    let spf = root.map(|root| Spf::compute(&graph, root));
    let names = computed.graph.forwarders().iter().map(String::as_str);
    let nodes = names.zip(computed.nodes.iter().map(String::as_str));
    let seen = Seen {
        name: &entry.key.name,
        topology: &computed.graph,
        graph: &graph,
        spf: spf.as_ref(),
        stage,
        order: &order(entry, computed),
        nodes: &nodes.filter(|(_, node)| !node.is_empty()).collect(),
    };
    seen.report()
}

/// In the order of declaration where all are named, as `beemesh graph` has it.
fn order(entry: &Entry, computed: &Computed) -> Vec<ForwarderIndex> {
    let declared = entry
        .topology
        .iter()
        .flat_map(|object| &object.spec.forwarders);
    let named = declared.filter_map(|declared| computed.graph.forwarder(&declared.name));
    let named: Vec<ForwarderIndex> = named.collect();
    let count = computed.graph.forwarders().len();
    match named.len() == count {
        true => named,
        false => (0..count as u32).map(ForwarderIndex).collect(),
    }
}

/// [`RoutesReport`] as JSON, some tables at a time: all tables of a large topology do not fit into memory.
fn all_tables(
    rest: Rest,
    computed: Arc<Computed>,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let count = computed.graph.forwarders().len();
    let head = format!("{{\"epoch\":\"{}\",\"tables\":{{", computed.epoch);
    let head = stream::iter([Ok(Bytes::from(head))]);
    let chunks = (0..count).step_by(CHUNK).map(move |first| {
        let (rest, computed) = (rest.clone(), Arc::clone(&computed));
        async move {
            let last = (first + CHUNK).min(count);
            let text = rest.compute(move || spelled(&computed, first, last)).await;
            // Without the rest the JSON is not whole, and the reader knows.
            Ok(Bytes::from(text.unwrap_or_default()))
        }
    });
    let tail = stream::iter([Ok(Bytes::from_static(b"}}"))]);
    head.chain(stream::iter(chunks).then(|chunk| chunk))
        .chain(tail)
}

/// The tables of the Forwarders `first..last` as fields of an object.
fn spelled(computed: &Computed, first: usize, last: usize) -> String {
    let graph = Graph::new(&computed.graph);
    let mut spf: Option<Spf> = None;
    let mut text = String::new();
    for root in first..last {
        let index = ForwarderIndex(root as u32);
        let spf = match &mut spf {
            Some(spf) => {
                spf.recompute(&graph, index);
                spf
            }
            None => spf.insert(Spf::compute(&graph, index)),
        };
        let table = Table::new(&computed.graph, &graph, spf, computed.max_paths);
        let table = report::table(&computed.graph, &table);
        let name = &computed.graph.forwarders()[root];
        let field = serde_json::to_string(&BTreeMap::from([(name, table)]));
        let field = field.expect("names and numbers are JSON");
        text += if root == 0 { "" } else { "," };
        text += &field[1..field.len() - 1];
    }
    text
}

#[cfg(test)]
mod tests {
    use crds::Instances;

    use super::*;
    use crate::plan::Memo;

    #[test]
    fn tables_one_by_one_are_the_tables_together() {
        let text = "apiVersion: beemesh.io/v1alpha1\nkind: MicroServiceTopology\n\
            metadata: {name: t}\nspec: {forwarderPerNode: {}, shape: Ring}\n";
        let object = &crds::read("t", text.as_bytes()).expect("sound")[0];
        let names: Vec<String> = (0..40).map(|number| format!("n{number}")).collect();
        let nodes: Vec<crds::Node> = names.iter().map(|name| name.as_str().into()).collect();
        let forwarders = crds::expand(object, &nodes, &[], &Instances::new()).expect("sound");
        let computed = Computed::new(&forwarders, &mut Memo::default()).expect("a graph");
        let starts: Vec<usize> = (0..40).step_by(CHUNK).collect();
        let chunks = starts
            .iter()
            .map(|first| spelled(&computed, *first, (first + CHUNK).min(40)));
        let text = format!("{{{}}}", chunks.collect::<String>());
        let tables: BTreeMap<String, report::TableReport> =
            serde_json::from_str(&text).expect("whole JSON");
        let expected = computed
            .graph
            .forwarders()
            .iter()
            .zip(0..)
            .map(|(name, index)| {
                let table = computed.table(ForwarderIndex(index));
                (name.clone(), report::table(&computed.graph, &table))
            });
        assert_eq!(tables, expected.collect());
    }
}
