//! The cluster that the session is played on: three nodes, some pods, one operator.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use e2e::{ApiServer, Process, free_port};
use serde_json::{Value, json};

/// How long a command that reads may take to print what is expected.
const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) struct Stage {
    server: ApiServer,
    operator: Process,
    path: String,
}

impl Stage {
    pub(crate) fn set() -> Result<Stage> {
        let server = ApiServer::start()?;
        let operator = operator(&server)?;
        let stage = Stage {
            path: path(&server)?,
            server,
            operator,
        };
        for node in ["n1", "n2", "n3"] {
            stage.node(node)?;
        }
        for (name, node, labels) in [
            ("sensor-0", "n1", json!({"app": "sensors"})),
            ("analysis-0", "n3", json!({"app": "analytics"})),
        ] {
            stage.pod(name, node, &labels)?;
        }
        Ok(stage)
    }

    /// Runs a shell command at the top of the repository; both outputs together.
    ///
    /// One that only reads is run again until its output is `accepted` or time is up.
    pub(crate) fn run(&self, command: &str, accepted: impl Fn(&str) -> bool) -> Result<String> {
        let started = Instant::now();
        loop {
            let printed = self.once(command)?;
            let is_late = started.elapsed() > DEADLINE;
            if accepted(&printed) || !is_read(command) || is_late {
                return Ok(printed);
            }
            // While a session is written anew nothing is accepted: what has settled is taken.
            thread::sleep(Duration::from_millis(500));
            if env::var_os("UPDATE_GOLDEN").is_some() && started.elapsed() > Duration::from_secs(3)
            {
                return Ok(printed);
            }
        }
    }

    fn once(&self, command: &str) -> Result<String> {
        let mut shell = Command::new("bash");
        shell
            .args(["-c", &format!("exec 2>&1\n{command}")])
            .current_dir(top())
            .env("PATH", &self.path)
            .env("KUBECONFIG", self.server.kubeconfig())
            .env("KUBECACHEDIR", self.server.folder().join("kubectl"))
            .env("COLUMNS", "120");
        let output = shell.output()?;
        Ok(String::from_utf8(output.stdout)?)
    }

    pub(crate) fn last_words(&self) -> String {
        let log = self.operator.log();
        let lines: Vec<&str> = log.lines().rev().take(30).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    fn node(&self, name: &str) -> Result<()> {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
        self.server.kubectl_apply(&node.to_string())?;
        let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        self.patch_status("node", name, &ready)
    }

    fn pod(&self, name: &str, node: &str, labels: &Value) -> Result<()> {
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "labels": labels},
            "spec": {"nodeName": node, "containers": [{"name": "main", "image": "none"}]},
        });
        self.server.kubectl_apply(&pod.to_string())?;
        self.patch_status("pod", name, &json!({"status": {"phase": "Running"}}))
    }

    fn patch_status(&self, kind: &str, name: &str, patch: &Value) -> Result<()> {
        let patch = patch.to_string();
        let arguments = [
            "patch",
            kind,
            name,
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ];
        self.server.kubectl(&arguments)?.ok().map(drop)
    }
}

fn is_read(command: &str) -> bool {
    let words = [
        "kubectl get",
        "kubectl describe",
        "kubectl events",
        "beemesh",
        "kubectl beemesh",
    ];
    words.iter().any(|word| command.starts_with(word)) && !command.contains("drain")
}

fn top() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/..")
}

fn operator(server: &ApiServer) -> Result<Process> {
    server.apply_crds(&PathBuf::from(top()).join("charts/beemesh/crds"))?;
    let metrics = format!("127.0.0.1:{}", free_port()?);
    let api = format!("127.0.0.1:{}", free_port()?);
    let arguments = [
        "--name",
        "op",
        "--listen-metrics",
        &metrics,
        "--listen-api",
        &api,
    ];
    let program = env!("CARGO_BIN_EXE_beemesh-operator");
    let kubeconfig = server.kubeconfig();
    Process::start(
        program,
        "operator",
        &arguments,
        &kubeconfig,
        server.folder(),
    )
}

/// PATH with kubectl, beemesh and kubectl-beemesh in front.
fn path(server: &ApiServer) -> Result<String> {
    let programs = server.folder().join("programs");
    fs::create_dir_all(&programs)?;
    let beemesh = Path::new(env!("CARGO_BIN_EXE_beemesh-operator")).with_file_name("beemesh");
    ensure!(
        beemesh.exists(),
        "{} is not built: cargo build -p beemesh-ctl",
        beemesh.display()
    );
    std::os::unix::fs::symlink(&beemesh, programs.join("beemesh"))?;
    std::os::unix::fs::symlink(&beemesh, programs.join("kubectl-beemesh"))?;
    std::os::unix::fs::symlink(server.tool("kubectl")?, programs.join("kubectl"))?;
    let rest = env::var("PATH").context("PATH")?;
    Ok(format!("{}:{rest}", programs.display()))
}
