//! The daemons of a cluster, as the chart makes them and a DaemonSet controller starts them; and pods that look like it.

use anyhow::{Context, Result};
use e2e::ApiServer;
use serde_json::{Value, json};

/// The image of the DaemonSet.
pub(crate) const IMAGE: &str = "registry.example/beemesh:1";
/// The ServiceAccount of the daemons.
const ACCOUNT: &str = "beemesh-node";

fn labels() -> Value {
    json!({"app.kubernetes.io/part-of": "beemesh", "app.kubernetes.io/component": "node"})
}

/// A DaemonSet `name` in `namespace`; returns its uid.
pub(crate) fn daemon_set(server: &ApiServer, namespace: &str, name: &str) -> Result<String> {
    let set = json!({"apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": name, "namespace": namespace, "labels": labels()},
        "spec": {"selector": {"matchLabels": {"set": name}}, "template": {
            "metadata": {"labels": {"set": name}},
            "spec": {"serviceAccountName": ACCOUNT, "containers": [{"name": "node", "image": IMAGE}]}}}});
    server.kubectl_apply(&set.to_string())?;
    let get = ["get", "daemonset", name, "-n", namespace, "-o", "json"];
    let set = server.kubectl(&get)?.json()?;
    set["metadata"]["uid"]
        .as_str()
        .map(str::to_owned)
        .context("a uid")
}

/// Binds the daemons' ServiceAccount in `namespace`, as an administrator who installs the chart does.
pub(crate) fn binding(server: &ApiServer, namespace: &str) -> Result<()> {
    let rbac = "rbac.authorization.k8s.io";
    let binding = json!({"apiVersion": format!("{rbac}/v1"), "kind": "ClusterRoleBinding",
        "metadata": {"name": format!("{namespace}-node"), "labels": labels()},
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "beemesh-node"},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}]});
    server.kubectl_apply(&binding.to_string()).map(drop)
}

/// A pod with the daemons' labels on `node`, of `image`, controlled by the DaemonSets with the uids in `owners`; it runs.
pub(crate) fn pod(
    server: &ApiServer,
    (namespace, name): (&str, &str),
    node: &str,
    (image, owners): (&str, &[&str]),
) -> Result<()> {
    let owner = |uid: &&str| json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "name": ACCOUNT, "uid": uid, "controller": true});
    let owners: Vec<Value> = owners.iter().map(owner).collect();
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels(), "ownerReferences": owners},
        "spec": {"nodeName": node, "serviceAccountName": ACCOUNT, "containers": [{"name": "node", "image": image}]}});
    server.kubectl_apply(&pod.to_string())?;
    let status = json!({"status": {"phase": "Running", "containerStatuses": [{"name": "node", "image": image,
        "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}}}]}});
    let patch = [
        "patch",
        "pod",
        name,
        "-n",
        namespace,
        "--subresource=status",
        "-p",
    ];
    let status = status.to_string();
    server
        .kubectl(&[&patch[..], &[&status]].concat())?
        .ok()
        .map(drop)
}

/// An installation in `namespace` with a daemon on each of `nodes`, each pod named as its node.
pub(crate) fn install(server: &ApiServer, namespace: &str, nodes: &[&str]) -> Result<()> {
    binding(server, namespace)?;
    let uid = daemon_set(server, namespace, ACCOUNT)?;
    for node in nodes {
        pod(server, (namespace, node), node, (IMAGE, &[&uid]))?;
    }
    Ok(())
}
