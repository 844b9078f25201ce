//! The whole daemon as a process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Result, ensure};
use e2e::{eventually, free_port, http_get};
use serde_json::json;
use tempfile::TempDir;

use crate::bed::{Bed, SOON, shared};

pub(crate) const SYSTEM: &str = "leaving-system";
const TAINT: &str = "beemesh.io/not-ready";
pub(crate) const PRIMARY: &str =
    r#"{"cniVersion":"1.0.0","name":"cbr0","plugins":[{"type":"ptp"}]}"#;

/// Why a daemon cannot run here; none when it can.
pub(crate) fn missing() -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = line.and_then(|line| u64::from_str_radix(line.trim(), 16).ok());
    let is_privileged = set.is_some_and(|set| set & (1 << 21) != 0);
    (!is_privileged).then(|| "the daemon makes network namespaces: run as root".to_owned())
}

/// The daemon, which ends with the test that starts it: of a test that is killed none is left.
pub(crate) fn program() -> Command {
    let mut program = Command::new("setpriv");
    program.args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_beemesh-node")]);
    program
}

/// Answer of a daemon on this port; empty while it does not listen.
pub(crate) fn probe(port: u16, path: &str) -> String {
    http_get(port, path).map_or_else(|_| String::new(), |(_, body)| body)
}

pub(crate) struct Daemon<'a> {
    pub(crate) bed: &'a Bed,
    pub(crate) name: &'static str,
    pub(crate) directory: TempDir,
    pub(crate) process: Option<Child>,
    /// How it reaches the API server.
    pub(crate) kubeconfig: PathBuf,
    /// Additional arguments.
    pub(crate) arguments: Vec<String>,
    port: u16,
}

impl Daemon<'_> {
    pub(crate) fn new(name: &'static str) -> Result<Daemon<'static>> {
        let bed = shared()?;
        let directory = tempfile::tempdir()?;
        fs::create_dir(directory.path().join("net.d"))?;
        // The plugin is only put in place here.
        fs::write(directory.path().join("plugin"), "a program")?;
        fs::write(directory.path().join("net.d/10-ptp.conflist"), PRIMARY)?;
        let port = free_port()?;
        bed.node(name, "127.0.0.1")?;
        let taints = json!([
            {"key": TAINT, "effect": "NoSchedule"},
            {"key": TAINT, "effect": "NoExecute"},
            {"key": "theirs", "effect": "NoSchedule"},
        ]);
        let tainted = json!({"spec": {"taints": taints}});
        bed.merge("default", &format!("node/{name}"), None, &tainted)?;
        bed.pod(SYSTEM, name, name)?;
        let process = None;
        let kubeconfig = bed.server.kubeconfig();
        Ok(Daemon {
            kubeconfig,
            arguments: Vec::new(),
            bed,
            name,
            directory,
            process,
            port,
        })
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn start(&mut self) -> Result<()> {
        let at = |name: &str| self.at(name).display().to_string();
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.at("log"))?;
        let daemon = program()
            .args([
                "--kubernetes",
                "--install-cni=chained",
                "--resync-seconds=1",
            ])
            .args(["--startup-taint", TAINT, "--name", self.name])
            .arg(format!("--kubeconfig={}", self.kubeconfig.display()))
            .arg(format!("--socket={}", at("cni.sock")))
            .arg(format!("--state-dir={}", at("state")))
            .arg(format!("--cache-dir={}", at("cache")))
            .arg(format!("--run-dir={}", at("run")))
            .arg(format!("--cni-bin-dir={}", at("bin")))
            .arg(format!("--cni-conf-dir={}", at("net.d")))
            .arg(format!("--http-address=127.0.0.1:{}", self.port))
            .arg(format!("--peer-port={}", free_port()?))
            .args(&self.arguments)
            .env("NO_COLOR", "1")
            .env("BEEMESH_CNI", self.at("plugin"))
            .env("POD_NAME", self.name)
            .env("POD_NAMESPACE", SYSTEM)
            .stderr(log)
            .spawn()?;
        self.process = Some(daemon);
        Ok(())
    }

    /// Starts it, and waits until both Forwarders are made and the plugin is in place.
    pub(crate) fn begin(&mut self) -> Result<()> {
        self.start()?;
        self.waits("ready", || Ok(self.probe("/readyz") == "ok"))?;
        self.waits("made", || Ok(self.namespaces().len() == 2))?;
        ensure!(self.at("net.d/00-beemesh.conflist").exists());
        Ok(())
    }

    pub(crate) fn kill(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    pub(crate) fn probe(&self, path: &str) -> String {
        probe(self.port, path)
    }

    pub(crate) fn waits(&self, what: &str, holds: impl Fn() -> Result<bool>) -> Result<()> {
        eventually(what, SOON, || {
            ensure!(
                holds()?,
                "{}\n{}",
                self.probe("/readyz?verbose"),
                self.log()
            );
            Ok(())
        })
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.at("log")).unwrap_or_default()
    }

    /// True when its node has the startup taint.
    pub(crate) fn is_tainted(&self) -> Result<bool> {
        let node = self.bed.get("default", "node", self.name)?;
        let taints = node["spec"]["taints"].as_array();
        Ok(taints.is_some_and(|taints| taints.iter().any(|taint| taint["key"] == TAINT)))
    }

    /// Namespaces of the Forwarders that are declared for this node.
    pub(crate) fn namespaces(&self) -> Vec<String> {
        let all = ["a", "b"].map(|it| crds::names::netns(self.name, "iot", it));
        all.into_iter()
            .filter(|name| Path::new("/run/netns").join(name).exists())
            .collect()
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let _ = self.kill();
        for netns in self.namespaces() {
            let _ = Command::new("ip")
                .args(["netns", "delete", &netns])
                .status();
        }
    }
}

/// A node with two Forwarders that are made, and the plugin in place.
pub(crate) fn made(name: &'static str) -> Result<Daemon<'static>> {
    let mut daemon = declared(name)?;
    daemon.begin()?;
    Ok(daemon)
}

/// A node with two Forwarders, without a daemon yet.
pub(crate) fn declared(name: &'static str) -> Result<Daemon<'static>> {
    // Of another test already, perhaps.
    let _ = shared()?.namespace(SYSTEM);
    // Two runs at once share the kernel.
    let name = format!("{name}-{}", std::process::id()).leak();
    let daemon = Daemon::new(name)?;
    daemon.bed.namespace(name)?;
    daemon.bed.forwarder(name, "iot", "a", name, &["b"])?;
    daemon.bed.forwarder(name, "iot", "b", name, &["a"])?;
    Ok(daemon)
}
