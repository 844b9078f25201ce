//! Forwarders follow nodes.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{Namespace, shared};

fn places(namespace: &Namespace<'_>, topology: &str) -> Result<Vec<(String, String)>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let forwarders = namespace.forwarders(topology)?;
    let spec = |forwarder: &Value| {
        let spec = &forwarder["spec"];
        (text(&spec["name"]), text(&spec["node"]))
    };
    Ok(forwarders.iter().map(spec).collect())
}

fn until_places(
    namespace: &Namespace<'_>,
    topology: &str,
    expected: &[(&str, &str)],
) -> Result<()> {
    namespace.eventually(&format!("{topology} is on {expected:?}"), || {
        let found = places(namespace, topology)?;
        let found: Vec<(&str, &str)> = found
            .iter()
            .map(|(name, node)| (name.as_str(), node.as_str()))
            .collect();
        ensure!(found == expected, "found {found:?}");
        Ok(())
    })
}

pub(crate) fn one_per_node_follows_nodes() -> Result<()> {
    let cluster = shared()?;
    let namespace = cluster.namespace("per-node")?;
    for node in ["each-1", "each-2"] {
        cluster.node(node, &json!({"each": "yes"}))?;
    }
    let spec = json!({"forwarderPerNode": {"nodeSelector": {"each": "yes"}}, "shape": "Mesh"});
    namespace.topology("each", &spec)?;
    namespace.until("each", "Computed", "True", "")?;
    until_places(
        &namespace,
        "each",
        &[("each-1", "each-1"), ("each-2", "each-2")],
    )?;
    let before = namespace.forwarders("each")?;

    cluster.node("each-3", &json!({"each": "yes"}))?;
    let all = [
        ("each-1", "each-1"),
        ("each-2", "each-2"),
        ("each-3", "each-3"),
    ];
    until_places(&namespace, "each", &all)?;
    cluster.node("each-2", &json!({"each": "no"}))?;
    until_places(
        &namespace,
        "each",
        &[("each-1", "each-1"), ("each-3", "each-3")],
    )?;
    cluster.delete_node("each-3")?;
    until_places(&namespace, "each", &[("each-1", "each-1")])?;
    namespace.until("each", "Computed", "True", "")?;

    let after = namespace.forwarders("each")?;
    ensure!(
        after[0]["metadata"]["uid"] == before[0]["metadata"]["uid"],
        "it was made anew"
    );
    ensure!(
        after[0]["spec"]["blocks"] == before[0]["spec"]["blocks"],
        "its blocks changed"
    );
    Ok(())
}

pub(crate) fn a_selected_node_is_kept() -> Result<()> {
    let cluster = shared()?;
    let namespace = cluster.namespace("selected")?;
    cluster.node("sel-5", &json!({"sel": "yes"}))?;
    let spec = json!({"forwarders": [{"name": "a", "nodeSelector": {"sel": "yes"}}]});
    namespace.topology("one", &spec)?;
    until_places(&namespace, "one", &[("a", "sel-5")])?;
    // One that would have been chosen, had it been there.
    cluster.node("sel-1", &json!({"sel": "yes"}))?;
    let marked = json!({"forwarders": [{"name": "a", "nodeSelector": {"sel": "yes"}}, {"name": "b", "node": "sel-1"}]});
    namespace.topology("one", &marked)?;
    until_places(&namespace, "one", &[("a", "sel-5"), ("b", "sel-1")])?;
    cluster.delete_node("sel-5")?;
    until_places(&namespace, "one", &[("a", "sel-1"), ("b", "sel-1")])
}

pub(crate) fn a_topology_waits_for_its_node() -> Result<()> {
    let cluster = shared()?;
    let namespace = cluster.namespace("waiting")?;
    let spec = json!({"forwarders": [{"name": "a", "nodeSelector": {"late": "yes"}}]});
    namespace.topology("late", &spec)?;
    namespace.until("late", "Accepted", "False", "NoNode")?;
    cluster.node("late-1", &json!({"late": "yes"}))?;
    namespace.until("late", "Computed", "True", "")?;
    until_places(&namespace, "late", &[("a", "late-1")])
}

pub(crate) fn nodes_without_a_daemon_are_left_out() -> Result<()> {
    let cluster = shared()?;
    let namespace = cluster.namespace("fit")?;
    let labels = |system: &str| json!({"fit": "yes", "kubernetes.io/os": system});
    for (name, system) in [
        ("fit-1", "windows"),
        ("fit-2", "linux"),
        ("fit-3", "linux"),
        ("fit-4", "linux"),
    ] {
        cluster.node(name, &labels(system))?;
    }
    cluster.server.kubectl(&["cordon", "fit-2"])?.ok()?;
    let ready =
        |status: &str| json!({"status": {"conditions": [{"type": "Ready", "status": status}]}});
    namespace.patch_status("node", "fit-3", &ready("False"))?;
    let spec = json!({"forwarders": [
        {"name": "a", "nodeSelector": {"fit": "yes"}},
        {"name": "b", "nodeSelector": {"fit": "yes"}},
    ]});
    namespace.topology("few", &spec)?;
    namespace.until("few", "Computed", "True", "")?;
    let nodes = |topology: &str| -> Result<Vec<String>> {
        let forwarders = namespace.forwarders(topology)?;
        let nodes = forwarders
            .iter()
            .map(|it| it["spec"]["node"].as_str().unwrap_or_default().to_owned());
        Ok(nodes.collect())
    };
    ensure!(nodes("few")? == ["fit-4", "fit-4"], "{:?}", nodes("few")?);

    // A daemon is on each Linux node, ready or not.
    namespace.topology(
        "each",
        &json!({"forwarderPerNode": {"nodeSelector": {"fit": "yes"}}}),
    )?;
    namespace.until("each", "Computed", "True", "")?;
    ensure!(
        nodes("each")? == ["fit-2", "fit-3", "fit-4"],
        "{:?}",
        nodes("each")?
    );

    // Who is placed stays, and a node that is ready again is taken.
    namespace.patch_status("node", "fit-4", &ready("False"))?;
    namespace.patch_status("node", "fit-3", &ready("True"))?;
    let mut more = spec.clone();
    let forwarders = more["forwarders"].as_array_mut().context("a list")?;
    forwarders.push(json!({"name": "c", "nodeSelector": {"fit": "yes"}}));
    namespace.topology("few", &more)?;
    namespace.until("few", "Computed", "True", "")?;
    ensure!(
        nodes("few")? == ["fit-4", "fit-4", "fit-3"],
        "{:?}",
        nodes("few")?
    );
    Ok(())
}
