//! One API server with one operator, and the words in which the tests speak of them.

use std::{path::Path, sync::LazyLock, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};
use e2e::{ApiServer, Process, eventually, free_port};
use serde_json::{Value, json};

/// How long anything may take on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(180);

static SHARED: LazyLock<Result<Cluster>> = LazyLock::new(Cluster::start);

/// An API server and an operator.
pub(crate) struct Cluster {
    pub(crate) server: ApiServer,
    pub(crate) operator: Process,
}

/// The cluster of all tests that do not break it.
pub(crate) fn shared() -> Result<&'static Cluster> {
    SHARED.as_ref().map_err(|error| anyhow!("{error:#}"))
}

impl Cluster {
    fn start() -> Result<Cluster> {
        Cluster::on(ApiServer::start()?)
    }

    /// Our definitions and an operator on `server`, for a test that needs it alone.
    pub(crate) fn on(server: ApiServer) -> Result<Cluster> {
        let definitions = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/yaml");
        server.apply_crds(&definitions)?;
        let operator = operator(&server, "operator")?;
        Ok(Cluster { server, operator })
    }

    pub(crate) fn namespace(&self, name: &str) -> Result<Namespace<'_>> {
        self.server.kubectl(&["create", "namespace", name])?.ok()?;
        Ok(Namespace {
            cluster: self,
            name: name.to_owned(),
        })
    }

    /// Makes a node with these labels, as far as the operator is concerned.
    pub(crate) fn node(&self, name: &str, labels: &Value) -> Result<()> {
        let node = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": labels},
        });
        self.server.kubectl_apply(&node.to_string()).map(drop)
    }

    pub(crate) fn delete_node(&self, name: &str) -> Result<()> {
        self.server
            .kubectl(&["delete", "node", name])?
            .ok()
            .map(drop)
    }
}

/// Starts an operator against `server`.
pub(crate) fn operator(server: &ApiServer, name: &str) -> Result<Process> {
    operator_with(server, name, &[])
}

/// The same with `more` arguments.
pub(crate) fn operator_with(server: &ApiServer, name: &str, more: &[&str]) -> Result<Process> {
    let metrics = format!("127.0.0.1:{}", free_port()?);
    let api = format!("127.0.0.1:{}", free_port()?);
    let arguments = [
        "--name",
        name,
        "--listen-metrics",
        &metrics,
        "--listen-api",
        &api,
        "--log-level=info,operator=debug",
    ];
    Process::start(
        env!("CARGO_BIN_EXE_beemesh-operator"),
        name,
        &[&arguments, more].concat(),
        &server.kubeconfig(),
        server.folder(),
    )
}

/// A namespace of one test.
pub(crate) struct Namespace<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) name: String,
}

impl Namespace<'_> {
    /// Applies a topology.
    pub(crate) fn topology(&self, name: &str, spec: &Value) -> Result<()> {
        let object = json!({
            "apiVersion": "beemesh.io/v1alpha1",
            "kind": "MicroServiceTopology",
            "metadata": {"name": name, "namespace": self.name},
            "spec": spec,
        });
        self.cluster
            .server
            .kubectl_apply(&object.to_string())
            .map(drop)
    }

    /// Makes a pod on a node, that runs.
    pub(crate) fn pod(
        &self,
        name: &str,
        node: &str,
        labels: &Value,
        annotations: &Value,
    ) -> Result<()> {
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": self.name,
                "labels": labels,
                "annotations": annotations,
            },
            "spec": {
                "nodeName": node,
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "main", "image": "none"}],
            },
        });
        self.cluster.server.kubectl_apply(&pod.to_string())?;
        self.pod_phase(name, "Running")
    }

    pub(crate) fn pod_phase(&self, name: &str, phase: &str) -> Result<()> {
        let patch = json!({"status": {"phase": phase}});
        self.patch_status("pod", name, &patch)
    }

    pub(crate) fn patch_status(&self, kind: &str, name: &str, patch: &Value) -> Result<()> {
        let patch = patch.to_string();
        let arguments = [
            "-n",
            &self.name,
            "patch",
            kind,
            name,
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ];
        self.cluster.server.kubectl(&arguments)?.ok().map(drop)
    }

    pub(crate) fn get(&self, kind: &str, name: &str) -> Result<Value> {
        let arguments = ["-n", &self.name, "get", kind, name, "-o", "json"];
        self.cluster.server.kubectl(&arguments)?.json()
    }

    pub(crate) fn list(&self, kind: &str) -> Result<Vec<Value>> {
        let arguments = ["-n", &self.name, "get", kind, "-o", "json"];
        let list = self.cluster.server.kubectl(&arguments)?.json()?;
        let items = list["items"].as_array().context("a list has items")?;
        Ok(items.clone())
    }

    pub(crate) fn delete(&self, kind: &str, name: &str) -> Result<()> {
        let arguments = ["-n", &self.name, "delete", kind, name, "--wait=false"];
        self.cluster.server.kubectl(&arguments)?.ok().map(drop)
    }

    /// Has everything in this namespace of the plural kind `resource` refused, which is so once `probe`,
    /// the arguments of a `kubectl` that writes one, fails.
    pub(crate) fn forbid(&self, group: &str, resource: &str, probe: &[&str]) -> Result<()> {
        let name = format!("{}-{resource}", self.name);
        let is_here = json!({"matchLabels": {"kubernetes.io/metadata.name": self.name}});
        let all = json!([{"apiGroups": [group], "apiVersions": ["*"],
            "operations": ["CREATE", "UPDATE"], "resources": [resource]}]);
        let policy = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "matchConstraints": {"namespaceSelector": is_here, "resourceRules": all},
                "validations": [{"expression": "false", "message": format!("no more {resource}")}],
            },
        });
        let binding = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"]},
        });
        for object in [policy, binding] {
            self.cluster.server.kubectl_apply(&object.to_string())?;
        }
        let arguments = [&["-n", &self.name], probe, &["--dry-run=server"]].concat();
        self.eventually("the policy is followed", || {
            let tried = self.cluster.server.kubectl(&arguments)?;
            ensure!(tried.stderr.contains("no more"), "{tried:?}");
            Ok(())
        })
    }

    /// Ends what [`Namespace::forbid`] began.
    pub(crate) fn allow(&self, resource: &str) -> Result<()> {
        let name = format!("{}-{resource}", self.name);
        for kind in [
            "validatingadmissionpolicybinding",
            "validatingadmissionpolicy",
        ] {
            let delete = ["delete", kind, &name];
            self.cluster.server.kubectl(&delete)?.ok()?;
        }
        Ok(())
    }

    /// Waits until an event of the topology has this reason and a note with all of `words`.
    pub(crate) fn told(&self, reason: &str, words: &[&str]) -> Result<()> {
        self.eventually(&format!("event {reason}"), || {
            let events = self.list("events.events.k8s.io")?;
            let is_meant = |event: &&Value| {
                let note = event["note"].as_str().unwrap_or_default();
                event["reason"] == reason && words.iter().all(|word| note.contains(word))
            };
            ensure!(events.iter().any(|event| is_meant(&event)), "{events:?}");
            Ok(())
        })
    }

    /// The Forwarders of a topology, by their names in it.
    pub(crate) fn forwarders(&self, topology: &str) -> Result<Vec<Value>> {
        let mut all = self.list("fwd")?;
        all.retain(|forwarder| forwarder["spec"]["topology"] == topology);
        all.sort_by_key(|forwarder| forwarder["spec"]["name"].as_str().map(str::to_owned));
        Ok(all)
    }

    /// Waits until a condition of the topology has this status (and reason, where one is given).
    pub(crate) fn until(
        &self,
        topology: &str,
        condition: &str,
        status: &str,
        reason: &str,
    ) -> Result<Value> {
        let what = format!("{topology}: {condition}={status} {reason}");
        eventually(&what, DEADLINE, || {
            let object = self.get("mst", topology)?;
            let generation = &object["metadata"]["generation"];
            let found = object["status"]["conditions"]
                .as_array()
                .into_iter()
                .flatten()
                .find(|found| found["type"] == condition)
                .context("no such condition")?;
            ensure!(
                found["status"] == status
                    && (reason.is_empty() || found["reason"] == reason)
                    && found["observedGeneration"] == *generation,
                "{found}"
            );
            Ok(object)
        })
        .with_context(|| last_words(&self.cluster.operator))
    }

    /// Waits until `look` holds.
    pub(crate) fn eventually<T>(&self, what: &str, look: impl FnMut() -> Result<T>) -> Result<T> {
        eventually(what, DEADLINE, look).with_context(|| last_words(&self.cluster.operator))
    }
}

/// The end of the operator's log.
fn last_words(operator: &Process) -> String {
    let log = operator.log();
    let lines: Vec<&str> = log.lines().rev().take(40).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
