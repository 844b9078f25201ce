//! `kubectl beemesh`: found, run and completed by kubectl.

use crate::world::{has, namespace, shared};
use anyhow::Result;
use e2e::ApiServer;
use std::{os::unix::fs::symlink, path::Path, process::Command};

/// kubectl with a folder of plugins before everything else.
fn kubectl(server: &ApiServer, plugins: &Path, line: &str) -> Result<String> {
    let path = std::env::var("PATH")?;
    let output = Command::new(server.tool("kubectl")?)
        .args(line.split(' '))
        .env("PATH", format!("{}:{path}", plugins.display()))
        .env("KUBECONFIG", server.kubeconfig())
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "kubectl {line}: {said}{error}");
    Ok(said)
}

pub(crate) fn kubectl_runs_and_completes_the_plugin() -> Result<()> {
    let server = shared()?;
    namespace(server, "plugin")?;
    let topology = "apiVersion: beemesh.io/v1alpha1\nkind: MicroServiceTopology\n\
                    metadata: {name: completed}\nspec: {forwarders: [{name: a}, {name: b}], shape: Line}\n";
    server
        .kubectl_with_input(&["apply", "-n", "plugin", "-f", "-"], topology)?
        .ok()?;
    let plugins = tempfile::tempdir()?;
    for name in ["kubectl-beemesh", "kubectl_complete-beemesh"] {
        symlink(env!("CARGO_BIN_EXE_beemesh"), plugins.path().join(name))?;
    }
    let run = |line: &str| kubectl(server, plugins.path(), line);
    has(&run("plugin list")?, &["kubectl-beemesh"])?;
    has(&run("beemesh status -n plugin")?, &["completed"])?;
    has(
        &run("beemesh status --help")?,
        &[
            "Usage: kubectl beemesh status",
            "  kubectl beemesh status -A",
        ],
    )?;
    has(&run("__complete beemesh sta")?, &["status\t", ":4"])?;
    has(
        &run("__complete beemesh status -n plugin comp")?,
        &["completed", ":4"],
    )?;
    has(&run("__complete beemesh routes -f ")?, &[":0"])
}
