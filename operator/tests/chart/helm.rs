//! helm as the tests' hand: the chart, rendered.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The namespace of the documented commands.
pub(crate) const NAMESPACE: &str = "beemesh-system";

/// A helm that was built from source believes in Kubernetes 1.20 until it meets a server.
const KUBE_VERSION: &str = "v1.33.0";

/// The values that the tests render with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Values {
    Default,
    Everything,
    Minimal,
}

impl Values {
    pub(crate) const ALL: [Self; 3] = [Self::Default, Self::Everything, Self::Minimal];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Everything => "everything",
            Self::Minimal => "minimal",
        }
    }

    /// The arguments of helm that choose them.
    pub(crate) fn arguments(self) -> Vec<String> {
        match self {
            Self::Default => vec![],
            Self::Everything | Self::Minimal => {
                let file = tests().join(format!("values/{}.yaml", self.name()));
                vec!["--values".into(), file.display().to_string()]
            }
        }
    }
}

/// The folder of this test.
pub(crate) fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chart")
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The chart.
pub(crate) fn chart() -> PathBuf {
    root().join("charts/beemesh")
}

/// Runs `command` and returns what it printed, both outputs in one; `Err` when it failed, with the same.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let ran = command
        .output()
        .with_context(|| format!("failed to start {command:?}"))?;
    let text = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
    if !ran.status.success() {
        bail!("{command:?}: {text}");
    }
    Ok(text.into_owned())
}

/// helm, with folders of its own so that the user's are left alone.
pub(crate) fn helm(folder: &Path) -> Result<Command> {
    let mut command = Command::new(e2e::tools::find("helm")?);
    for (variable, name) in [
        ("HELM_CACHE_HOME", "helm-cache"),
        ("HELM_CONFIG_HOME", "helm-config"),
        ("HELM_DATA_HOME", "helm-data"),
    ] {
        command.env(variable, folder.join(name));
    }
    Ok(command)
}

/// Output of `helm template` for the release `release` with additional `arguments`.
pub(crate) fn template(release: &str, arguments: &[String]) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let mut command = helm(folder.path())?;
    command
        .args(["template", release])
        .arg(chart())
        .args(["--namespace", NAMESPACE, "--kube-version", KUBE_VERSION])
        .args(arguments);
    output(&mut command)
}

/// The objects of a rendered chart.
pub(crate) fn objects(manifests: &str) -> Result<Vec<Value>> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(manifests).context("helm rendered no YAML")?;
    Ok(documents
        .into_iter()
        .filter(|document| !document.is_null())
        .collect())
}

/// The objects of `kind` as rendered with `values`.
pub(crate) fn objects_of(kind: &str, values: Values) -> Result<Vec<Value>> {
    let objects = objects(&template("beemesh", &values.arguments())?)?;
    Ok(objects
        .into_iter()
        .filter(|object| object["kind"] == kind)
        .collect())
}
