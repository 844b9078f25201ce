//! Resources of a story: an API server, a namespace of its own, and the nodes when the cluster is
//! ours.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use e2e::cluster::{self, Access, Cluster};
use e2e::{Ran, ensure, eventually};
use serde_json::{Value, json};

use crate::figures::Figures;

/// Timeout of readiness.
const READY: Duration = Duration::from_secs(120);
/// The label of namespaces that stories make, and may delete.
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const RUNNER: &str = "beemesh-e2e";
/// Namespace of the chart.
pub(crate) const SYSTEM: &str = "beemesh-system";
/// Words of helm.
pub(crate) const UNINSTALL: [&str; 6] = [
    "uninstall",
    "beemesh",
    "--namespace",
    SYSTEM,
    "--wait",
    "--timeout=180s",
];

/// Result of the installation of beemesh, which all stories share; `None` before it.
type Installed = Arc<Mutex<Option<Result<(), String>>>>;

/// The world as one story sees it. Clones share the cluster.
#[derive(Clone)]
pub(crate) struct World {
    /// kubectl and helm, in the story's namespace unless they name another.
    pub(crate) access: Access,
    /// The story's own Kubernetes namespace.
    pub(crate) namespace: String,
    /// Figures that are printed at the end.
    pub(crate) figures: Figures,
    cluster: Option<Arc<Cluster>>,
    installed: Installed,
    /// Further namespaces of the story.
    others: Arc<Mutex<Vec<String>>>,
}

impl World {
    pub(crate) fn new(access: Access, cluster: Option<Cluster>, figures: Figures) -> Self {
        Self {
            access,
            namespace: "default".to_owned(),
            cluster: cluster.map(Arc::new),
            installed: Installed::default(),
            figures,
            others: Arc::default(),
        }
    }

    /// The nodes, switch and control plane.
    ///
    /// # Errors
    /// When the cluster is the user's: such stories are not run there.
    pub(crate) fn cluster(&self) -> Result<&Cluster> {
        self.cluster.as_deref().context("the nodes are not ours")
    }

    /// This world in a new namespace for the story `name`.
    pub(crate) fn enter(&self, name: &str) -> Result<Self> {
        let namespace: String = name.replace('_', "-").chars().take(55).collect();
        let namespace = namespace.trim_end_matches('-');
        let mut old = Vec::new();
        for name in [namespace.to_owned(), format!("{namespace}-other")] {
            let get = ["get", "namespace", &name, "--ignore-not-found", "-o"];
            let told = self.access.ok(&[&get[..], &["json"]].concat())?;
            if is_of_stories(&name, &told)? {
                old.push(name);
            }
        }
        // Of a run before, on a cluster that stayed.
        for name in &old {
            let delete = ["delete", "namespace", name, "--ignore-not-found"];
            self.access
                .ok(&[&delete[..], &["--timeout=120s"]].concat())?;
        }
        self.namespace(namespace)
    }

    /// This world in a second namespace, which goes with the first.
    pub(crate) fn other(&self) -> Result<Self> {
        let namespace = format!("{}-other", self.namespace);
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.push(namespace.clone());
        self.namespace(&namespace)
    }

    fn namespace(&self, namespace: &str) -> Result<Self> {
        let metadata = json!({"name": namespace, "labels": {MANAGED_BY: RUNNER}});
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata});
        self.access.apply(&object.to_string())?;
        // Pods want it, and a controller makes it a moment later.
        eventually("the namespace has its service account", READY, || {
            let question = ["get", "serviceaccount", "default", "--namespace", namespace];
            self.access.ok(&question).map(drop)
        })?;
        Ok(Self {
            access: self.access.in_namespace(namespace)?,
            namespace: namespace.to_owned(),
            ..self.clone()
        })
    }

    /// Deletes the story's namespace and waits until all of it has ended, so that the next story meets nothing of it.
    pub(crate) fn leave(&self) -> Result<()> {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let mut delete = vec!["delete", "namespace", &self.namespace];
        delete.extend(others.iter().map(String::as_str));
        delete.extend(["--ignore-not-found", "--timeout=120s"]);
        self.access.ok(&delete)?;
        others.clear();
        Ok(())
    }

    /// Writes down all that may explain a failure of `story`, and returns where.
    pub(crate) fn dump(&self, story: &str) -> Result<PathBuf> {
        let folder = cluster::dump_folder(story);
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        self.access.dump(&self.namespace, &folder)?;
        if self.cluster.is_some() {
            self.cluster()?.dump(&folder)?;
        }
        Ok(folder)
    }

    /// Names of all nodes, in order.
    pub(crate) fn nodes(&self) -> Result<Vec<String>> {
        let words = "jsonpath={.items[*].metadata.name}";
        let names = self.access.ok(&["get", "nodes", "-o", words])?;
        Ok(names.split_whitespace().map(str::to_owned).collect())
    }

    /// Installs the chart with its default values, once for all stories, and waits until all of it is ready.
    ///
    /// On a cluster of the user, the existing installation is used.
    pub(crate) fn install(&self) -> Result<()> {
        let mut installed = self
            .installed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let outcome = installed.get_or_insert_with(|| match self.cluster {
            Some(_) => self.helm_install().map_err(|error| format!("{error:#}")),
            None => Ok(()),
        });
        outcome
            .clone()
            .map_err(|error| anyhow!("beemesh is not installed: {error}"))
    }

    /// The next story installs it again, which repairs what a story that failed may have left: none, or other values.
    pub(crate) fn doubt_install(&self) {
        let mut installed = self
            .installed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // A failed installation would fail again for each story.
        if matches!(*installed, Some(Ok(()))) {
            *installed = None;
        }
    }

    fn helm_install(&self) -> Result<()> {
        let archive = std::env::var_os("BEEMESH_IMAGE")
            .map_or_else(|| tree().join("target/beemesh-image.tar"), PathBuf::from);
        self.cluster()?.load_image(&archive)?;
        self.end_uninstall()?;
        let started = Instant::now();
        self.helm_upgrade(&[])?;
        self.figures
            .time("helm install until all is ready", started.elapsed());
        Ok(())
    }

    /// Ends an uninstallation that a story has left half way: helm upgrades nothing from there.
    fn end_uninstall(&self) -> Result<()> {
        let status = ["status", "beemesh", "--namespace", SYSTEM, "-o", "json"];
        let status = self.access.helm(&status)?;
        // None is installed.
        if !status.is_success {
            return Ok(());
        }
        if status.json()?["info"]["status"] == "uninstalling" {
            self.access.helm(&UNINSTALL)?.ok()?;
        }
        Ok(())
    }

    /// `helm upgrade --install` with `more` settings; waits until all of it is ready.
    pub(crate) fn helm_upgrade(&self, more: &[&str]) -> Result<()> {
        let chart = tree().join("charts/beemesh");
        let theirs = std::env::var("BEEMESH_E2E_HELM").unwrap_or_default();
        let mut line = vec!["upgrade", "--install", "beemesh"];
        line.push(chart.to_str().context("a path that is no text")?);
        line.extend(["--namespace", SYSTEM, "--create-namespace"]);
        line.extend(["--wait", "--timeout=180s", "--reset-values"]);
        line.extend(theirs.split_whitespace());
        line.extend(more);
        self.access.helm(&line)?.ok()?;
        // Helm lets as many be missing as a rollout may.
        self.wait_daemons()
    }

    /// Makes the pod `name` with `labels` on `node` (empty: anywhere); it only sleeps.
    pub(crate) fn pod(&self, name: &str, node: &str, labels: &[(&str, &str)]) -> Result<()> {
        self.access
            .apply(&pod(name, node, labels).to_string())
            .map(drop)
    }

    /// Waits until all pods that `selector` (`app=sensors`) selects are ready, and there is one.
    pub(crate) fn wait_pods(&self, selector: &str) -> Result<()> {
        eventually(&format!("pods {selector} are ready"), READY, || {
            let line = ["wait", "pod", "--for=condition=Ready", "--timeout=20s"];
            let line = [&line[..], &["--selector", selector]].concat();
            self.access.ok(&line).map(drop)
        })
    }

    /// Runs `script` (sh) in the pod `name`.
    pub(crate) fn exec(&self, name: &str, script: &str) -> Result<Ran> {
        self.access
            .kubectl(&["exec", name, "--", "sh", "-c", script])
    }

    /// One echo request and its answer, awaited for a while: routes may be on their way.
    pub(crate) fn ping(&self, pod: &str, address: &str) -> Result<()> {
        let what = format!("{pod} reaches {address}");
        eventually(&what, READY, || {
            let ran = self.exec(pod, &format!("ping -n -c 1 -W 1 {address}"))?;
            ensure(ran.is_success, || ran.stdout + &ran.stderr)
        })
    }

    /// The addresses of the pod `name` on the cluster's primary network.
    pub(crate) fn primary_addresses(&self, name: &str) -> Result<Vec<String>> {
        let pod = self.access.json(&["get", "pod", name])?;
        let entries = pod["status"]["podIPs"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let addresses = entries.iter().filter_map(|entry| entry["ip"].as_str());
        Ok(addresses.map(str::to_owned).collect())
    }
}

/// True when the namespace `name` exists and was created by stories. `told` is the object, or empty
/// without one.
///
/// # Errors
/// The namespace belongs to somebody else.
fn is_of_stories(name: &str, told: &str) -> Result<bool> {
    if told.trim().is_empty() {
        return Ok(false);
    }
    let namespace: Value = serde_json::from_str(told)?;
    ensure(
        namespace["metadata"]["labels"][MANAGED_BY] == RUNNER,
        || {
            format!(
                "the namespace {name} was not made by stories (it has no label {MANAGED_BY}={RUNNER}): it is left as it is"
            )
        },
    )?;
    Ok(true)
}

/// The repository.
pub(crate) fn tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// `replicas` pods that only sleep, on `node` (empty: anywhere that takes pods).
pub(crate) fn deployment(name: &str, replicas: u32, node: &str) -> Value {
    let mut template = pod(name, node, &[("app", name)]);
    let metadata = template["metadata"].take();
    let mut spec = template["spec"].take();
    // A drained node takes none.
    spec["tolerations"] = json!([]);
    let labels = &metadata["labels"];
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    })
}

/// A pod that only sleeps, with `labels`, on `node` (empty: anywhere).
pub(crate) fn pod(name: &str, node: &str, labels: &[(&str, &str)]) -> Value {
    let labels: Value = labels.iter().map(|&(key, value)| (key, value)).collect();
    let image = std::env::var("BEEMESH_E2E_IMAGE").unwrap_or_else(|_| cluster::TEST.to_owned());
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
        // Not 0: then the API server drops a pod before its node has removed it, and a census counts the rest.
        "spec": {"terminationGracePeriodSeconds": 1, "tolerations": [{"operator": "Exists"}], "containers": [{
            "name": "main", "image": image, "imagePullPolicy": "IfNotPresent", "command": ["sleep", "2147483647"],
        }]},
    });
    if !node.is_empty() {
        pod["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": node});
    }
    pod
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_namespaces_of_stories_are_used_and_deleted() -> Result<()> {
        let ours = r#"{"metadata": {"labels": {"app.kubernetes.io/managed-by": "beemesh-e2e"}}}"#;
        assert!(is_of_stories("story", ours)?);
        assert!(!is_of_stories("story", "\n")?, "there is none");
        let helms = ours.replace("beemesh-e2e", "Helm");
        for theirs in [r#"{"metadata": {"name": "story"}}"#, &helms] {
            let refused = is_of_stories("story", theirs).err();
            let words = refused.context("it was taken")?.to_string();
            assert!(words.contains("namespace story was not made"), "{words}");
        }
        Ok(())
    }
}
