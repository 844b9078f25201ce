//! Dry run: changes from the current to a proposed topology.

use std::{collections::BTreeSet, sync::Arc};

use axum::{Json, extract::State, http::HeaderMap};
use crds::report::PlanReport;
use topology::{Graph, Spf, Table, Topology};

use super::{
    Rest,
    access::Right,
    apply::declared,
    extract::{Body, In},
    problem::Problem,
};
use crate::{
    observe::Key,
    plan::{self, Computed, Memo, Observed},
};

/// More routes than this are not compared: `beemesh plan` on the asker's own machine does.
const MOST: usize = 2_000 * 2_000;

/// Tables that are compared together.
const CHUNK: usize = 64;

#[utoipa::path(
    post, path = "/apis/beemesh.io/v1alpha1/namespaces/{namespace}/topologies/{name}/plan", operation_id = "planTopology", tag = "topologies",
    summary = "What would change if this were applied", security(("bearer" = [])),
    description = "Compares a proposed topology, on the nodes and with the pods that there are, with what is applied; nothing is written. \
        One that is not there yet is compared with nothing. Needs the right to `get` the topology.",
    params(
        ("namespace" = String, Path, description = "Kubernetes namespace"),
        ("name" = String, Path, description = "Name of the topology"),
    ),
    request_body(
        description = "YAML or JSON, as `kubectl apply` takes it",
        content((ref("#/components/schemas/MicroServiceTopology") = "application/yaml"), (ref("#/components/schemas/MicroServiceTopology") = "application/json")),
    ),
    responses(
        (status = 200, description = "What would change.", content_type = "application/json", body = ref("#/components/schemas/PlanReport")),
        (status = 413, description = "It is too large.", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
        (status = 422, description = "It would be rejected; `errors` has each field.", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
        (status = "default", description = "What is wrong.", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
    )
)]
pub(super) async fn propose(
    State(rest): State<Rest>,
    headers: HeaderMap,
    In((namespace, name)): In<(String, String)>,
    body: Body,
) -> Result<Json<PlanReport>, Problem> {
    let right = Right::topology("get", &namespace, &name);
    rest.0.access.allow(&headers, right).await?;
    let body = body.read().await?;
    let key = Key::new(namespace, name);
    let cache = rest.0.cache.clone();
    let world = rest.compute(move || {
        let (proposed, _) = declared(&key.namespace, &key.name, &body)?;
        let applied = cache.entry(&key).and_then(|entry| entry.computed.clone());
        let world = cache.proposed(&key, &Arc::new(proposed));
        Ok::<_, Problem>((applied, world))
    });
    let (applied, world) = world.await??;
    let room = rest.0.memory.take(world.claim.size()).await;
    let report = rest.compute(move || {
        let _room = room;
        compare(applied, &world)
    });
    report.await?.map(Json)
}

fn compare(applied: Option<Arc<Computed>>, world: &Observed) -> Result<PlanReport, Problem> {
    let plan = plan::plan_with(world, &mut Memo::default());
    let Some(proposed) = plan.computed else {
        return Err(Problem::invalid(plan.problems));
    };
    let nothing = Topology::new(Vec::new(), Vec::new(), Vec::new());
    let nothing = nothing.expect("nothing has nothing wrong in it");
    let old = applied.as_ref().map_or(&nothing, |applied| &applied.graph);
    let old_paths = applied.as_ref().map_or(1, |applied| applied.max_paths);
    let new = &proposed.graph;
    if [old, new].into_iter().any(|one| size(one) > MOST) {
        let detail = "too large to be compared here: `beemesh plan -f NEW --against OLD` does it on your machine";
        return Err(Problem::field("spec", detail));
    }
    let mut report = PlanReport::new(old, new);
    let names: BTreeSet<&String> = old.forwarders().iter().chain(new.forwarders()).collect();
    let names: Vec<&String> = names.into_iter().collect();
    for names in names.chunks(CHUNK) {
        let before = tables(old, old_paths, names);
        let after = tables(new, proposed.max_paths, names);
        report.extend(topology::plan((old, &before), (new, &after)));
    }
    Ok(report)
}

/// Number of routes.
fn size(topology: &Topology) -> usize {
    let forwarders = topology.forwarders().len();
    forwarders * (forwarders + topology.apps().len())
}

fn tables(topology: &Topology, max_paths: usize, names: &[&String]) -> Vec<Table> {
    let graph = Graph::new(topology);
    let roots = names.iter().filter_map(|name| topology.forwarder(name));
    roots
        .map(|root| Table::new(topology, &graph, &Spf::compute(&graph, root), max_paths))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(spec: &str) -> Observed {
        let text = format!(
            "apiVersion: beemesh.io/v1alpha1\nkind: MicroServiceTopology\nmetadata: {{name: t}}\nspec: {spec}\n"
        );
        let object = crds::read("t", text.as_bytes()).expect("sound").remove(0);
        Observed {
            nodes: Arc::new(vec!["n1".into()]),
            ..Observed::new(object.into())
        }
    }

    #[test]
    fn a_link_more_changes_the_routes_over_it() {
        let line = "{forwarders: [{name: a}, {name: b}, {name: c}], shape: Line}";
        let ring = "{forwarders: [{name: a}, {name: b}, {name: c}], shape: Ring}";
        let applied = plan::plan(&world(line)).computed.map(Arc::new);
        let report = compare(applied, &world(ring)).expect("sound");
        assert_eq!(report.links.added, ["a/c"]);
        assert_eq!(report.routes.keys().collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(
            report.routes["a"]["c"]
                .after
                .as_ref()
                .map(|route| route.distance),
            Some(1)
        );
    }

    #[test]
    fn a_new_one_is_compared_with_nothing_and_a_bad_one_is_told() {
        let report = compare(None, &world("{forwarders: [{name: a}]}")).expect("sound");
        assert_eq!(report.forwarders.added, ["a"]);
        let problem = compare(
            None,
            &world("{forwarders: [{name: a, node: gone}, {name: b, nodeSelector: {zone: z}}]}"),
        );
        let problem = problem.expect_err("no node has this label");
        assert_eq!(problem.status, 422);
        assert!(!problem.errors.is_empty());
    }
}
