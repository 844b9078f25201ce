//! Status of a topology over time.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{Namespace, shared};

/// Two Forwarders and a link on two nodes of this prefix.
fn pair(prefix: &str) -> Value {
    json!({
        "forwarders": [
            {"name": "a", "node": format!("{prefix}-1")},
            {"name": "b", "node": format!("{prefix}-2")},
        ],
        "links": [{"a": "a", "b": "b"}],
    })
}

fn settled<'a>(name: &str) -> Result<Namespace<'a>> {
    let cluster = shared()?;
    let namespace = cluster.namespace(name)?;
    for number in [1, 2] {
        cluster.node(&format!("{name}-{number}"), &json!({}))?;
    }
    namespace.topology("pair", &pair(name))?;
    namespace.until("pair", "Computed", "True", "")?;
    Ok(namespace)
}

/// Waits until every Forwarder says what is computed for it, and returns all.
fn published(namespace: &Namespace<'_>) -> Result<Vec<Value>> {
    namespace.eventually("tables are published", || {
        let epoch = namespace.get("mst", "pair")?["status"]["epoch"].clone();
        let forwarders = namespace.forwarders("pair")?;
        let is_there = |forwarder: &Value| forwarder["status"]["computed"]["epoch"] == epoch;
        ensure!(forwarders.iter().all(is_there), "{forwarders:?}");
        Ok(forwarders)
    })
}

/// Report of the node of `forwarder`, with its link up or down.
fn report(namespace: &Namespace<'_>, forwarder: &Value, is_up: bool, table: &Value) -> Result<()> {
    let object = forwarder["metadata"]["name"].as_str().context("a name")?;
    let reason = if is_up { "" } else { "Timeout" };
    let status = json!({
        "epoch": table["epoch"],
        "digest": table["digest"],
        "netns": "bm-test",
        "links": {"up": u8::from(is_up), "total": 1},
        "linkStates": [{"id": "a/b", "up": is_up, "reason": reason}],
        "conditions": [{"type": "Ready", "status": "True", "reason": "Programmed", "message": ""}],
    });
    namespace.patch_status("fwd", object, &json!({ "status": status }))
}

/// The table of each Forwarder when these links are down, as any node would compute it.
fn tables(forwarders: &[Value], is_up: bool) -> Result<Vec<Value>> {
    let read = |forwarder: &Value| -> Result<crds::Forwarder> {
        let spec = serde_json::from_value(forwarder["spec"].clone())?;
        Ok(crds::Forwarder::new("status", spec))
    };
    let forwarders = forwarders.iter().map(read).collect::<Result<Vec<_>>>()?;
    let graph = crds::topology_of(&forwarders)?;
    let mut live = topology::Graph::new(&graph);
    if !is_up {
        let link = graph.link("a/b").context("a link")?;
        let weights = None;
        live.change(topology::Change::Link { link, weights });
    }
    let table = |from: u32| {
        let from = topology::ForwarderIndex(from);
        let spf = topology::Spf::compute(&live, from);
        let table = topology::Table::new(&graph, &live, &spf, 64);
        json!({"epoch": live.epoch().to_string(), "digest": table.digest().to_string()})
    };
    Ok((0..live.forwarder_count() as u32).map(table).collect())
}

pub(crate) fn reports_of_nodes_make_it_ready() -> Result<()> {
    let namespace = settled("reports")?;
    let forwarders = published(&namespace)?;
    let all = tables(&forwarders, true)?;
    for (forwarder, table) in forwarders.iter().zip(&all) {
        ensure!(
            forwarder["status"]["computed"]["digest"] == table["digest"],
            "{table}"
        );
        report(&namespace, forwarder, true, table)?;
    }
    namespace.until("pair", "Programmed", "True", "")?;
    let ready = namespace.until("pair", "Ready", "True", "")?;
    ensure!(
        ready["status"]["links"] == json!({"up": 1, "total": 1}),
        "{}",
        ready["status"]
    );

    let cut = tables(&forwarders, false)?;
    for (forwarder, table) in forwarders.iter().zip(&cut) {
        report(&namespace, forwarder, false, table)?;
    }
    namespace.until("pair", "Degraded", "True", "")?;
    for (forwarder, table) in forwarders.iter().zip(&all) {
        report(&namespace, forwarder, true, table)?;
    }
    namespace.until("pair", "Degraded", "False", "")?;
    namespace.until("pair", "Ready", "True", "").map(drop)
}

pub(crate) fn a_bad_spec_tears_nothing_down() -> Result<()> {
    let namespace = settled("slip")?;
    let before = namespace.forwarders("pair")?;
    // Twice: what the first of them tears down may go only after it is rejected.
    for label in ["no", "nor"] {
        let mut bad = pair("slip");
        bad["forwarders"][1] = json!({"name": "b", "nodeSelector": {label: "such-node"}});
        namespace.topology("pair", &bad)?;
        let rejected = namespace.until("pair", "Accepted", "False", "NoNode")?;
        let mut conditions = rejected["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten();
        let accepted = conditions.find(|condition| condition["type"] == "Accepted");
        let message = accepted.map(|condition| condition["message"].to_string());
        ensure!(
            message.is_some_and(|it| it.contains("spec.forwarders[1].nodeSelector")),
            "{rejected}"
        );
        let after = namespace.forwarders("pair")?;
        ensure!(after.len() == before.len(), "only {after:?}");
        for (before, after) in before.iter().zip(&after) {
            ensure!(before["spec"] == after["spec"], "changed: {after}");
            ensure!(
                before["metadata"]["uid"] == after["metadata"]["uid"],
                "made anew: {after}"
            );
        }
    }
    namespace.topology("pair", &pair("slip"))?;
    namespace.until("pair", "Computed", "True", "").map(drop)
}

pub(crate) fn transitions_are_told() -> Result<()> {
    let namespace = settled("events")?;
    namespace.eventually("the topology has events", || {
        let events = namespace.list("events.events.k8s.io")?;
        let of_topology = |event: &&Value| event["regarding"]["kind"] == "MicroServiceTopology";
        let reasons: Vec<&Value> = events
            .iter()
            .filter(of_topology)
            .map(|event| &event["reason"])
            .collect();
        ensure!(
            reasons.iter().any(|reason| **reason == "Computed"),
            "{reasons:?}"
        );
        Ok(())
    })
}

pub(crate) fn what_is_refused_is_told() -> Result<()> {
    let namespace = settled("refused")?;
    let patch = r#"{"metadata": {"labels": {"probe": "yes"}}}"#;
    let probe = ["patch", "allocations", "pair", "--type=merge", "-p", patch];
    namespace.forbid("beemesh.io", "allocations", &probe)?;
    let mut grown = pair("refused");
    let third = json!({"name": "c", "node": "refused-1"});
    let forwarders = grown["forwarders"].as_array_mut().context("a list")?;
    forwarders.push(third);
    grown["links"] = json!([{"a": "a", "b": "b", "weight": 7}, {"a": "b", "b": "c"}]);
    namespace.topology("pair", &grown)?;

    let blocked = namespace.until("pair", "Computed", "False", "Blocked")?;
    let words = ["failed to update Allocation pair", "no more allocations"];
    let conditions = blocked["status"]["conditions"].to_string();
    let is_said = words.iter().all(|word| conditions.contains(word));
    ensure!(is_said, "{conditions}");
    namespace.told("Blocked", &words)?;
    namespace.eventually("what needs no grant is written", || {
        let weight = namespace.get("fwd", "pair.a")?["spec"]["links"][0]["weight"].clone();
        ensure!(weight == 7, "weight {weight}");
        Ok(())
    })?;

    namespace.allow("allocations")?;
    namespace.until("pair", "Computed", "True", "").map(drop)
}

pub(crate) fn our_fields_are_ours() -> Result<()> {
    let namespace = settled("ours")?;
    let forwarder = namespace.forwarders("pair")?.remove(0);
    let object = forwarder["metadata"]["name"].as_str().context("a name")?;
    let patch = json!({"spec": {"node": "elsewhere", "blocks": ["192.0.2.0/28"]}}).to_string();
    let arguments = [
        "-n",
        &namespace.name,
        "patch",
        "fwd",
        object,
        "--type=merge",
        "--field-manager=other",
        "-p",
        &patch,
    ];
    namespace.cluster.server.kubectl(&arguments)?.ok()?;
    namespace.eventually("the edit is undone", || {
        let found = namespace.get("fwd", object)?;
        ensure!(found["spec"] == forwarder["spec"], "{}", found["spec"]);
        Ok(())
    })
}
