//! Changes by other writers, as a node observes them.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::bed::{Follower, shared};

pub(crate) fn objects_appear_change_and_vanish() -> Result<()> {
    let bed = shared()?;
    bed.namespace("appear")?;
    bed.node("appear-1", "192.0.2.1")?;
    let mut here = Follower::new("appear-1", &bed.server.kubeconfig())?;
    here.until_forwarders(&[])?;

    bed.forwarder("appear", "iot", "a", "appear-1", &["b"])?;
    bed.forwarder("appear", "iot", "b", "appear-2", &["a"])?;
    bed.forwarder("appear", "other", "c", "appear-2", &[])?;
    let first = here.until_forwarders(&["appear.iot.a", "appear.iot.b"])?;
    ensure!(first.forwarders["appear.iot.b"].spec.node == "appear-2");

    // Bare: it waits for its block.
    let bare = json!({
        "apiVersion": "beemesh.io/v1alpha1",
        "kind": "Forwarder",
        "metadata": {"name": "iot.bare", "namespace": "appear"},
        "spec": {"topology": "iot", "name": "bare", "node": "appear-1"},
    });
    bed.apply(&bare)?;
    bed.forwarder("appear", "iot", "b", "appear-2", &["a", "c"])?;
    let second = here.until("a link more", |snapshot| {
        let b = &snapshot.forwarders["appear.iot.b"];
        b.spec.links.len() == 2
    })?;
    ensure!(second.forwarders.len() == 2, "{:?}", second.forwarders);
    let [old, new] = [&first, &second].map(|all| &all.forwarders["appear.iot.a"]);
    ensure!(Arc::ptr_eq(old, new), "what did not change is the same");

    let addresses =
        json!({"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.7"}]}});
    bed.merge("default", "node/appear-1", Some("status"), &addresses)?;
    here.until("another address", |snapshot| {
        let addresses = snapshot.nodes["appear-1"].internal_addresses();
        addresses.eq([IpAddr::from([192, 0, 2, 7])])
    })?;

    bed.delete("appear", "fwd", "iot.b")?;
    here.until_forwarders(&["appear.iot.a"])?;
    bed.delete("appear", "fwd", "iot.a")?;
    bed.delete("appear", "fwd", "iot.bare")?;
    here.until_forwarders(&[])?;
    Ok(())
}

pub(crate) fn a_topology_is_followed_while_it_is_here() -> Result<()> {
    let bed = shared()?;
    bed.namespace("moves")?;
    bed.forwarder("moves", "iot", "a", "moves-1", &[])?;
    bed.forwarder("moves", "iot", "b", "moves-2", &[])?;
    let mut here = Follower::new("moves-1", &bed.server.kubeconfig())?;
    here.until_forwarders(&["moves.iot.a", "moves.iot.b"])?;

    // The only one that was here goes elsewhere, and comes back.
    let to = |node: &str| json!({"spec": {"node": node}});
    bed.merge("moves", "fwd/iot.a", None, &to("moves-2"))?;
    here.until_forwarders(&[])?;
    bed.forwarder("moves", "iot", "c", "moves-2", &[])?;
    bed.merge("moves", "fwd/iot.a", None, &to("moves-1"))?;
    here.until_forwarders(&["moves.iot.a", "moves.iot.b", "moves.iot.c"])?;
    Ok(())
}

pub(crate) fn equal_names_in_two_namespaces() -> Result<()> {
    let bed = shared()?;
    for namespace in ["twin-a", "twin-b"] {
        bed.namespace(namespace)?;
        bed.forwarder(namespace, "iot", "x", "twin-1", &[])?;
        bed.apply(&json!({
            "apiVersion": "beemesh.io/v1alpha1",
            "kind": "MicroServiceTopology",
            "metadata": {"name": "iot", "namespace": namespace},
            "spec": {"forwarders": [{"name": "x", "node": "twin-1"}]},
        }))?;
    }
    let mut here = Follower::new("twin-1", &bed.server.kubeconfig())?;
    let snapshot = here.until_forwarders(&["twin-a.iot.x", "twin-b.iot.x"])?;
    for (key, forwarder) in &snapshot.forwarders {
        let namespace = &forwarder.metadata.namespace;
        ensure!(*key == format!("{namespace}.{}", forwarder.metadata.name));
        let topology = (namespace.clone(), "iot".to_owned());
        ensure!(snapshot.topologies.contains_key(&topology), "{topology:?}");
    }
    bed.delete("twin-a", "fwd", "iot.x")?;
    here.until_forwarders(&["twin-b.iot.x"])?;
    Ok(())
}

pub(crate) fn a_bad_topology_beside_good_ones() -> Result<()> {
    let bed = shared()?;
    bed.namespace("bad")?;
    let topology = |name: &str, other: &str| {
        json!({
            "apiVersion": "beemesh.io/v1alpha1",
            "kind": "MicroServiceTopology",
            "metadata": {"name": name, "namespace": "bad"},
            "spec": {
                "forwarders": [{"name": "x", "node": "bad-1"}, {"name": "y", "node": "bad-1"}],
                "shape": "Custom",
                "links": [{"a": "x", "b": other}],
            },
        })
    };
    for (name, other) in [("good", "y"), ("worsens", "y"), ("wrong", "nowhere")] {
        bed.apply(&topology(name, other))?;
    }
    let mut here = Follower::new("bad-1", &bed.server.kubeconfig())?;
    let mine = |snapshot: &node::objects::Snapshot| -> Vec<String> {
        let keys = snapshot.topologies.keys();
        keys.filter(|(namespace, _)| namespace == "bad")
            .map(|(_, name)| name.clone())
            .collect()
    };
    let snapshot = here.until("good ones", |snapshot| {
        mine(snapshot) == ["good", "worsens"]
    })?;
    let told = |snapshot: &node::objects::Snapshot, name: &str| {
        let start = format!("topology bad.{name}: ");
        snapshot
            .problems
            .iter()
            .find(|problem| problem.starts_with(&start))
            .cloned()
    };
    let problem = told(&snapshot, "wrong").context("it is told")?;
    ensure!(problem.contains("nowhere"), "{problem}");

    bed.apply(&topology("worsens", "nowhere"))?;
    let snapshot = here.until("it is told", |snapshot| told(snapshot, "worsens").is_some())?;
    ensure!(
        mine(&snapshot) == ["good", "worsens"],
        "it stands as it last was good"
    );
    bed.apply(&topology("wrong", "y"))?;
    here.until("mended", |snapshot| {
        mine(snapshot) == ["good", "worsens", "wrong"]
    })?;
    Ok(())
}
