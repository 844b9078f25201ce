//! Pods become instances of Apps.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{Namespace, shared};

/// Names of the Forwarders that an App is attached to.
fn attached(namespace: &Namespace<'_>, topology: &str, app: &str) -> Result<Vec<String>> {
    let is_attached = |forwarder: &Value| {
        let apps = forwarder["spec"]["apps"].as_array();
        apps.into_iter()
            .flatten()
            .any(|found| found["name"] == app && found["attached"] == true)
    };
    let mut forwarders = namespace.forwarders(topology)?;
    forwarders.retain(is_attached);
    let name = |forwarder: &Value| forwarder["spec"]["name"].as_str().map(str::to_owned);
    Ok(forwarders.iter().filter_map(name).collect())
}

fn until_attached(namespace: &Namespace<'_>, app: &str, expected: &[&str]) -> Result<()> {
    namespace.eventually(&format!("{app} is on {expected:?}"), || {
        let found = attached(namespace, "apps", app)?;
        ensure!(found == expected, "found {found:?}");
        Ok(())
    })
}

pub(crate) fn apps_follow_pods() -> Result<()> {
    let cluster = shared()?;
    let namespace = cluster.namespace("pods")?;
    for node in ["pods-1", "pods-2", "pods-3"] {
        cluster.node(node, &json!({}))?;
    }
    let spec = json!({
        "forwarders": [{"name": "a", "node": "pods-1"}, {"name": "b", "node": "pods-2"}],
        "links": [{"a": "a", "b": "b"}],
        "apps": [
            {"name": "web", "podSelector": {"matchLabels": {"app": "web"}}},
            {"name": "guest"},
        ],
    });
    namespace.topology("apps", &spec)?;
    let empty = namespace.until("apps", "Computed", "True", "")?;
    ensure!(empty["status"]["pods"] == 0, "{}", empty["status"]);

    let web = json!({"app": "web"});
    namespace.pod("web-1", "pods-1", &web, &json!({}))?;
    until_attached(&namespace, "web", &["a"])?;
    namespace.pod("web-2", "pods-2", &web, &json!({}))?;
    until_attached(&namespace, "web", &["a", "b"])?;
    namespace.pod_phase("web-1", "Succeeded")?;
    until_attached(&namespace, "web", &["b"])?;
    namespace.delete("pod", "web-2")?;
    until_attached(&namespace, "web", &[])?;

    let asks = json!({"beemesh.io/topologies": "apps", "beemesh.io/app": "guest", "beemesh.io/forwarder": "b"});
    namespace.pod("guest-1", "pods-2", &json!({}), &asks)?;
    until_attached(&namespace, "guest", &["b"])
}

pub(crate) fn pods_are_seen_as_nodes_see_them() -> Result<()> {
    let cluster = shared()?;
    let namespace = cluster.namespace("seen")?;
    cluster.node("seen-1", &json!({}))?;
    let spec = json!({
        "forwarders": [{"name": "a", "node": "seen-1"}],
        "apps": [
            {"name": "web", "podSelector": {"matchLabels": {"app": "web"}}},
            {"name": "guest"},
        ],
        "allowedNamespaces": ["seen-guests"],
    });
    namespace.topology("apps", &spec)?;
    namespace.until("apps", "Computed", "True", "")?;

    // None of these is an instance of it: in no network of its own, and unasked for.
    let web = json!({"app": "web"});
    let host = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "host", "namespace": "seen", "labels": web},
        "spec": {
            "nodeName": "seen-1",
            "hostNetwork": true,
            "containers": [{"name": "main", "image": "none"}],
        },
    });
    cluster.server.kubectl_apply(&host.to_string())?;
    let guests = cluster.namespace("seen-guests")?;
    guests.pod("unasked", "seen-1", &web, &json!({}))?;
    // The last one to come is.
    let asks = json!({"beemesh.io/topologies": "seen/apps"});
    guests.pod("asking", "seen-1", &json!({}), &asks)?;
    until_attached(&namespace, "guest", &["a"])?;
    ensure!(
        attached(&namespace, "apps", "web")?.is_empty(),
        "web is on a"
    );

    let asks = json!({"beemesh.io/topologies": "seen/apps", "beemesh.io/app": "web"});
    guests.pod("both", "seen-1", &json!({}), &asks)?;
    until_attached(&namespace, "web", &["a"])
}

pub(crate) fn a_pod_without_a_forwarder_is_told() -> Result<()> {
    let cluster = shared()?;
    let namespace = cluster.namespace("told")?;
    for node in ["told-1", "told-2"] {
        cluster.node(node, &json!({}))?;
    }
    let spec = json!({
        "forwarders": [{"name": "a", "node": "told-1"}],
        "apps": [{"name": "web", "podSelector": {"matchLabels": {"app": "web"}}}],
    });
    namespace.topology("apps", &spec)?;
    namespace.until("apps", "Computed", "True", "")?;
    namespace.pod("lost", "told-2", &json!({"app": "web"}), &json!({}))?;
    let event = namespace.eventually("the pod has an event", || {
        let events = namespace.list("events.events.k8s.io")?;
        let of_pod = |event: &&Value| {
            event["regarding"]["kind"] == "Pod" && event["regarding"]["name"] == "lost"
        };
        events.iter().find(of_pod).cloned().context("no event yet")
    })?;
    ensure!(
        event["reason"] == "NoForwarder" && event["type"] == "Warning",
        "{event}"
    );
    until_attached(&namespace, "web", &[])
}
