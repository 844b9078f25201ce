//! The operator with exactly the rights that the chart gives it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use e2e::{ApiServer, ensure, eventually};
use serde_json::{Value, json};

use crate::bed::{Bed, SOON, attach, definitions, ring};
use crate::chaos::put_pod;
use crate::cluster::{Kind, NAMESPACE};
use crate::snapshot::{names, settled};

const RELEASE: &str = "beemesh-system";

pub(crate) fn as_shipped() -> Result<()> {
    let server = ApiServer::options().audit_log().start()?;
    server.apply_crds(definitions())?;
    let mut bed = Bed::with_server(server, 4)?;
    let account = install_role(&bed)?;
    let token = bed
        .server
        .kubectl(&["create", "token", &account, "-n", RELEASE])?
        .ok()?;
    let kubeconfig = bed.server.kubeconfig_for_token(token.trim())?;
    eventually("the role is known", SOON, || {
        let ask = ["auth", "can-i", "list", "forwarders.beemesh.io", "-A"];
        bed.server.kubectl_as(&kubeconfig, &ask, "")?.ok().map(drop)
    })?;
    bed.replica_as(&kubeconfig, &[])?;
    bed.replica_as(&kubeconfig, &[])?;
    live(&mut bed)?;

    let user = format!("system:serviceaccount:{RELEASE}:{account}");
    let asked = bed.server.audit()?;
    let ours = asked
        .iter()
        .filter(|event| event.user == user && !event.uri.contains("can-i"));
    let refused = ours
        .clone()
        .find(|event| event.code == 403 || event.code == 401);
    ensure(refused.is_none(), || format!("{refused:?}"))?;
    let writes = ours.clone().filter(|event| event.is_write()).count();
    ensure(writes > 20, || format!("only {writes} writes were seen"))?;
    // What the run was to exercise.
    for (verb, resource) in [
        ("create", "vniranges"),
        ("delete", "vniranges"),
        ("delete", "forwarders"),
        ("create", "events"),
        ("create", "services"),
        ("patch", "endpointslices"),
        ("delete", "services"),
        ("watch", "pods"),
        ("watch", "nodes"),
    ] {
        let is_seen = ours
            .clone()
            .any(|event| event.verb == verb && event.resource == resource);
        ensure(is_seen, || format!("never seen: {verb} {resource}"))?;
    }
    Ok(())
}

/// All that happens to topologies, in short.
fn live(bed: &mut Bed) -> Result<()> {
    let apps = json!([{"name": "app-1", "podSelector": {"matchLabels": {"app": "app-1"}}}]);
    for name in ["a", "b", "c"] {
        let mut spec = ring(&[0, 1, 2]);
        spec["apps"] = apps.clone();
        bed.apply(name, &spec)?;
    }
    settled(bed, &names(["a", "b", "c"]))?;
    // One pod that can be attached, one on a node without a Forwarder.
    put_pod(bed, "x", 0)?;
    put_pod(bed, "xxx", 3)?;
    bed.apply("a", &ring(&[0, 1, 2, 3]))?;
    bed.apply(
        "bad",
        &json!({"forwarders": [{"name": "a", "nodeSelector": {"zone": "nowhere"}}]}),
    )?;
    named(bed)?;
    bed.cluster.delete(Kind::Topology, NAMESPACE, "b")?;
    let mut smaller = ring(&[0, 1]);
    smaller["apps"] = apps;
    bed.apply("c", &smaller)?;
    bed.cluster.merge(
        Kind::Node,
        "",
        "n3",
        &json!({"metadata": {"labels": {"zone": "z9"}}}),
    )?;
    settled(bed, &names(["a", "bad", "c"]))?;
    bed.cluster.delete(Kind::Node, "", "n3")?;
    bed.apply("a", &ring(&[0, 1, 2]))?;
    settled(bed, &names(["a", "bad", "c"]))?;
    for name in ["a", "bad", "c"] {
        bed.cluster.delete(Kind::Topology, NAMESPACE, name)?;
    }
    settled(bed, &names::<String>([])).map(drop)
}

/// A node reports one pod, then the same with another address, then none.
fn named(bed: &Bed) -> Result<()> {
    for expected in ["10.80.0.2", "10.80.0.3", ""] {
        attach(bed, "c", "x", expected)?;
        eventually("the pod is found by name", SOON, || {
            let get = ["get", "endpointslices", "-l", "beemesh.io/topology=c"];
            let format = ["-o", "jsonpath={.items[*].endpoints[*].addresses[*]}"];
            let found = bed.server.kubectl(&[&get[..], &format].concat())?.ok()?;
            ensure(found == expected, || format!("{found:?}, not {expected:?}"))
        })?;
    }
    Ok(())
}

/// Applies the operator's account, role and binding out of the chart; the account's name.
fn install_role(bed: &Bed) -> Result<String> {
    let chart = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/beemesh"));
    let output = Command::new(e2e::tools::find("helm")?)
        .args(["template", "beemesh"])
        .arg(chart)
        .args(["--namespace", RELEASE, "--kube-version", "1.33.0"])
        .output()?;
    if !output.status.success() {
        bail!("helm template: {}", String::from_utf8_lossy(&output.stderr));
    }
    bed.server
        .kubectl(&["create", "namespace", RELEASE])?
        .ok()?;
    let rendered = String::from_utf8(output.stdout)?;
    let mut account = None;
    for document in rendered.split("\n---\n") {
        let Ok(object) = serde_saphyr::from_str::<Value>(document) else {
            continue;
        };
        let kind = object["kind"].as_str().unwrap_or("");
        if !["ServiceAccount", "ClusterRole", "ClusterRoleBinding"].contains(&kind) {
            continue;
        }
        let is_operator = object["metadata"]["labels"]["app.kubernetes.io/component"] == "operator";
        if kind == "ServiceAccount" && is_operator {
            account = object["metadata"]["name"].as_str().map(str::to_owned);
        }
        bed.server.kubectl_apply(&object.to_string())?;
    }
    account.context("the chart has a service account")
}
