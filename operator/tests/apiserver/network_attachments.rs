//! NetworkAttachmentDefinitions on request, on a server that has the kind only later.

use anyhow::{Context, Result, ensure};
use e2e::ApiServer;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Namespace, operator_with};

const KIND: &str = "network-attachment-definitions.k8s.cni.cncf.io";
const ANNOTATION: &str = "beemesh.io/network-attachment";

/// Asks for one, or takes the request back.
fn ask(namespace: &Namespace<'_>, topology: &str, is_wanted: bool) -> Result<()> {
    let annotation = if is_wanted {
        format!("{ANNOTATION}=true")
    } else {
        format!("{ANNOTATION}-")
    };
    let annotate = [
        "-n",
        &namespace.name,
        "annotate",
        "mst",
        topology,
        &annotation,
    ];
    namespace.cluster.server.kubectl(&annotate)?.ok().map(drop)
}

fn told(namespace: &Namespace<'_>, reason: &str) -> Result<()> {
    namespace.eventually(reason, || {
        let events = namespace.list("events.events.k8s.io")?;
        let told = events.iter().filter(|event| event["reason"] == reason);
        ensure!(told.count() == 1, "{events:?}");
        Ok(())
    })
}

pub(crate) fn made_on_request_where_there_is_such_a_kind() -> Result<()> {
    let mut cluster = Cluster::on(ApiServer::start()?)?;
    made_once_there_is_such_a_kind(&cluster)?;
    // What others do to it comes to light with the next look.
    cluster.operator.kill()?;
    cluster.operator = operator_with(&cluster.server, "restless", &["--resync=1"])?;
    kept_as_it_is_for_as_long_as_it_is_asked_for(&cluster)
}

fn made_once_there_is_such_a_kind(cluster: &Cluster) -> Result<()> {
    let namespace = cluster.namespace("multus")?;
    cluster.node("n1", &json!({}))?;
    let spec = json!({"forwarders": [{"name": "a", "node": "n1"}]});
    for topology in ["iot", "other"] {
        namespace.topology(topology, &spec)?;
        namespace.until(topology, "Computed", "True", "")?;
    }
    ask(&namespace, "iot", true)?;
    told(&namespace, "NetworkAttachmentNotServed")?;
    // Topologies are none the worse for it.
    namespace.until("iot", "Computed", "True", "")?;

    cluster
        .server
        .kubectl_apply(include_str!("network-attachment-definitions.yaml"))?;
    let made = namespace.eventually("it is made", || namespace.get(KIND, "iot"))?;
    let config = made["spec"]["config"].as_str().context("no config")?;
    let config: Value = serde_json::from_str(config)?;
    let expected = json!({
        "cniVersion": "1.0.0",
        "type": "beemesh-cni",
        "name": "beemesh-multus-iot",
        "topology": "multus/iot",
    });
    ensure!(config == expected, "{config}");
    let metadata = &made["metadata"];
    ensure!(metadata["finalizers"].is_null(), "{metadata}");
    let topology = namespace.get("mst", "iot")?;
    let owner = &metadata["ownerReferences"][0];
    ensure!(owner["uid"] == topology["metadata"]["uid"], "{owner}");
    Ok(())
}

fn kept_as_it_is_for_as_long_as_it_is_asked_for(cluster: &Cluster) -> Result<()> {
    let namespace = Namespace {
        cluster,
        name: "multus".to_owned(),
    };
    let made = namespace.get(KIND, "iot")?;
    // The first one may be undone by the operator's look at its start.
    for edit in ["{}", "[]"] {
        let edit = json!({"spec": {"config": edit}}).to_string();
        let patch = ["patch", KIND, "iot", "-n", "multus", "--type=merge", "-p"];
        let patch = [&patch[..], &[edit.as_str()]].concat();
        cluster.server.kubectl(&patch)?.ok()?;
        namespace.eventually("an edit is undone", || {
            let spec = namespace.get(KIND, "iot")?["spec"].clone();
            ensure!(spec == made["spec"], "{spec}");
            Ok(())
        })?;
    }

    let foreign = json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "other", "namespace": "multus"}, "spec": {"config": "{}"},
    });
    cluster.server.kubectl_apply(&foreign.to_string())?;
    let theirs = namespace.get(KIND, "other")?;
    ask(&namespace, "other", true)?;
    told(&namespace, "NetworkAttachmentTaken")?;
    ensure!(namespace.get(KIND, "other")? == theirs, "it was written");

    ask(&namespace, "iot", false)?;
    namespace.eventually("it goes when nobody asks for it any more", || {
        let left = namespace.list(KIND)?;
        ensure!(left == [theirs.clone()], "{left:?}");
        Ok(())
    })
}
