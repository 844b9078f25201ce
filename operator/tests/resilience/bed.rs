//! Servers, nodes and replicas of the operator for one test.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::{ApiServer, Options, Process, eventually, free_port, http_get};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Kind, NAMESPACE};

/// For everything that a quiet machine does in a second or two: the machine may be busy.
pub(crate) const SOON: Duration = Duration::from_secs(180);

/// The definitions as they are shipped.
pub(crate) fn definitions() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../crds/yaml"))
}

/// A server with our definitions and some nodes.
pub(crate) struct Bed {
    // Before the server: they end first.
    pub(crate) replicas: Vec<Replica>,
    pub(crate) cluster: Cluster,
    pub(crate) server: ApiServer,
}

/// One running operator.
pub(crate) struct Replica {
    pub(crate) process: Process,
    pub(crate) metrics_port: u16,
}

impl Bed {
    /// A server with our definitions, and `nodes` nodes `n0`, `n1`, ... in two zones.
    pub(crate) fn start(options: Options, nodes: usize) -> Result<Self> {
        Self::with_server(options.start()?, nodes)
    }

    pub(crate) fn with_server(server: ApiServer, nodes: usize) -> Result<Self> {
        server.apply_crds(definitions())?;
        let bed = Self::bare(server)?;
        for number in 0..nodes {
            bed.cluster.create(Kind::Node, node(number))?;
        }
        Ok(bed)
    }

    /// A server as it is: no definitions, no nodes.
    pub(crate) fn bare(server: ApiServer) -> Result<Self> {
        let cluster = Cluster::connect(&server.kubeconfig())?;
        Ok(Self {
            replicas: Vec::new(),
            cluster,
            server,
        })
    }

    /// Starts one more replica and waits until it is ready.
    pub(crate) fn replica(&mut self, more: &[&str]) -> Result<()> {
        let kubeconfig = self.server.kubeconfig();
        self.replica_as(&kubeconfig, more)
    }

    /// Like [`Bed::replica`], as whoever `kubeconfig` is for.
    pub(crate) fn replica_as(&mut self, kubeconfig: &Path, more: &[&str]) -> Result<()> {
        let name = format!("replica-{}", self.replicas.len());
        let replica = Replica::start(&name, &self.server, kubeconfig, more)?;
        self.replicas.push(replica);
        self.replicas
            .last_mut()
            .context("just pushed")?
            .wait_ready()
    }

    /// The process ids of all replicas: the same later when none has ended.
    pub(crate) fn pids(&mut self) -> Result<Vec<u32>> {
        self.replicas
            .iter_mut()
            .map(|replica| {
                replica.process.ensure_alive()?;
                Ok(replica.process.pid())
            })
            .collect()
    }

    /// Applies a topology.
    pub(crate) fn apply(&self, name: &str, spec: &Value) -> Result<()> {
        self.cluster
            .apply(Kind::Topology, &topology(NAMESPACE, name, spec))
            .map(drop)
    }

    /// Ends in an error with the replicas' last words instead of only its own.
    pub(crate) fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let tails = self.replicas.iter().map(|replica| {
            let log = replica.process.log();
            let lines: Vec<&str> = log.lines().collect();
            lines[lines.len().saturating_sub(15)..].join("\n")
        });
        let tails: Vec<String> = tails.collect();
        error.context(tails.join("\n--\n"))
    }
}

impl Replica {
    fn start(name: &str, server: &ApiServer, kubeconfig: &Path, more: &[&str]) -> Result<Self> {
        let metrics_port = free_port()?;
        let metrics = format!("--listen-metrics=127.0.0.1:{metrics_port}");
        let api = format!("--listen-api=127.0.0.1:{}", free_port()?);
        let name_flag = format!("--name={name}");
        let ours = [name_flag.as_str(), metrics.as_str(), api.as_str()];
        let program = env!("CARGO_BIN_EXE_beemesh-operator");
        let arguments = [&ours, more].concat();
        let process = Process::start(program, name, &arguments, kubeconfig, server.folder())?;
        Ok(Self {
            process,
            metrics_port,
        })
    }

    pub(crate) fn wait_ready(&mut self) -> Result<()> {
        let (process, port) = (&mut self.process, self.metrics_port);
        let mut ended = None;
        let ready = eventually("the operator is ready", SOON, || {
            if let Err(error) = process.ensure_alive() {
                ended = Some(error);
                return Ok(());
            }
            let (status, body) = http_get(port, "/readyz")?;
            e2e::ensure(status == 200, || format!("/readyz: {status} {body}"))
        });
        ended.map_or(ready, Err)
    }

    /// The sum of all samples of a metric.
    pub(crate) fn metric(&self, name: &str) -> Result<f64> {
        let (_, body) = http_get(self.metrics_port, "/metrics")?;
        let samples = body.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let value = rest
                .strip_prefix(' ')
                .or_else(|| Some(rest.strip_prefix('{')?.rsplit_once("} ")?.1));
            value?.split(' ').next()?.parse::<f64>().ok()
        });
        Ok(samples.sum())
    }
}

/// A node as a kubelet would have registered it.
pub(crate) fn node(number: usize) -> Value {
    let name = format!("n{number}");
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {
            "kubernetes.io/hostname": name, "zone": format!("z{}", number % 2)}},
        "status": {
            "addresses": [{"type": "InternalIP", "address": format!("192.168.{}.{}", number / 250, number % 250 + 1)}],
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "",
                "lastHeartbeatTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        },
    })
}

pub(crate) fn topology(namespace: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "beemesh.io/v1alpha1", "kind": "MicroServiceTopology",
        "metadata": {"name": name, "namespace": namespace}, "spec": spec,
    })
}

/// A ring of Forwarders, one on each of the nodes with these numbers.
pub(crate) fn ring(nodes: &[usize]) -> Value {
    let forwarders: Vec<Value> = nodes
        .iter()
        .map(|number| json!({"name": format!("f{number}"), "node": format!("n{number}")}))
        .collect();
    json!({"forwarders": forwarders, "shape": "Ring"})
}

/// Report of node `n0` on its Forwarder: this pod, an instance of `app-1`, has this address;
/// without attachments when it is empty.
pub(crate) fn attach(bed: &Bed, topology: &str, pod: &str, address: &str) -> Result<()> {
    let attachment = json!({
        "app": "app-1",
        "key": format!("container-{pod} eth1"),
        "pod": format!("{NAMESPACE}/{pod}"),
        "addresses": [format!("{address}/32")],
    });
    let attachments: Vec<Value> = (!address.is_empty())
        .then_some(attachment)
        .into_iter()
        .collect();
    let (object, status) = (
        format!("{topology}.f0"),
        json!({"attachments": attachments}),
    );
    bed.cluster
        .merge_status(Kind::Forwarder, NAMESPACE, &object, &status)
}
