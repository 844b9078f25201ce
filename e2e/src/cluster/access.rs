//! kubectl and helm as a story's hands, on the cluster made here or on the user's own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::down;
use super::place::Place;
use crate::kubectl::{Ran, run};
use crate::{eventually, tools};

/// The first apply after a start may come before OpenAPI is there.
const SERVED: Duration = Duration::from_secs(60);

/// An API server that can be reached, by an administrator.
#[derive(Clone, Debug)]
pub struct Access {
    /// Place from which it is reached; `None` for this machine's own network.
    place: Option<Place>,
    kubeconfig: PathBuf,
}

impl Access {
    /// The cluster of the user's `KUBECONFIG`.
    #[must_use]
    pub fn new(kubeconfig: PathBuf) -> Self {
        Self {
            place: None,
            kubeconfig,
        }
    }

    pub(super) fn within(place: Place, kubeconfig: PathBuf) -> Self {
        Self {
            place: Some(place),
            kubeconfig,
        }
    }

    /// Runs kubectl; its failure is part of the result.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<Ran> {
        self.kubectl_with_input(arguments, "")
    }

    /// Runs kubectl with `input` as its standard input (`-f -`).
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn kubectl_with_input(&self, arguments: &[&str], input: &str) -> Result<Ran> {
        run(self.command("kubectl", arguments)?, input)
    }

    /// The standard output of a kubectl that succeeds.
    ///
    /// # Errors
    /// It fails; with its message.
    pub fn ok(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl(arguments)?.ok()
    }

    /// Output of kubectl with `-o json`.
    ///
    /// # Errors
    /// kubectl fails; with its message.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        self.kubectl(&[arguments, &["-o", "json"]].concat())?.json()
    }

    /// Applies `manifest` (YAML or JSON) on the server's side, and returns what kubectl says.
    ///
    /// # Errors
    /// When the server refuses it; that it is not yet described is awaited.
    pub fn apply(&self, manifest: &str) -> Result<String> {
        let arguments = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        let mut refused = None;
        let applied = eventually("the manifest's kinds are served", SERVED, || {
            let ran = self.kubectl_with_input(&arguments, manifest)?;
            if !ran.is_success && !is_too_early(&ran.stderr) {
                refused = Some(ran.clone());
                return Ok(String::new());
            }
            ran.ok()
        });
        refused.map_or(applied, Ran::ok)
    }

    /// The same, but what names no namespace is in `namespace`.
    ///
    /// # Errors
    /// When the kubeconfig cannot be read, or its copy not be written.
    pub fn in_namespace(&self, namespace: &str) -> Result<Self> {
        let view = ["config", "view", "--raw", "--minify", "--flatten"];
        let mut config = self.json(&view)?;
        config["contexts"][0]["context"]["namespace"] = namespace.into();
        let folder = match &self.place {
            Some(place) => place.layout.keys(),
            None => down::artifacts(),
        };
        fs::create_dir_all(&folder)?;
        let kubeconfig = folder.join(format!("{namespace}.kubeconfig"));
        fs::write(&kubeconfig, config.to_string())?;
        let place = self.place.clone();
        Ok(Self { place, kubeconfig })
    }

    /// Runs helm; its failure is part of the result.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn helm(&self, arguments: &[&str]) -> Result<Ran> {
        run(self.command("helm", arguments)?, "")
    }

    /// Runs the program at the path `program` as [`Access::command`] does; its failure is part of the result.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<Ran> {
        run(self.command(program, arguments)?, "")
    }

    /// A command `program` (kubectl, helm, or a path) that reaches the API server: with its network and `KUBECONFIG`.
    ///
    /// # Errors
    /// When the program cannot be had, or the cluster does not run.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Result<Command> {
        let file = match program {
            "kubectl" | "helm" => tools::find(program)?,
            path => PathBuf::from(path),
        };
        let mut command = match &self.place {
            Some(place) => place.in_network()?,
            None => Command::new("env"),
        };
        let folder = self.kubeconfig.parent().context("a file has a folder")?;
        command.arg(file).args(arguments);
        command.env("KUBECONFIG", &self.kubeconfig);
        if self.place.is_some() {
            command
                .env("KUBECACHEDIR", folder.join("kubectl-cache"))
                .env("HELM_CACHE_HOME", folder.join("helm-cache"))
                .env("HELM_CONFIG_HOME", folder.join("helm-config"))
                .env("HELM_DATA_HOME", folder.join("helm-data"));
        }
        Ok(command)
    }

    /// The administrator's kubeconfig. It works in the control plane's network namespace alone when the cluster is ours.
    #[must_use]
    pub fn kubeconfig(&self) -> &std::path::Path {
        &self.kubeconfig
    }
}

/// True for an error of the API server or kubectl about a kind that is not served yet.
fn is_too_early(words: &str) -> bool {
    [
        "unable to handle the request",
        "no matches for kind",
        "the server could not find the requested resource",
        "failed to download openapi",
        "connection refused",
    ]
    .iter()
    .any(|early| words.contains(early))
}
