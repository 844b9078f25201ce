//! A second server, with an operator and pretended nodes.

use crate::world::{beemesh, has, install};
use anyhow::{Context, Result, anyhow, ensure};
use e2e::{ApiServer, Process, eventually, free_port, http_get};
use serde_json::{Value, json};
use std::{
    path::Path,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How long anything may take on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(180);

/// One story at a time: some end the operator.
static OPERATED: LazyLock<Mutex<Result<Operated>>> =
    LazyLock::new(|| Mutex::new(Operated::start()));

/// A server and its operator.
pub(crate) struct Operated {
    pub(crate) server: ApiServer,
    pub(crate) operator: Process,
    metrics_port: u16,
}

/// The server with the operator, for one story.
pub(crate) fn story(tell: impl FnOnce(&mut Operated) -> Result<()>) -> Result<()> {
    let mut operated: MutexGuard<'_, Result<Operated>> =
        OPERATED.lock().unwrap_or_else(PoisonError::into_inner);
    let operated = operated.as_mut().map_err(|error| anyhow!("{error:#}"))?;
    tell(operated).with_context(|| {
        let log = operated.operator.log();
        let last: Vec<&str> = log.lines().rev().take(20).collect();
        last.into_iter().rev().collect::<Vec<_>>().join("\n")
    })
}

impl Operated {
    fn start() -> Result<Self> {
        let program = Path::new(env!("CARGO_BIN_EXE_beemesh")).with_file_name("beemesh-operator");
        ensure!(
            program.exists(),
            "{} is not built: `make test` builds the workspace first, or run `cargo build -p beemesh-operator`",
            program.display()
        );
        let server = ApiServer::start()?;
        install(&server)?;
        for node in ["n1", "n2", "n3", "n4"] {
            let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}});
            server.kubectl_apply(&node.to_string())?;
        }
        let ports = [free_port()?, free_port()?];
        let [metrics, api] = ports.map(|port| format!("127.0.0.1:{port}"));
        let arguments = ["--listen-metrics", &metrics, "--listen-api", &api];
        let kubeconfig = server.kubeconfig();
        let operator = Process::start(
            program,
            "operator",
            &arguments,
            &kubeconfig,
            server.folder(),
        )?;
        let mut operated = Self {
            server,
            operator,
            metrics_port: ports[0],
        };
        operated.wait_ready()?;
        Ok(operated)
    }

    /// Starts the operator again, and waits until it is ready: the next story is told of one that works.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.operator.restart()?;
        self.wait_ready()
    }

    fn wait_ready(&mut self) -> Result<()> {
        eventually("the operator is ready", DEADLINE, || {
            self.operator.ensure_alive()?;
            let (status, body) = http_get(self.metrics_port, "/readyz")?;
            ensure!(status == 200, "{body}");
            Ok(())
        })
    }

    /// The object as JSON.
    pub(crate) fn object(&self, namespace: &str, kind: &str, name: &str) -> Result<Value> {
        self.server
            .kubectl(&["get", kind, name, "-n", namespace, "-o", "json"])?
            .json()
    }

    /// Waits until `beemesh validate` has nothing against the topology `iot`, and returns what it says.
    ///
    /// Tables are published a moment after `Computed` is true, and a pod may be seen later than its topology.
    pub(crate) fn validated(&self, namespace: &str) -> Result<String> {
        let line = format!("validate iot -n {namespace}");
        eventually("the cluster is as declared", DEADLINE, || {
            Ok(beemesh(&self.server, &line)?.code(0)?.stdout())
        })
    }

    /// Reports of each Forwarder of `iot` what the operator computed, with all links up, as its node would.
    pub(crate) fn report(&self, namespace: &str) -> Result<()> {
        self.validated(namespace)?;
        let list = self
            .server
            .kubectl(&["get", "fwd", "-n", namespace, "-o", "json"])?
            .json()?;
        for forwarder in list["items"].as_array().context("a list")? {
            let links = forwarder["spec"]["links"].as_array().context("links")?;
            let state = |link: &Value| json!({"id": link["id"], "up": true});
            let states: Vec<Value> = links.iter().map(state).collect();
            let ready = json!({"type": "Ready", "status": "True", "reason": "Programmed", "message": "",
                               "lastTransitionTime": "2026-01-01T00:00:00Z"});
            let computed = &forwarder["status"]["computed"];
            let status = json!({
                "epoch": computed["epoch"], "digest": computed["digest"],
                "links": {"up": links.len(), "total": links.len()},
                "linkStates": states, "conditions": [ready],
            });
            let name = forwarder["metadata"]["name"].as_str().context("a name")?;
            self.patch_status(namespace, name, &status)?;
        }
        Ok(())
    }

    /// Writes a part of a Forwarder's status.
    pub(crate) fn patch_status(&self, namespace: &str, name: &str, status: &Value) -> Result<()> {
        let patch = json!({"status": status}).to_string();
        let patch = [
            "patch",
            "fwd",
            name,
            "-n",
            namespace,
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ];
        self.server.kubectl(&patch)?.ok().map(drop)
    }
}

/// A topology of Forwarders on these nodes, an external App on the first.
pub(crate) fn ring(name: &str, forwarders: &[(&str, &str)]) -> String {
    let (first, _) = forwarders[0];
    let entry = |(name, node): &(&str, &str)| json!({"name": name, "node": node});
    let entries: Vec<Value> = forwarders.iter().map(entry).collect();
    json!({
        "apiVersion": crds::API_VERSION, "kind": "MicroServiceTopology", "metadata": {"name": name},
        "spec": {
            "addressing": {"cidrs": ["10.80.0.0/16"]},
            "forwarders": entries,
            "shape": "Ring",
            "apps": [
                {"name": "plc", "external": {"forwarder": first, "cidrs": ["192.168.7.0/24"]}},
                {"name": "sensors", "podSelector": {"matchLabels": {"app": "sensor"}}},
            ],
        },
    })
    .to_string()
}

/// Checks that the text has these words in order on one line.
pub(crate) fn has_row(text: &str, words: &[&str]) -> Result<()> {
    let is_row = |line: &str| {
        let line: Vec<&str> = line.split_whitespace().collect();
        line.windows(words.len()).any(|window| window == words)
    };
    match text.lines().any(is_row) {
        true => Ok(()),
        false => has(text, &[&words.join(" ")]),
    }
}
