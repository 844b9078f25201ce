//! kubectl as a test's hand.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{ApiServer, eventually, tools};

/// New kinds are served, and described in OpenAPI, a moment after they are applied.
const ESTABLISHED: Duration = Duration::from_secs(60);

/// Output and success of a program.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The command line, for messages.
    pub command: String,
    /// True for exit code 0.
    pub is_success: bool,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Ran {
    /// The standard output of a success; else an error that holds the standard error.
    ///
    /// # Errors
    /// When it failed.
    pub fn ok(self) -> Result<String> {
        if self.is_success {
            return Ok(self.stdout);
        }
        bail!("{}: {}", self.command, self.stderr.trim())
    }

    /// The standard output of a success, as JSON.
    ///
    /// # Errors
    /// When it failed or printed no JSON.
    pub fn json(self) -> Result<Value> {
        Ok(serde_json::from_str(&self.ok()?)?)
    }
}

impl ApiServer {
    /// Runs kubectl as administrator.
    ///
    /// # Errors
    /// It cannot be started; its failure is part of the result.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<Ran> {
        self.kubectl_as(&self.kubeconfig(), arguments, "")
    }

    /// Runs kubectl as administrator with `input` as its standard input (`-f -`).
    ///
    /// # Errors
    /// It cannot be started; its failure is part of the result.
    pub fn kubectl_with_input(&self, arguments: &[&str], input: &str) -> Result<Ran> {
        self.kubectl_as(&self.kubeconfig(), arguments, input)
    }

    /// Runs kubectl with another kubeconfig, such as one from [`ApiServer::kubeconfig_for_token`].
    ///
    /// # Errors
    /// It cannot be started; its failure is part of the result.
    pub fn kubectl_as(&self, kubeconfig: &Path, arguments: &[&str], input: &str) -> Result<Ran> {
        let mut command = Command::new(tools::find("kubectl")?);
        command
            .args(arguments)
            .env("KUBECONFIG", kubeconfig)
            .env("KUBECACHEDIR", self.path("kubectl-cache"));
        run(command, input)
    }

    /// Applies `manifest` (YAML or JSON) on the server's side, and returns what kubectl says.
    ///
    /// # Errors
    /// When the server refuses it.
    pub fn kubectl_apply(&self, manifest: &str) -> Result<String> {
        self.kubectl_with_input(&["apply", "--server-side", "-f", "-"], manifest)?
            .ok()
    }

    /// Applies the CustomResourceDefinitions in the folder `crds`, and waits until they are served.
    ///
    /// # Errors
    /// When the server refuses them or does not serve them in time.
    pub fn apply_crds(&self, crds: &Path) -> Result<()> {
        let folder = crds.display().to_string();
        // The first apply after a start may come before OpenAPI is there.
        let apply = [
            "apply",
            "--server-side",
            "--force-conflicts",
            "-f",
            &folder,
            "-o",
            "name",
        ];
        let applied = eventually("definitions are applied", ESTABLISHED, || {
            self.kubectl(&apply)?.ok()
        })?;
        let names: Vec<&str> = applied.lines().collect();
        let mut wait = vec!["wait", "--for=condition=Established", "--timeout=60s"];
        wait.extend(&names);
        self.kubectl(&wait)?.ok()?;
        for name in names {
            self.wait_served(name.split_once('/').map_or(name, |(_, name)| name))?;
        }
        Ok(())
    }

    /// Waits until kubectl can explain the definition `name` (`plural.group`): discovery and OpenAPI hold it then.
    fn wait_served(&self, name: &str) -> Result<()> {
        eventually(&format!("{name} is described"), ESTABLISHED, || {
            self.kubectl(&["get", name, "-A", "-o", "name"])?.ok()?;
            self.kubectl(&["explain", name])?.ok().map(drop)
        })
    }
}

/// Runs `command` to its end with `input`.
pub(crate) fn run(mut command: Command, input: &str) -> Result<Ran> {
    let line = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("failed to start {line}"))?;
    let mut stdin = child
        .stdin
        .take()
        .context("kubectl has no standard input")?;
    let input = input.to_owned();
    // Its own thread: both sides' pipes may fill.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output()?;
    // A program that does not read to the end says why by itself.
    let _ = writer.join();
    Ok(Ran {
        command: line,
        is_success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
