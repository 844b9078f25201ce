//! Computed results, compared with the Forwarder objects at the API server.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use crds::{
    Forwarder,
    report::{self, GraphReport, PlanReport, RoutesReport, Seen, Stage},
};
use e2e::eventually;
use serde_json::{Value, json};
use topology::{ForwarderIndex, Graph, Spf, Table, Topology};

use crate::{
    client::Asked,
    world::{DEADLINE, NAMESPACE, World, path, topology, world},
};

/// Two ways from a to d, parallel links, an external App, and nodes that are not in the order of names.
const SPEC: &str = "{
    forwarders: [{name: d, node: n4}, {name: a, node: n1}, {name: b, node: n2}, {name: c, node: n3}],
    links: [{a: a, b: b}, {a: b, b: d}, {a: a, b: c}, {a: c, b: d}, {a: a, b: b, weight: 7}],
    apps: [{name: plc, external: {forwarder: d, cidrs: [192.168.7.0/24]}}]}";

pub(crate) fn each_stage_is_that_of_the_forwarders() -> Result<()> {
    let world = world()?;
    let forwarders = applied(world, "stages")?;
    let topology = crds::topology_of(&forwarders)?;
    let specs = forwarders.iter().map(|forwarder| &forwarder.spec);
    let nodes: BTreeMap<&str, &str> = specs
        .map(|spec| (spec.name.as_str(), spec.node.as_str()))
        .collect();
    let declared = ["d", "a", "b", "c"];
    let order = declared.map(|name| topology.forwarder(name));
    let order: Vec<ForwarderIndex> = order.into_iter().flatten().collect();
    let graph = Graph::new(&topology);
    #[rustfmt::skip]
    let cases = [
        ("global",       Stage::Global, None),
        ("mwt",          Stage::Mwt,    Some("a")),
        ("mwt?from=c",   Stage::Mwt,    Some("c")),
        ("spt?from=a",   Stage::Spt,    Some("a")),
        ("spt?from=d",   Stage::Spt,    Some("d")),
    ];
    for (asked, stage, root) in cases {
        let root = root.and_then(|root| topology.forwarder(root));
        let spf = root.map(|root| Spf::compute(&graph, root));
        let expected = Seen {
            name: "stages",
            topology: &topology,
            graph: &graph,
            spf: spf.as_ref(),
            stage,
            order: &order,
            nodes: &nodes,
        };
        let answer = world
            .read(&format!("{}/stages/{asked}", path("stages")))?
            .with(200)?;
        let report: GraphReport = serde_json::from_value(answer.json()?)?;
        ensure!(report == expected.report(), "{asked}: {report:#?}");
    }
    let known = world
        .read(&format!("{}/stages/spt?from=x", path("stages")))?
        .with(404)?;
    ensure!(
        known.detail()? == "there is no forwarder \"x\" in the topology",
        "{known:?}"
    );
    world
        .read(&format!("{}/stages/rib", path("stages")))?
        .with(404)?;
    Ok(())
}

pub(crate) fn routes_and_digests_are_those_of_the_forwarders() -> Result<()> {
    let world = world()?;
    let forwarders = applied(world, "routes")?;
    let topology = crds::topology_of(&forwarders)?;
    let expected = routes(&topology);
    let answer = world
        .read(&format!("{}/routes", path("routes")))?
        .with(200)?;
    let all: RoutesReport = serde_json::from_value(answer.json()?)?;
    ensure!(all == expected, "{all:#?}");
    let answer = world
        .read(&format!("{}/routes?from=b", path("routes")))?
        .with(200)?;
    let one: RoutesReport = serde_json::from_value(answer.json()?)?;
    ensure!(one.tables.keys().eq(["b"]), "{one:#?}");
    ensure!(one.tables["b"] == expected.tables["b"], "{one:#?}");
    let answer = world
        .read(&format!("{}/tables", path("routes")))?
        .with(200)?;
    let tables = answer.json()?;
    ensure!(tables["epoch"] == expected.epoch, "{tables:#}");
    eventually("the same digests are published", DEADLINE, || {
        for forwarder in objects(world, "routes")? {
            let found = &tables["forwarders"][&forwarder.spec.name]["computed"];
            let published = serde_json::to_value(forwarder.status.computed)?;
            ensure!(*found == published, "{published}, not as in {tables:#}");
        }
        Ok(())
    })
}

pub(crate) fn a_plan_tells_what_then_happens() -> Result<()> {
    let world = world()?;
    applied(world, "planned")?;
    let before = routes(&crds::topology_of(&objects(world, "planned")?)?);
    let changed = topology(
        "planned",
        &SPEC.replace("{a: a, b: c}", "{a: a, b: c, weight: 5}"),
    );
    let plan = |body: &str| {
        world.ask(&Asked {
            method: "POST",
            path: &format!("{}/plan", path("planned")),
            token: Some(&world.jane),
            body,
            ..Asked::default()
        })
    };
    let report: PlanReport = serde_json::from_value(plan(&changed)?.with(200)?.json()?)?;
    ensure!(report.links.changed == ["a/c"], "{report:#?}");
    let old = routes(&crds::topology_of(&objects(world, "planned")?)?);
    ensure!(old == before, "a plan has changed something");
    let same: PlanReport =
        serde_json::from_value(plan(&topology("planned", SPEC))?.with(200)?.json()?)?;
    ensure!(
        same.routes.is_empty() && same.old_epoch == same.new_epoch,
        "{same:#?}"
    );
    world.apply("planned", &changed)?.with(200)?;
    world.computed("planned")?;
    let answer = world
        .read(&format!("{}/routes", path("planned")))?
        .with(200)?;
    let after: RoutesReport = serde_json::from_value(answer.json()?)?;
    ensure!(
        (&report.old_epoch, &report.new_epoch) == (&before.epoch, &after.epoch),
        "{report:#?}"
    );
    for (from, changes) in &report.routes {
        for (to, change) in changes {
            ensure!(
                before.tables[from].get(to) == change.before.as_ref(),
                "{from} to {to}: {change:#?}"
            );
            ensure!(
                after.tables[from].get(to) == change.after.as_ref(),
                "{from} to {to}: {change:#?}"
            );
        }
    }
    let wrong = plan(&topology(
        "planned",
        "{forwarders: [{name: a, node: nowhere}], shape: Blob}",
    ))?;
    let wrong = wrong.with(422)?.json()?;
    ensure!(wrong["errors"][0]["path"] == "spec.shape", "{wrong:#}");
    Ok(())
}

pub(crate) fn a_plan_of_a_new_one_sees_its_pods() -> Result<()> {
    let world = world()?;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web-0", "namespace": NAMESPACE, "labels": {"app": "web"}},
        "spec": {"nodeName": "n2", "containers": [{"name": "main", "image": "none"}]},
    });
    world.server.kubectl_apply(&pod.to_string())?;
    let status = json!({"status": {"phase": "Running"}}).to_string();
    let patch = [
        "patch",
        "pod",
        "web-0",
        "-n",
        NAMESPACE,
        "--subresource=status",
        "-p",
        &status,
    ];
    world.server.kubectl(&patch)?.ok()?;
    let spec = "{forwarders: [{name: a, node: n1}, {name: b, node: n2}], shape: Line,
        apps: [{name: web, podSelector: {matchLabels: {app: web}}}]}";
    eventually("the pod is in the caches", DEADLINE, || {
        let answer = world.ask(&Asked {
            method: "POST",
            path: &format!("{}/plan", path("unborn")),
            token: Some(&world.jane),
            body: &topology("unborn", spec),
            ..Asked::default()
        })?;
        let report = answer.with(200)?.json()?;
        let (near, far) = (&report["routes"]["b"]["web"], &report["routes"]["a"]["web"]);
        ensure!(near["after"]["attached"] == true, "{report:#}");
        ensure!(
            far["after"]["nextHops"] == json!([{"via": "b", "link": "a/b"}]),
            "{report:#}"
        );
        Ok(())
    })
}

/// Applies [`SPEC`] under this name, and returns the objects once they are computed.
fn applied(world: &World, name: &str) -> Result<Vec<Forwarder>> {
    world.apply(name, &topology(name, SPEC))?.with(200)?;
    world.computed(name)?;
    objects(world, name)
}

fn objects(world: &World, name: &str) -> Result<Vec<Forwarder>> {
    let label = format!("beemesh.io/topology={name}");
    let get = ["get", "fwd", "-n", NAMESPACE, "-l", &label, "-o", "json"];
    let list = world.server.kubectl(&get)?.json()?;
    let items = list["items"].as_array().context("a list")?;
    let objects: Result<Vec<Forwarder>, _> = items
        .iter()
        .cloned()
        .map(serde_json::from_value::<Forwarder>)
        .collect();
    objects.with_context(|| Value::from(items.clone()).to_string())
}

fn routes(topology: &Topology) -> RoutesReport {
    let graph = Graph::new(topology);
    let names = topology.forwarders().iter().zip(0..);
    let tables = names.map(|(name, index)| {
        let spf = Spf::compute(&graph, ForwarderIndex(index));
        let table = Table::new(topology, &graph, &spf, 64);
        (name.clone(), report::table(topology, &table))
    });
    RoutesReport {
        epoch: topology.epoch().to_string(),
        tables: tables.collect(),
    }
}
