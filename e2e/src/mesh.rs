//! Topologies as stories declare them, and what users see of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::{Ran, ensure, eventually};
use serde_json::{Value, json};

use crate::world::{SYSTEM, World};

/// Timeout of a condition in the mesh.
pub(crate) const SETTLED: Duration = Duration::from_secs(90);
/// Kubelets back off before they restart a killed container: up to five minutes.
pub(crate) const BACK: Duration = Duration::from_secs(330);

/// A `MicroServiceTopology` in the making.
#[derive(Clone, Debug)]
pub(crate) struct Mesh(pub(crate) Value);

impl Mesh {
    /// A ring, until [`Mesh::shape`] says otherwise, with both families.
    pub(crate) fn new(name: &str) -> Self {
        Self(json!({
            "apiVersion": "beemesh.io/v1alpha1", "kind": "MicroServiceTopology", "metadata": {"name": name},
            "spec": {
                "addressing": {"cidrs": ["10.80.0.0/16", "fd00:80::/48"]},
                "forwarders": [], "shape": "Ring", "links": [], "apps": [],
            },
        }))
    }

    pub(crate) fn cidrs(mut self, cidrs: &[&str]) -> Self {
        self.0["spec"]["addressing"]["cidrs"] = json!(cidrs);
        self
    }

    pub(crate) fn shape(mut self, shape: &str) -> Self {
        self.0["spec"]["shape"] = shape.into();
        self
    }

    /// One Forwarder more, on `node`.
    pub(crate) fn forwarder(self, name: &str, node: &str) -> Self {
        self.push("forwarders", json!({"name": name, "node": node}))
    }

    /// One Forwarder on each node, named as they are.
    pub(crate) fn on_each(self, nodes: &[String]) -> Self {
        nodes
            .iter()
            .fold(self, |mesh, node| mesh.forwarder(node, node))
    }

    /// An App of the pods with the label `app=NAME`, on whichever Forwarder their node has.
    pub(crate) fn app(self, name: &str) -> Self {
        self.app_on(name, "Auto")
    }

    /// The same, on one Forwarder alone.
    pub(crate) fn app_on(self, name: &str, forwarder: &str) -> Self {
        let selector = json!({"matchLabels": {"app": name}});
        self.push(
            "apps",
            json!({"name": name, "podSelector": selector, "forwarder": forwarder}),
        )
    }

    /// Adds to a list of the spec.
    pub(crate) fn push(mut self, list: &str, entry: Value) -> Self {
        if let Some(entries) = self.0["spec"][list].as_array_mut() {
            entries.push(entry);
        }
        self
    }

    pub(crate) fn name(&self) -> &str {
        self.0["metadata"]["name"].as_str().unwrap_or_default()
    }
}

/// A Forwarder's network namespace.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) node: String,
    pub(crate) netns: String,
}

impl World {
    /// Applies a topology and waits until it is ready.
    pub(crate) fn declare(&self, mesh: &Mesh) -> Result<()> {
        self.access.apply(&mesh.0.to_string())?;
        self.wait_topology(mesh.name(), "Ready")
    }

    /// Waits until a condition of the topology is true for its current generation.
    pub(crate) fn wait_topology(&self, name: &str, condition: &str) -> Result<()> {
        self.wait_topology_within(SETTLED, name, condition)
    }

    pub(crate) fn wait_topology_within(
        &self,
        patience: Duration,
        name: &str,
        condition: &str,
    ) -> Result<()> {
        eventually(&format!("topology {name} is {condition}"), patience, || {
            let topology = self.access.json(&["get", "mst", name])?;
            let found = condition_of(&topology, condition);
            let is_current = found["observedGeneration"] == topology["metadata"]["generation"];
            ensure(is_current && found["status"] == "True", || {
                topology["status"]["conditions"].to_string()
            })
        })
    }

    /// The topology's Forwarder objects.
    pub(crate) fn forwarders(&self, topology: &str) -> Result<Vec<Value>> {
        let label = format!("beemesh.io/topology={topology}");
        let list = self.access.json(&["get", "fwd", "--selector", &label])?;
        Ok(items(&list))
    }

    /// Node and namespace of a Forwarder.
    pub(crate) fn place(&self, topology: &str, forwarder: &str) -> Result<Place> {
        let forwarders = self.forwarders(topology)?;
        let found = forwarders
            .iter()
            .find(|found| found["spec"]["name"] == forwarder);
        let found = found.with_context(|| format!("no forwarder {forwarder} of {topology}"))?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Ok(Place {
            node: text(&found["spec"]["node"]).context("it has no node")?,
            netns: text(&found["status"]["netns"]).context("it has no namespace yet")?,
        })
    }

    /// Addresses of the pods of this namespace in a topology, by pod, as the nodes report them.
    pub(crate) fn attached(&self, topology: &str) -> Result<BTreeMap<String, Vec<IpAddr>>> {
        let prefix = format!("{}/", self.namespace);
        let mut pods = BTreeMap::<String, Vec<IpAddr>>::new();
        for forwarder in self.forwarders(topology)? {
            for attachment in list(&forwarder["status"]["attachments"]) {
                let pod = attachment["pod"].as_str().unwrap_or_default();
                let pod = pod.strip_prefix(&prefix).unwrap_or(pod).to_owned();
                let addresses = list(&attachment["addresses"]);
                let addresses = addresses.iter().filter_map(Value::as_str).map(bare);
                pods.entry(pod)
                    .or_default()
                    .extend(addresses.collect::<Result<Vec<_>>>()?);
            }
        }
        Ok(pods)
    }

    /// Waits until this namespace has `count` pods, none of which is being deleted, and these are attached; their names.
    pub(crate) fn wait_attached(
        &self,
        patience: Duration,
        count: usize,
        topology: &str,
    ) -> Result<Vec<String>> {
        eventually(&format!("{count} pods are attached"), patience, || {
            let pods = items(&self.access.json(&["get", "pods"])?);
            let (mut names, mut stay) = (BTreeSet::new(), true);
            for pod in &pods {
                names.extend(pod["metadata"]["name"].as_str().map(str::to_owned));
                stay &= pod["metadata"]["deletionTimestamp"].is_null();
            }
            // Nodes report late: as many may be attached, and be others.
            let attached: BTreeSet<String> = self.attached(topology)?.into_keys().collect();
            ensure(stay && names.len() == count && names == attached, || {
                format!("pods are {names:?}, attached are {attached:?}")
            })?;
            Ok(attached.into_iter().collect())
        })
    }

    /// Addresses of a pod in a topology, awaited.
    pub(crate) fn addresses(&self, pod: &str, topology: &str) -> Result<Vec<IpAddr>> {
        eventually(&format!("{pod} is in {topology}"), SETTLED, || {
            let mut attached = self.attached(topology)?;
            let told = format!("attached are {attached:?}");
            attached.remove(pod).context(told)
        })
    }

    /// Waits until a pod is in no topology of that name.
    pub(crate) fn wait_detached(&self, pod: &str, topology: &str) -> Result<()> {
        eventually(&format!("{pod} is not in {topology}"), SETTLED, || {
            let attached = self.attached(topology)?;
            ensure(!attached.contains_key(pod), || format!("{attached:?}"))
        })
    }

    /// Waits until each of `pods` reaches each other one at all its addresses in the topology.
    pub(crate) fn reach_all(&self, pods: &[&str], topology: &str) -> Result<()> {
        eventually(
            &format!("{pods:?} reach each other over {topology}"),
            SETTLED,
            || {
                let attached = self.attached(topology)?;
                let missing = pods.iter().find(|pod| !attached.contains_key(**pod));
                ensure(missing.is_none(), || format!("attached are {attached:?}"))?;
                for from in pods {
                    let others = pods.iter().filter(|to| *to != from);
                    let addresses: Vec<IpAddr> = others
                        .flat_map(|to| attached[*to].iter().copied())
                        .collect();
                    self.ping_all(from, &addresses)?;
                }
                Ok(())
            },
        )
    }

    /// One echo request to each of `addresses`; an error names the first that does not answer.
    pub(crate) fn ping_all(&self, from: &str, addresses: &[IpAddr]) -> Result<()> {
        let words: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        let script = format!(
            "for a in {}; do ping -n -q -c 1 -W 1 $a >/tmp/ping 2>&1 || {{ echo $a; cat /tmp/ping; exit 1; }}; done",
            words.join(" ")
        );
        let ran = self.exec(from, &script)?;
        ensure(ran.is_success, || {
            format!("{from} does not reach {}{}", ran.stdout, ran.stderr)
        })
    }

    /// True when `from` gets a reply from `address`: three requests, so that a single loss does not
    /// matter.
    pub(crate) fn is_reached(&self, from: &str, address: IpAddr) -> Result<bool> {
        let ran = self.exec(from, &format!("ping -n -q -i 0.2 -c 3 -W 1 {address}"))?;
        Ok(ran.is_success)
    }

    /// Runs the command `beemesh` on this world's namespace.
    pub(crate) fn beemesh(&self, arguments: &[&str]) -> Result<Ran> {
        let program = beemesh()?;
        let program = program.to_str().context("a path that is no text")?;
        self.access.run(program, arguments)
    }

    /// The answer of `beemesh-node inspect` on `node`.
    pub(crate) fn inspect(&self, node: &str, words: &[&str]) -> Result<Value> {
        let pod = self.daemon(node)?;
        let line = [
            "exec",
            "--namespace",
            SYSTEM,
            &pod,
            "--",
            "/beemesh-node",
            "inspect",
        ];
        let ran = self.access.kubectl(&[&line[..], words].concat())?;
        ran.json()
    }

    /// Name of the daemon's pod on `node`.
    pub(crate) fn daemon(&self, node: &str) -> Result<String> {
        let selector = "--selector=app.kubernetes.io/component=node";
        let field = format!("--field-selector=spec.nodeName={node}");
        let get = ["get", "pods", "--namespace", SYSTEM, selector, &field];
        let list = self.access.json(&get)?;
        let pods = items(&list);
        let running = pods
            .iter()
            .find(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        let name = running.and_then(|pod| pod["metadata"]["name"].as_str());
        name.map(str::to_owned)
            .with_context(|| format!("no daemon on {node}"))
    }

    /// Waits until all daemons are ready.
    pub(crate) fn wait_daemons(&self) -> Result<()> {
        let status = ["rollout", "status", "daemonset", "--namespace", SYSTEM];
        let patience = format!("--timeout={}s", BACK.as_secs());
        self.access.ok(&[&status[..], &[&patience]].concat())?;
        let wait = [
            "wait",
            "pod",
            "--namespace",
            SYSTEM,
            "--for=condition=Ready",
        ];
        let which = [
            "--selector=app.kubernetes.io/component=node",
            "--timeout=20s",
        ];
        eventually("all daemons are ready", SETTLED, || {
            self.access.ok(&[&wait[..], &which].concat()).map(drop)
        })
    }

    /// Events of an object of this namespace: `REASON: message`, a line each.
    pub(crate) fn events(&self, object: &str) -> Result<String> {
        let field = format!("--field-selector=involvedObject.name={object}");
        let words = "jsonpath={range .items[*]}{.reason}: {.message}{\"\\n\"}{end}";
        self.access.ok(&["get", "events", &field, "-o", words])
    }
}

/// The condition `name` of an object; null when it has none.
pub(crate) fn condition_of(object: &Value, name: &str) -> Value {
    let conditions = list(&object["status"]["conditions"]);
    let found = conditions.into_iter().find(|it| it["type"] == name);
    found.unwrap_or_default()
}

pub(crate) fn items(object: &Value) -> Vec<Value> {
    list(&object["items"])
}

/// The entries of a list; none when it is none.
pub(crate) fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// An address without the length of its prefix.
pub(crate) fn bare(address: &str) -> Result<IpAddr> {
    let bare = address.split('/').next().unwrap_or_default();
    bare.parse()
        .with_context(|| format!("{address:?} is no address"))
}

/// The command `beemesh` that BEEMESH_CTL names, else that of `make image`.
fn beemesh() -> Result<PathBuf> {
    if let Some(file) = std::env::var_os("BEEMESH_CTL") {
        return Ok(file.into());
    }
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let folders = std::fs::read_dir(&target)?.flatten();
    let mut programs = folders.map(|folder| folder.path().join("release/beemesh"));
    programs
        .find(|program| program.exists() && !program.starts_with(target.join("release")))
        .context("no beemesh: `make image` builds it, or BEEMESH_CTL names it")
}
