//! An API server with our definitions, objects in it, and nodes that follow it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use e2e::{ApiServer, eventually};
use node::mailbox::Mailbox;
use node::objects::kubernetes::Kubernetes;
use node::objects::pods::Pods;
use node::objects::{Snapshot, Source};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Longer than anything takes on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// The server of all tests that do not break it.
static SHARED: LazyLock<Result<Bed>> = LazyLock::new(|| Bed::on(ApiServer::options().audit_log()));

pub(crate) fn shared() -> Result<&'static Bed> {
    SHARED.as_ref().map_err(|error| anyhow!("{error:#}"))
}

/// An API server.
pub(crate) struct Bed {
    pub(crate) server: ApiServer,
}

impl Bed {
    pub(crate) fn on(options: e2e::Options) -> Result<Bed> {
        let server = options.start()?;
        let definitions = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/yaml");
        server.apply_crds(&definitions)?;
        Ok(Bed { server })
    }

    pub(crate) fn namespace(&self, name: &str) -> Result<()> {
        let ran = self.server.kubectl(&["create", "namespace", name])?;
        ran.ok().map(drop)
    }

    pub(crate) fn apply(&self, object: &Value) -> Result<()> {
        self.server.kubectl_apply(&object.to_string()).map(drop)
    }

    pub(crate) fn delete(&self, namespace: &str, kind: &str, name: &str) -> Result<()> {
        let words = ["-n", namespace, "delete", kind, name, "--wait=false"];
        self.server.kubectl(&words)?.ok().map(drop)
    }

    pub(crate) fn get(&self, namespace: &str, kind: &str, name: &str) -> Result<Value> {
        let words = ["-n", namespace, "get", kind, name, "-o", "json"];
        self.server.kubectl(&words)?.json()
    }

    /// Merges into an object, or into its status.
    pub(crate) fn merge(
        &self,
        namespace: &str,
        object: &str,
        subresource: Option<&str>,
        patch: &Value,
    ) -> Result<()> {
        let patch = patch.to_string();
        let mut words = vec![
            "-n",
            namespace,
            "patch",
            object,
            "--type=merge",
            "-p",
            &patch,
        ];
        let subresource = subresource.map(|name| format!("--subresource={name}"));
        words.extend(subresource.as_deref());
        self.server.kubectl(&words)?.ok().map(drop)
    }

    /// A Forwarder with a link to each of `peers`, all on `node`.
    pub(crate) fn forwarder(
        &self,
        namespace: &str,
        topology: &str,
        name: &str,
        node: &str,
        peers: &[&str],
    ) -> Result<()> {
        self.apply(&forwarder(namespace, topology, name, node, peers))
    }

    /// A node with this address.
    pub(crate) fn node(&self, name: &str, address: &str) -> Result<()> {
        self.apply(&json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}))?;
        let addresses = json!([
            {"type": "InternalIP", "address": address},
            {"type": "Hostname", "address": name},
        ]);
        let status = json!({"status": {"addresses": addresses}});
        self.merge("default", &format!("node/{name}"), Some("status"), &status)
    }

    pub(crate) fn pod(&self, namespace: &str, name: &str, node: &str) -> Result<()> {
        self.apply(&json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
            "spec": {
                "nodeName": node,
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "main", "image": "none"}],
            },
        }))
    }
}

pub(crate) fn forwarder(
    namespace: &str,
    topology: &str,
    name: &str,
    node: &str,
    peers: &[&str],
) -> Value {
    let link = |peer: &&str| {
        let mut ends = [name, peer];
        ends.sort_unstable();
        json!({
            "id": ends.join("/"), "peer": peer, "peerNode": node,
            "weight": 1, "weightBack": 1, "type": "Veth",
        })
    };
    json!({
        "apiVersion": "beemesh.io/v1alpha1",
        "kind": "Forwarder",
        "metadata": {"name": format!("{topology}.{name}"), "namespace": namespace},
        "spec": {
            "topology": topology,
            "name": name,
            "node": node,
            "cidrs": ["10.80.0.0/16"],
            "blocks": ["10.80.0.0/24"],
            "links": peers.iter().map(link).collect::<Vec<_>>(),
        },
    })
}

/// A node's view of the cluster.
pub(crate) struct Follower {
    pub(crate) source: Kubernetes,
    pub(crate) pods: Arc<dyn Pods>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) directory: TempDir,
}

/// The cache of a directory.
pub(crate) fn cache(directory: &TempDir) -> PathBuf {
    directory.path().join("objects")
}

impl Follower {
    pub(crate) fn new(node: &str, kubeconfig: &Path) -> Result<Follower> {
        Follower::at(node, kubeconfig, TempDir::new()?)
    }

    /// One whose cache is in `directory`.
    pub(crate) fn at(node: &str, kubeconfig: &Path, directory: TempDir) -> Result<Follower> {
        let mailbox = Arc::new(Mailbox::default());
        let told = Arc::clone(&mailbox);
        let source = Kubernetes::open(node, None, Some(kubeconfig), &cache(&directory), told)?;
        Ok(Follower {
            pods: source.pods(),
            source,
            mailbox,
            directory,
        })
    }

    /// Ends it; the cache stays.
    pub(crate) fn stop(self) -> TempDir {
        drop(self.source);
        self.directory
    }

    /// Waits, as the engine does, until the desired state is complete and `look` holds.
    pub(crate) fn until(
        &mut self,
        what: &str,
        look: impl Fn(&Snapshot) -> bool,
    ) -> Result<Snapshot> {
        let deadline = Instant::now() + SOON;
        loop {
            let snapshot = self.source.load();
            if snapshot.is_complete && look(&snapshot) {
                return Ok(snapshot);
            }
            ensure!(Instant::now() < deadline, "not: {what}: {snapshot:?}");
            self.mailbox.take(deadline);
        }
    }

    /// Waits for the state that has exactly these Forwarders.
    pub(crate) fn until_forwarders(&mut self, keys: &[&str]) -> Result<Snapshot> {
        self.until(&format!("{keys:?}"), |snapshot| {
            snapshot.forwarders.keys().eq(keys)
        })
    }

    /// Waits until all that is known is on disk.
    pub(crate) fn until_kept(&self) -> Result<()> {
        until_kept(&self.directory)
    }
}

/// Waits until all that a node with its cache in `directory` knows is on disk.
pub(crate) fn until_kept(directory: &TempDir) -> Result<()> {
    let mark = cache(directory).join("changing");
    let index = cache(directory).join("index.json");
    eventually("the state is on disk", SOON, || {
        ensure!(index.exists() && !mark.exists(), "not yet");
        Ok(())
    })
}

/// Ensures that no Forwarder has changed. Nodes and topologies of a bed that is shared may be another's.
pub(crate) fn ensure_same_forwarders(now: &Snapshot, before: &Snapshot) -> Result<()> {
    ensure!(now.is_complete, "it is complete as it was");
    ensure!(now.forwarders == before.forwarders, "{:?}", now.forwarders);
    Ok(())
}

/// A kubeconfig like the server's that leads to another port.
pub(crate) fn kubeconfig_at(server: &ApiServer, port: u16) -> Result<PathBuf> {
    let text = std::fs::read_to_string(server.kubeconfig())?;
    let changed = text.replace(&server.url(), &format!("https://127.0.0.1:{port}"));
    let path = server.folder().join(format!("kubeconfig-at-{port}"));
    std::fs::write(&path, changed).context("a kubeconfig")?;
    Ok(path)
}
