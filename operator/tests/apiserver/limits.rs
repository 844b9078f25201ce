//! Topologies beyond one etcd object, and beyond the administrator's limits.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context, Result, ensure};
use e2e::{ApiServer, Process, eventually};
use serde_json::{Value, json};

use super::cluster::{Cluster, DEADLINE, operator_with, shared};

/// Names as long as a Forwarder's may be.
fn long(number: usize) -> String {
    format!("f{number:03}-{}", "x".repeat(58))
}

/// A mesh of so many Forwarders, each on a node of its own.
fn mesh(forwarders: usize) -> Value {
    let forwarder = |number| json!({"name": long(number), "node": format!("of-{number}")});
    let forwarders: Vec<Value> = (0..forwarders).map(forwarder).collect();
    json!({"forwarders": forwarders, "shape": "Mesh"})
}

/// Allocation of 2 MB: one etcd object holds 1.5 MiB.
pub(crate) fn more_than_one_object_holds() -> Result<()> {
    const FORWARDERS: usize = 170;
    let cluster = shared()?;
    let namespace = cluster.namespace("large")?;
    namespace.topology("mesh", &mesh(FORWARDERS))?;
    namespace.until("mesh", "Computed", "True", "")?;
    let links = FORWARDERS * (FORWARDERS - 1) / 2;
    ensure!(given(&namespace.list("allocations")?)? == links);

    namespace.topology("mesh", &mesh(FORWARDERS - 1))?;
    namespace.until("mesh", "Computed", "True", "")?;
    namespace.eventually("shards that no allocation names are gone", || {
        let allocations = namespace.list("allocations")?;
        let links = links - (FORWARDERS - 1);
        ensure!(
            given(&allocations)? == links,
            "{} objects",
            allocations.len()
        );
        let head = allocations
            .iter()
            .find(|it| it["metadata"]["name"] == "mesh");
        let head = head.context("there is an allocation")?;
        let shards = head["spec"]["shards"].as_array().context("in shards")?;
        ensure!(shards.len() + 1 == allocations.len(), "{}", head["spec"]);
        Ok(())
    })
}

/// `limits.memory` of the chart.
const MEMORY: u64 = 512 << 20;

/// Two objects of 240 kB each, whose lists multiply: 2,000 Apps, 4,096 namespaces, 4 Forwarders.
pub(crate) fn large_topologies_fit_into_the_memory_of_the_chart() -> Result<()> {
    let cluster = Cluster::on(ApiServer::start()?)?;
    let namespace = cluster.namespace("wide")?;
    cluster.node("n1", &json!({}))?;
    let forwarders = ["a", "b", "c", "d"].map(|name| json!({"name": name, "node": "n1"}));
    let app = |number| {
        let labels = json!({"app": format!("a{number}")});
        json!({"name": format!("a{number}"), "podSelector": {"matchLabels": labels}})
    };
    let wide = |weight: u32| {
        json!({
            "forwarders": forwarders,
            "links": [{"a": "a", "b": "b", "weight": weight}, {"a": "b", "b": "c"}, {"a": "c", "b": "d"}],
            "apps": (0..2_000).map(app).collect::<Vec<Value>>(),
            "allowedNamespaces": (0..4_096).map(|number| format!("team-{number}")).collect::<Vec<_>>(),
        })
    };
    for weight in 1..=3 {
        for name in ["one", "other"] {
            namespace.topology(name, &wide(weight))?;
        }
        for name in ["one", "other"] {
            namespace.until(name, "Computed", "True", "")?;
        }
    }
    let small = json!({"forwarders": [{"name": "a", "node": "n1"}]});
    namespace.topology("small", &small)?;
    namespace.until("small", "Computed", "True", "")?;
    let peak = cluster.operator.peak_bytes()?;
    ensure!(peak < MEMORY, "{} MiB of {}", peak >> 20, MEMORY >> 20);
    Ok(())
}

/// How many VNIs the named shards give, each to one link.
fn given(allocations: &[Value]) -> Result<usize> {
    let head = allocations
        .iter()
        .find(|it| it["metadata"]["name"] == "mesh");
    let shards = &head.context("there is an allocation")?["spec"]["shards"];
    let shards: BTreeSet<&str> = shards
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    ensure!(shards.len() > 1, "in {} shards", shards.len());
    let mut vnis = BTreeSet::new();
    for object in allocations {
        let bytes = object.to_string().len();
        ensure!(bytes < 1 << 20, "an object of {bytes} bytes");
        if shards.contains(object["metadata"]["name"].as_str().unwrap_or_default()) {
            let given = object["spec"]["vnis"].as_object().into_iter().flatten();
            for (link, vni) in given {
                ensure!(
                    vnis.insert(vni.as_u64()),
                    "VNI {vni} of {link} is given twice"
                );
            }
        }
    }
    Ok(vnis.len())
}

/// Two replicas, and topologies that all want to one node at once.
pub(crate) fn no_node_has_more_than_is_allowed() -> Result<()> {
    const MOST: usize = 10;
    let server = ApiServer::start()?;
    let definitions = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/yaml");
    server.apply_crds(&definitions)?;
    let bounds = [
        "--max-forwarders-per-node=10",
        "--max-forwarders-per-topology=8",
    ];
    let start = |name| operator_with(&server, name, &bounds);
    let (operator, other): (Process, Process) = (start("one")?, start("other")?);
    let cluster = Cluster { server, operator };
    let namespace = cluster.namespace("crowd")?;
    cluster.node("n1", &json!({}))?;
    let forwarders = |count: usize| {
        let forwarder = |number| json!({"name": format!("f{number}"), "node": "n1"});
        let forwarders: Vec<Value> = (0..count).map(forwarder).collect();
        json!({"forwarders": forwarders, "shape": "Line"})
    };
    for name in ["a", "b", "c", "d"] {
        namespace.topology(name, &forwarders(4))?;
    }
    let accepted = eventually("two have the room", DEADLINE, || {
        let all = namespace.list("fwd")?;
        ensure!(all.len() <= MOST || all.iter().filter(|it| is_filled(it)).count() <= MOST);
        let topologies = namespace.list("mst")?;
        let with = |kind: &str, status: &str| -> Vec<String> {
            let found = topologies
                .iter()
                .filter(|it| condition(it, kind)["status"] == status);
            found.map(|it| it["metadata"]["name"].to_string()).collect()
        };
        let accepted = with("Computed", "True");
        ensure!(
            accepted.len() == 2 && with("Accepted", "False").len() == 2,
            "{topologies:?}"
        );
        let filled = all.iter().filter(|it| is_filled(it)).count();
        ensure!(
            filled == all.len() && filled == 8,
            "{filled} of {}",
            all.len()
        );
        Ok(accepted)
    })?;
    let refused = ["a", "b", "c", "d"]
        .into_iter()
        .find(|it| !accepted.contains(&format!("{it:?}")));
    let refused = namespace.until(
        refused.context("one")?,
        "Accepted",
        "False",
        "TooManyForwarders",
    )?;
    let message = condition(&refused, "Accepted")["message"].to_string();
    ensure!(
        message.contains("at most 10") && message.contains("node n1 would have 12"),
        "{message}"
    );

    namespace.topology("large", &forwarders(9))?;
    let large = namespace.until("large", "Accepted", "False", "TooManyForwarders")?;
    let message = condition(&large, "Accepted")["message"].to_string();
    ensure!(
        message.contains("at most 8") && message.contains("these are 9"),
        "{message}"
    );
    drop(other);
    Ok(())
}

fn is_filled(forwarder: &Value) -> bool {
    forwarder["spec"]["blocks"].is_array()
}

fn condition<'a>(topology: &'a Value, kind: &str) -> &'a Value {
    let conditions = topology["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions
        .find(|it| it["type"] == kind)
        .unwrap_or(&Value::Null)
}
