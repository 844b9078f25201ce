//! One API server for all tests, and the command run against it.

use anyhow::{Context, Result, anyhow, bail};
use e2e::ApiServer;
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::LazyLock,
};

/// A server with our kinds.
static SHARED: LazyLock<Result<ApiServer>> = LazyLock::new(|| {
    let server = ApiServer::start()?;
    install(&server)?;
    Ok(server)
});

/// Defines our kinds, as the chart does.
pub(crate) fn install(server: &ApiServer) -> Result<()> {
    server.apply_crds(&root().join("charts/beemesh/crds"))
}

/// The server that all tests share; each has a namespace of its own.
pub(crate) fn shared() -> Result<&'static ApiServer> {
    SHARED.as_ref().map_err(|error| anyhow!("{error:#}"))
}

/// Makes a namespace.
pub(crate) fn namespace(server: &ApiServer, name: &str) -> Result<()> {
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    server.kubectl_apply(&object.to_string()).map(drop)
}

/// The command as a user has it: no kubeconfig but the one that is given.
pub(crate) fn command(kubeconfig: Option<&Path>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_beemesh"));
    command
        .current_dir(root())
        .env_remove("KUBECONFIG")
        .env("HOME", "/nonexistent");
    for variable in [
        "KUBERNETES_SERVICE_HOST",
        "KUBERNETES_SERVICE_PORT",
        "RUST_BACKTRACE",
    ] {
        command.env_remove(variable);
    }
    if let Some(kubeconfig) = kubeconfig {
        command.env("KUBECONFIG", kubeconfig);
    }
    command
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let ctl = Path::new(env!("CARGO_MANIFEST_DIR"));
    ctl.parent().expect("ctl is in the root").to_owned()
}

/// Output of a run of `beemesh`.
pub(crate) struct Said {
    line: String,
    output: Output,
}

/// Runs `beemesh LINE` as administrator, the words split at blanks.
pub(crate) fn beemesh(server: &ApiServer, line: &str) -> Result<Said> {
    beemesh_with(Some(&server.kubeconfig()), line)
}

/// Runs `beemesh LINE` with this kubeconfig.
pub(crate) fn beemesh_with(kubeconfig: Option<&Path>, line: &str) -> Result<Said> {
    let output = command(kubeconfig).args(line.split_whitespace()).output()?;
    let line = line.to_owned();
    Ok(Said { line, output })
}

impl Said {
    /// Checks the exit code.
    ///
    /// # Errors
    /// Another exit code.
    pub(crate) fn code(self, code: i32) -> Result<Self> {
        if self.output.status.code() == Some(code) {
            return Ok(self);
        }
        let Self { line, .. } = &self;
        let ended = self.output.status;
        bail!(
            "beemesh {line}: {ended}, expected {code}\n{}{}",
            self.stdout(),
            self.stderr()
        )
    }

    /// True for exit code 0.
    pub(crate) fn is_done(&self) -> bool {
        self.output.status.success()
    }

    /// Standard output.
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    /// Standard error.
    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// Standard output as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.output.stdout).with_context(|| self.stdout())
    }

    /// Checks that standard error has all of these.
    ///
    /// # Errors
    /// One is missing.
    pub(crate) fn tells(&self, parts: &[&str]) -> Result<()> {
        has(&self.stderr(), parts)
    }
}

/// Checks that `text` has all of these.
///
/// # Errors
/// One is missing.
pub(crate) fn has(text: &str, parts: &[&str]) -> Result<()> {
    match parts.iter().find(|part| !text.contains(**part)) {
        None => Ok(()),
        Some(part) => bail!("expected {part:?} in:\n{text}"),
    }
}
