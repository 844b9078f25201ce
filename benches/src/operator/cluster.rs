//! A thousand nodes, five thousand pods, five hundred topologies.

use std::{fs, path::Path, thread, time::Duration};

use anyhow::{Context as _, Result};
use e2e::{ApiServer, Process, eventually, free_port, http_get};
use serde_json::{Value, json};

use crate::harness::bench::Context;

/// Nodes that kwok pretends, `n0`, `n1`, ...
pub(crate) const NODES: usize = 1000;
/// Pods, in all namespaces.
pub(crate) const PODS: usize = 5000;
/// Topologies, in all namespaces.
const TOPOLOGIES: usize = 500;
/// Forwarders of one topology, each on a node of its own.
const FORWARDERS: usize = 10;
const NAMESPACES: usize = 10;

/// kubectl makes one object after the other: so many of them work side by side.
const HANDS: usize = 4;

/// On two cores that also run everything else.
const PATIENCE: Duration = Duration::from_secs(300);

/// The servers and the pretended cluster.
pub(crate) struct Cluster {
    // Clients end before the server.
    _kwok: Process,
    pub(crate) server: ApiServer,
}

impl Cluster {
    /// Starts the servers, and waits until all nodes and pods are there and run.
    pub(crate) fn start() -> Result<Self> {
        let server = ApiServer::start()?;
        server.apply_crds(&definitions()?)?;
        let kwok = pretend(&server)?;
        let cluster = Self {
            _kwok: kwok,
            server,
        };
        cluster.create((0..NAMESPACES).map(|number| {
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace(number)}})
        }))?;
        cluster.create((0..NODES).map(node))?;
        cluster.create((0..PODS).map(pod))?;
        eventually("kwok has started all pods", PATIENCE, || {
            let waiting =
                cluster.count(&["pods", "-A", "--field-selector=status.phase!=Running"])?;
            e2e::ensure(waiting == 0, || format!("{waiting} pods do not run yet"))
        })?;
        Ok(cluster)
    }

    /// Starts a replica of the operator, and waits until it is ready.
    pub(crate) fn operator(&self, context: &Context, name: &str) -> Result<Process> {
        let port = free_port()?;
        let arguments = [
            format!("--name={name}"),
            format!("--listen-metrics=127.0.0.1:{port}"),
            format!("--listen-api=127.0.0.1:{}", free_port()?),
        ];
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let program = context.program("beemesh-operator");
        let folder = self.server.folder();
        let mut operator =
            Process::start(program, name, &arguments, &self.server.kubeconfig(), folder)?;
        eventually("the operator is ready", PATIENCE, || {
            operator.ensure_alive()?;
            let (status, body) = http_get(port, "/readyz")?;
            e2e::ensure(status == 200, || format!("/readyz: {status} {body}"))
        })?;
        Ok(operator)
    }

    /// Declares all topologies.
    pub(crate) fn declare(&self) -> Result<()> {
        self.create((0..TOPOLOGIES).map(topology))
    }

    /// Waits until every topology is computed.
    pub(crate) fn wait_computed(&self, patience: Duration) -> Result<()> {
        let timeout = format!("--timeout={}s", patience.as_secs());
        let wait = [
            "wait",
            "microservicetopologies",
            "-A",
            "--all",
            "--for=condition=Computed",
        ];
        self.server
            .kubectl(&[&wait[..], &[&timeout]].concat())?
            .ok()
            .map(drop)
    }

    pub(crate) fn delete_node(&self, number: usize) -> Result<()> {
        let name = format!("n{number}");
        self.server
            .kubectl(&["delete", "node", &name, "--wait=false"])?
            .ok()
            .map(drop)
    }

    /// Deletes some pods and a node and makes them again; how many.
    pub(crate) fn churn(&self, round: usize) -> Result<usize> {
        let numbers: Vec<usize> = (0..100)
            .map(|step| (round * 131 + step * 37) % PODS)
            .collect();
        let pods: Vec<Value> = numbers.iter().map(|&number| pod(number)).collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": pods}).to_string();
        let delete = [
            "delete",
            "--now",
            "--wait=true",
            "--ignore-not-found",
            "-f",
            "-",
        ];
        self.server.kubectl_with_input(&delete, &list)?.ok()?;
        self.server
            .kubectl_with_input(&["create", "-f", "-"], &list)?
            .ok()?;
        // Not the one that is gone for good.
        let number = (round * 7 + 1) % (NODES / 2);
        self.delete_node(number)?;
        self.create([node(number)])?;
        Ok(pods.len() + 1)
    }

    fn create(&self, objects: impl IntoIterator<Item = Value>) -> Result<()> {
        let mut hands = vec![Vec::new(); HANDS];
        for (number, object) in objects.into_iter().enumerate() {
            hands[number % HANDS].push(object);
        }
        thread::scope(|scope| {
            let hands = hands
                .into_iter()
                .filter(|objects| !objects.is_empty())
                .map(|objects| {
                    scope.spawn(move || {
                        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
                        let create = ["create", "-f", "-", "-o", "name"];
                        self.server
                            .kubectl_with_input(&create, &list.to_string())?
                            .ok()
                    })
                });
            // All are at work before one is waited for.
            let hands: Vec<_> = hands.collect();
            for hand in hands {
                hand.join().ok().context("a hand panicked")??;
            }
            Ok(())
        })
    }

    fn count(&self, what: &[&str]) -> Result<usize> {
        let names = self
            .server
            .kubectl(&[&["get", "-o", "name"], what].concat())?
            .ok()?;
        Ok(names.lines().count())
    }
}

/// The definitions lie beside the benches in the repository.
fn definitions() -> Result<std::path::PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/yaml");
    fs::canonicalize(folder).context("crds/yaml: run in the repository that this was built from")
}

fn pretend(server: &ApiServer) -> Result<Process> {
    // Stages of our own: the user's configuration must not change the measurement.
    let config = server.folder().join("kwok.yaml");
    fs::write(&config, include_str!("kwok.yaml"))?;
    let arguments = [
        format!("--kubeconfig={}", server.kubeconfig().display()),
        format!("--config={}", config.display()),
        "--manage-all-nodes=true".to_owned(),
        // 20 renewals a second for 1,000 nodes, not 100: they load the API server only.
        "--node-lease-duration-seconds=200".to_owned(),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let kwok = server.tool("kwok")?;
    Process::start(
        kwok,
        "kwok",
        &arguments,
        &server.kubeconfig(),
        server.folder(),
    )
}

fn namespace(number: usize) -> String {
    format!("s{}", number % NAMESPACES)
}

fn node(number: usize) -> Value {
    let name = format!("n{number}");
    let address = format!(
        "10.{}.{}.{}",
        128 + number / 62_500,
        number / 250 % 250,
        number % 250 + 1
    );
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "zone": format!("z{}", number % 20)}},
        "status": {"addresses": [{"type": "InternalIP", "address": address}]},
    })
}

/// The node of a topology's Forwarder: every topology has a stretch of its own, each node is in five.
fn node_of(topology: usize, forwarder: usize) -> usize {
    (topology * FORWARDERS + forwarder * 7) % NODES
}

/// Ten pods of each topology, one on the node of each Forwarder.
fn pod(number: usize) -> Value {
    let (topology, forwarder) = (number % TOPOLOGIES, number / TOPOLOGIES % FORWARDERS);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("p{number}"), "namespace": namespace(topology),
            "labels": {"app": format!("t{topology}")}},
        "spec": {"nodeName": format!("n{}", node_of(topology, forwarder)),
            "containers": [{"name": "c", "image": "none"}]},
    })
}

fn topology(number: usize) -> Value {
    let name = format!("t{number}");
    let forwarders: Vec<Value> = (0..FORWARDERS)
        .map(|forwarder| {
            let node = format!("n{}", node_of(number, forwarder));
            json!({"name": format!("f{forwarder}"), "node": node})
        })
        .collect();
    json!({
        "apiVersion": "beemesh.io/v1alpha1", "kind": "MicroServiceTopology",
        "metadata": {"name": name, "namespace": namespace(number)},
        "spec": {
            "forwarders": forwarders, "shape": "Ring",
            "links": [{"a": "f0", "b": "f5", "weight": 5}, {"a": "f2", "b": "f7", "weight": 5}],
            "apps": [{"name": "app", "podSelector": {"matchLabels": {"app": name}}}],
        },
    })
}
