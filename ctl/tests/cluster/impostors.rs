//! Daemons are found by identity: whoever only looks like one is not asked, and its image is not run.

use crate::{
    daemons::{self, IMAGE},
    uninstall::answer,
    world::{Said, beemesh, beemesh_with, has, install, namespace},
};
use anyhow::{Result, ensure};
use e2e::ApiServer;
use serde_json::{Value, json};
use std::thread;

/// The image of a pod of somebody else.
const FOREIGN: &str = "registry.example/foreign:1";

/// A server with our kinds, a node, these namespaces, and a pod with the labels of a daemon in namespace `a`.
fn server(namespaces: &[&str]) -> Result<ApiServer> {
    let server = ApiServer::start()?;
    install(&server)?;
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}});
    server.kubectl_apply(&node.to_string())?;
    for name in namespaces {
        namespace(&server, name)?;
    }
    daemons::pod(&server, ("a", "impostor"), "n1", (FOREIGN, &[]))?;
    Ok(server)
}

fn pod(server: &ApiServer, namespace: &str, name: &str) -> Result<Value> {
    server
        .kubectl(&["get", "pod", name, "-n", namespace, "-o", "json"])?
        .json()
}

fn is_named(said: &Said, names: &str) -> Result<()> {
    said.tells(&["note: left out, with the labels of a daemon", names])
}

pub(crate) fn a_labelled_pod_is_no_daemon_for_any_verb() -> Result<()> {
    let server = server(&["a"])?;
    let topology = crate::operated::ring("iot", &[("x", "n1"), ("y", "n1")]);
    let apply = ["apply", "-n", "a", "-f", "-"];
    server.kubectl_with_input(&apply, &topology)?.ok()?;
    let none = "no daemon runs in this cluster";
    let pod_name = "of no DaemonSet of beemesh: pod a/impostor\n";
    for verb in ["check", "gc --dry-run"] {
        let said = beemesh(&server, &format!("{verb} -o json"))?.code(0)?;
        is_named(&said, pod_name)?;
        let report = said.json()?;
        let why = report["unknown"][0]["why"].as_str().unwrap_or_default();
        ensure!(why.contains(none), "{verb}: {report}");
    }
    let said = beemesh(&server, "validate iot -n a")?;
    is_named(&said, pod_name)?;
    let file = server.folder().join("bundle.tar.gz");
    let said = beemesh(
        &server,
        &format!("bundle --file {} -o json", file.display()),
    )?
    .code(0)?;
    is_named(&said, pod_name)?;
    has(
        &said.json()?["errors"].to_string(),
        &[none, "no ClusterRoleBinding of beemesh"],
    )?;
    let said = beemesh(&server, "connectivity test --timeout 1s")?.code(3)?;
    said.tells(&[none, pod_name])?;
    let said = beemesh(&server, "uninstall --timeout 1s")?.code(0)?;
    said.tells(&["nothing to clean: ", none, pod_name])?;
    let annotations = &pod(&server, "a", "impostor")?["metadata"]["annotations"];
    ensure!(
        annotations[node::install::uninstall::ANNOTATION].is_null(),
        "{annotations}"
    );
    Ok(())
}

pub(crate) fn the_daemonset_of_the_bound_account_is_asked_and_nobody_else() -> Result<()> {
    let server = server(&["a", "system"])?;
    daemons::install(&server, "system", &["n1"])?;
    // One of another DaemonSet, in a namespace that sorts first; one beside the daemons that nobody controls.
    let foreign = daemons::daemon_set(&server, "a", "beemesh-node")?;
    daemons::pod(&server, ("a", "other"), "n1", (FOREIGN, &[&foreign]))?;
    daemons::pod(&server, ("system", "alone"), "n1", (FOREIGN, &[]))?;
    let said = thread::scope(|scope| {
        let asks = scope.spawn(|| beemesh(&server, "uninstall --timeout 2m -o json"));
        let answered = answer(&server, "n1");
        let said = asks
            .join()
            .map_err(|_| anyhow::anyhow!("a thread panicked"))?;
        answered.and(said)
    })?;
    let said = said.code(0)?;
    is_named(
        &said,
        "not of DaemonSet system/beemesh-node: pod a/impostor, pod a/other, pod system/alone",
    )?;
    let nodes = said.json()?["nodes"].clone();
    ensure!(nodes[0]["pod"] == "n1" && nodes[1].is_null(), "{nodes}");
    for (namespace, name) in [("a", "impostor"), ("a", "other"), ("system", "alone")] {
        let metadata = &pod(&server, namespace, name)?["metadata"];
        ensure!(metadata["annotations"].is_null(), "{metadata}");
    }
    // With the namespace alone it is the same DaemonSet.
    let named = beemesh(&server, "uninstall --timeout 1s --system-namespace system")?.code(4)?;
    named.tells(&["no answer in 1s from n1\n", "pod system/alone\n"])
}

pub(crate) fn several_installations_are_refused_by_their_names() -> Result<()> {
    let server = server(&["a", "one", "two"])?;
    daemons::install(&server, "one", &["n1"])?;
    daemons::install(&server, "two", &["n1"])?;
    let several =
        "several installations of beemesh, in the namespaces one, two: expected --system-namespace";
    for verb in ["check", "gc", "uninstall --timeout 1s", "connectivity test"] {
        beemesh(&server, verb)?.code(1)?.tells(&[several])?;
    }
    daemons::daemon_set(&server, "one", "second")?;
    let said = beemesh(&server, "check --system-namespace one")?.code(1)?;
    said.tells(&[
        "several DaemonSets of beemesh in namespace one: beemesh-node, second: expected one",
    ])
}

pub(crate) fn who_may_not_list_bindings_names_the_namespace() -> Result<()> {
    let server = server(&["a", "system"])?;
    daemons::install(&server, "system", &["n1"])?;
    let role = r#"
{apiVersion: v1, kind: ServiceAccount, metadata: {name: cleaner, namespace: system}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: cleaner, namespace: system}
rules:
  - {apiGroups: [""], resources: [pods], verbs: [get, list, watch, patch]}
  - {apiGroups: [apps], resources: [daemonsets], verbs: [list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: cleaner, namespace: system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: cleaner}
subjects: [{kind: ServiceAccount, name: cleaner, namespace: system}]
"#;
    server
        .kubectl_with_input(&["apply", "-f", "-"], role)?
        .ok()?;
    let token = server
        .kubectl(&["create", "token", "cleaner", "-n", "system"])?
        .ok()?;
    let kubeconfig = server.kubeconfig_for_token(token.trim())?;
    let run = |line: &str| beemesh_with(Some(&kubeconfig), line);
    let refused = run("uninstall --timeout 1s")?.code(1)?;
    refused.tells(&["clusterrolebindings", "with --system-namespace"])?;
    let late = run("uninstall --timeout 1s --system-namespace system")?.code(4)?;
    late.tells(&["no answer in 1s from n1"])
}

pub(crate) fn probes_are_of_the_image_of_the_daemonset() -> Result<()> {
    // As after an upgrade that has not replaced the pod of the first node yet.
    let server = server(&["a", "system"])?;
    daemons::binding(&server, "system")?;
    let uid = daemons::daemon_set(&server, "system", "beemesh-node")?;
    daemons::pod(
        &server,
        ("system", "n1"),
        "n1",
        ("registry.example/beemesh:0", &[&uid]),
    )?;
    let said = beemesh(&server, "connectivity test --timeout 1s")?.code(4)?;
    said.tells(&["note: probes are of image ", IMAGE])
}
