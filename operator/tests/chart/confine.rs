//! The rights of a daemon on a real API server, with the token that the kubelet would give it.

use anyhow::{Context, Result, bail, ensure};
use e2e::{ApiServer, Process, eventually, free_port};
use kube::api::{self, Api, ApiResource, DynamicObject, GroupVersionKind, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::helm::NAMESPACE;
use crate::install::{MINUTE, RELEASE};
use crate::server::run;

const TAINT: &str = "beemesh.io/not-ready";
/// The API server gives it to each Node that is made.
const NOT_READY: &str = "node.kubernetes.io/not-ready";
/// A taint of somebody else.
const QUARANTINE: &str = "example.com/quarantine";
const OTHER_NODE: &str = "it belongs to another node than n1";

pub(crate) fn a_daemon_writes_what_is_of_its_own_node_and_nothing_else() -> Result<()> {
    let server = ApiServer::start()?;
    let taint = format!("--set=node.startupTaint={TAINT}");
    let install = [
        "install",
        RELEASE,
        "--create-namespace",
        "--wait=false",
        &taint,
    ];
    run(&server, NAMESPACE, &install)?;
    for node in ["n1", "n2"] {
        put_node(&server, node)?;
    }
    let daemon = Daemon::new(&server, &bound_token(&server)?)?;
    let other = Patch::new("fwd", "f2", STATUS, &json!({"status": {"netns": "mine"}}));
    eventually("the policy is in force", MINUTE, || {
        daemon.is_refused(&other, OTHER_NODE)
    })?;
    let attached =
        json!({"metadata": {"annotations": {"k8s.v1.cni.cncf.io/network-status": "[]"}}});
    let labelled = json!({"metadata": {"labels": {"app": "another"}}});
    let failed = json!({"status": {"phase": "Failed"}});
    let taints = |keys: &[&str]| {
        let taints = [&NOT_READY]
            .into_iter()
            .chain(keys)
            .map(|key| json!({"key": key, "effect": "NoSchedule"}));
        json!({"spec": {"taints": taints.collect::<Vec<Value>>()}})
    };
    let no_taint = taints(&[]);
    let (freed, ready) = (taints(&[TAINT]), taints(&[QUARANTINE]));
    let more_taints = taints(&[TAINT, QUARANTINE, "mine"]);
    let cordoned = json!({"spec": {"unschedulable": true}});
    let other_alone = format!("a daemon removes the taint {TAINT} and no other");
    let netns = json!({"status": {"netns": "bm-iot-f1"}});
    #[rustfmt::skip]
    let cases = [
        // what the daemon of n1 patches                   refused because
        (Patch::new("fwd",  "f1", STATUS, &netns),         ""),
        (Patch::new("fwd",  "f2", STATUS, &netns),         OTHER_NODE),
        (Patch::new("pod",  "p1", STATUS, &attached),      ""),
        (Patch::new("pod",  "p2", STATUS, &attached),      OTHER_NODE),
        (Patch::new("pod",  "p1", STATUS, &labelled),      "a daemon changes no labels"),
        (Patch::new("pod",  "p1", STATUS, &failed),        "leaves their status to the kubelet"),
        (Patch::new("pod",  "p1", WHOLE,  &attached),     "cannot patch resource \"pods\""),
        (Patch::new("node", "n1", WHOLE,  &more_taints),  "a daemon adds no taint"),
        (Patch::new("node", "n1", WHOLE,  &no_taint),     other_alone.as_str()),
        (Patch::new("node", "n1", WHOLE,  &freed),        other_alone.as_str()),
        (Patch::new("node", "n1", WHOLE,  &cordoned),     "a daemon changes nothing else in the spec of a node"),
        (Patch::new("node", "n1", WHOLE,  &labelled),     "a daemon changes no labels"),
        (Patch::new("node", "n2", WHOLE,  &no_taint),     OTHER_NODE),
        (Patch::new("node", "n1", WHOLE,  &ready),        ""),
    ];
    for (patch, refusal) in &cases {
        if refusal.is_empty() {
            daemon.patch(patch).with_context(|| format!("{patch:?}"))?;
        } else {
            daemon.is_refused(patch, refusal)?;
        }
    }
    // A token that is bound to nothing speaks for no node.
    let token = [
        "create",
        "token",
        &format!("{RELEASE}-node"),
        "-n",
        NAMESPACE,
    ];
    let token = server.kubectl(&token)?.ok()?.trim().to_owned();
    let anywhere = Daemon::new(&server, &token)?;
    anywhere.is_refused(&cases[0].0, "the token names no node")?;
    // Nobody else is looked at.
    Daemon::new(&server, server.token())?.patch(&other)
}

/// Operator and daemon with the accounts that the chart gives them: what a daemon reports of its own Forwarder is
/// permitted, and becomes a name only as far as it was planned.
pub(crate) fn reports_of_a_daemon_beyond_the_plan_give_no_names() -> Result<()> {
    let server = ApiServer::start()?;
    let install = ["install", RELEASE, "--create-namespace", "--wait=false"];
    run(&server, NAMESPACE, &install)?;
    put_node(&server, "n1")?;
    let app = |name: &str| json!({"name": name, "podSelector": {"matchLabels": {"app": name}}});
    let spec =
        json!({"forwarders": [{"name": "a", "node": "n1"}], "apps": [app("web"), app("db")]});
    let topology = json!({
        "apiVersion": "beemesh.io/v1alpha1", "kind": "MicroServiceTopology",
        "metadata": {"name": "shop", "namespace": "default"}, "spec": spec,
    });
    server.kubectl_apply(&topology.to_string())?;
    let daemon = Daemon::new(&server, &bound_token(&server)?)?;
    let _operator = operator(&server)?;
    let get = |words: &[&str]| -> Result<String> {
        let words = [&["get", "-n", "default"], words].concat();
        Ok(server.kubectl(&words)?.ok()?.trim().to_owned())
    };
    eventually("the Forwarder has addresses", MINUTE, || {
        let blocks = get(&["fwd", "shop.a", "-o", "jsonpath={.spec.blocks}"])?;
        ensure!(blocks.contains("10.80.0.0/24"), "{blocks:?}");
        Ok(())
    })?;
    let report = |app: &str, pod: &str, address: &str| {
        json!({
            "app": app, "key": format!("container-{app}-{pod}-{address} eth1"),
            "pod": format!("default/{pod}"), "addresses": [format!("{address}/32")],
        })
    };
    // `p1` is an instance of `web`; the first three are lies, and the last one is true.
    let attachments = [
        report("invented", "p1", "10.80.0.2"),
        report("db", "p1", "10.80.0.2"),
        report("web", "p1", "192.0.2.1"),
        report("web", "p1", "10.80.0.3"),
    ];
    let status = json!({"status": {"attachments": attachments}});
    eventually("the daemon may report", MINUTE, || {
        daemon.patch(&Patch::new("fwd", "shop.a", STATUS, &status))
    })?;
    eventually("the instance has a name", MINUTE, || {
        let format = "jsonpath={.items[*].endpoints[*].addresses[*]}";
        let addresses = get(&["endpointslices", "-o", format])?;
        ensure!(addresses == "10.80.0.3", "{addresses:?}");
        Ok(())
    })?;
    let names = get(&["services", "-l", "beemesh.io/topology", "-o", "name"])?;
    ensure!(names == "service/shop-web", "{names:?}");
    let long = "x".repeat(2_000);
    let long = json!({"status": {"linkStates": [{"id": "a/b", "up": false, "reason": long}]}});
    daemon.is_refused(&Patch::new("fwd", "shop.a", STATUS, &long), "Too long")
}

/// The operator with the token of its account.
fn operator(server: &ApiServer) -> Result<Process> {
    let account = format!("{RELEASE}-operator");
    let create = ["create", "token", &account, "-n", NAMESPACE];
    let token = server.kubectl(&create)?.ok()?.trim().to_owned();
    let kubeconfig = server.kubeconfig_for_token(&token)?;
    let ports = [free_port()?, free_port()?];
    let listen = [
        format!("--listen-metrics=127.0.0.1:{}", ports[0]),
        format!("--listen-api=127.0.0.1:{}", ports[1]),
    ];
    let arguments = ["--name=confined", &listen[0], &listen[1]];
    let program = env!("CARGO_BIN_EXE_beemesh-operator");
    Process::start(
        program,
        "confined",
        &arguments,
        &kubeconfig,
        server.folder(),
    )
}

const STATUS: bool = true;
const WHOLE: bool = false;

/// A JSON merge patch of one object, or of its status.
#[derive(Debug)]
struct Patch {
    kind: &'static str,
    name: &'static str,
    is_of_status: bool,
    body: Value,
}

impl Patch {
    fn new(kind: &'static str, name: &'static str, is_of_status: bool, body: &Value) -> Self {
        let body = body.clone();
        Self {
            kind,
            name,
            is_of_status,
            body,
        }
    }

    fn resource(&self) -> ApiResource {
        let (group, version, kind, plural) = match self.kind {
            "fwd" => ("beemesh.io", "v1alpha1", "Forwarder", "forwarders"),
            "pod" => ("", "v1", "Pod", "pods"),
            _ => ("", "v1", "Node", "nodes"),
        };
        let kind = GroupVersionKind::gvk(group, version, kind);
        ApiResource::from_gvk_with_plural(&kind, plural)
    }
}

/// A daemon, as the API server knows it. kubectl would read before it patches.
struct Daemon {
    runtime: Runtime,
    client: Client,
}

impl Daemon {
    fn new(server: &ApiServer, token: &str) -> Result<Self> {
        let file = Kubeconfig::read_from(server.kubeconfig_for_token(token)?)?;
        let runtime = Runtime::new()?;
        // An error means that one is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = runtime.block_on(async {
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(file, &options).await?;
            Ok::<_, anyhow::Error>(Client::try_from(config)?)
        })?;
        Ok(Self { runtime, client })
    }

    fn patch(&self, patch: &Patch) -> Result<()> {
        let (client, resource) = (self.client.clone(), patch.resource());
        let api: Api<DynamicObject> = match patch.kind {
            "node" => Api::all_with(client, &resource),
            _ => Api::namespaced_with(client, "default", &resource),
        };
        let (parameters, body) = (PatchParams::default(), api::Patch::Merge(&patch.body));
        self.runtime.block_on(async {
            if patch.is_of_status {
                api.patch_status(patch.name, &parameters, &body).await
            } else {
                api.patch(patch.name, &parameters, &body).await
            }
        })?;
        Ok(())
    }

    fn is_refused(&self, patch: &Patch, because: &str) -> Result<()> {
        let Err(refusal) = self.patch(patch) else {
            bail!("accepted: {patch:?}");
        };
        let said = format!("{refusal:#}");
        ensure!(said.contains(because), "not {because:?}: {said}: {patch:?}");
        Ok(())
    }
}

/// A node with the startup taint and another one, a pod and a Forwarder; all with the node's number.
fn put_node(server: &ApiServer, node: &str) -> Result<()> {
    let number = node.trim_start_matches('n');
    let objects = [
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": node},
            "spec": {"taints": [
                {"key": TAINT, "effect": "NoSchedule"},
                {"key": QUARANTINE, "effect": "NoSchedule"},
            ]},
        }),
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("p{number}"), "namespace": "default", "labels": {"app": "web"}},
            "spec": {"nodeName": node, "containers": [{"name": "main", "image": "none"}]},
        }),
        json!({
            "apiVersion": "beemesh.io/v1alpha1", "kind": "Forwarder",
            "metadata": {"name": format!("f{number}"), "namespace": "default"},
            "spec": {"topology": "iot", "name": format!("f{number}"), "node": node},
        }),
    ];
    for object in objects {
        // Definitions that are installed are not served at once.
        eventually("the object is accepted", MINUTE, || {
            server.kubectl_apply(&object.to_string())
        })?;
    }
    Ok(())
}

/// The token of the daemon's pod on n1.
fn bound_token(server: &ApiServer) -> Result<String> {
    let account = format!("{RELEASE}-node");
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "daemon", "namespace": NAMESPACE},
        "spec": {
            "nodeName": "n1",
            "serviceAccountName": account,
            "containers": [{"name": "main", "image": "none"}],
        },
    });
    server.kubectl_apply(&pod.to_string())?;
    let bound = ["--bound-object-kind=Pod", "--bound-object-name=daemon"];
    let create = [&["create", "token", &account, "-n", NAMESPACE][..], &bound].concat();
    Ok(server.kubectl(&create)?.ok()?.trim().to_owned())
}
