//! The whole daemon as a process: it installs the plugin, takes its taint off, and leaves the node clean when it is asked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Context, Result, ensure};
use e2e::{eventually, free_port};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bed::{Bed, SOON, shared};

const SYSTEM: &str = "leaving-system";
const TAINT: &str = "beemesh.io/not-ready";
const PRIMARY: &str = r#"{"cniVersion":"1.0.0","name":"cbr0","plugins":[{"type":"ptp"}]}"#;

/// Why a daemon cannot run here; none when it can.
pub(crate) fn missing() -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = line.and_then(|line| u64::from_str_radix(line.trim(), 16).ok());
    let is_privileged = set.is_some_and(|set| set & (1 << 21) != 0);
    (!is_privileged).then(|| "the daemon makes network namespaces: run as root".to_owned())
}

struct Daemon<'a> {
    bed: &'a Bed,
    name: &'static str,
    directory: TempDir,
    process: Option<Child>,
    port: u16,
}

impl Daemon<'_> {
    fn new(name: &'static str) -> Result<Daemon<'static>> {
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
        Ok(Daemon {
            bed,
            name,
            directory,
            process,
            port,
        })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn start(&mut self) -> Result<()> {
        let at = |name: &str| self.at(name).display().to_string();
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.at("log"))?;
        let daemon = Command::new(env!("CARGO_BIN_EXE_beemesh-node"))
            .args([
                "--kubernetes",
                "--install-cni=chained",
                "--resync-seconds=1",
            ])
            .args(["--startup-taint", TAINT, "--name", self.name])
            .arg(format!(
                "--kubeconfig={}",
                self.bed.server.kubeconfig().display()
            ))
            .arg(format!("--socket={}", at("cni.sock")))
            .arg(format!("--state-dir={}", at("state")))
            .arg(format!("--cache-dir={}", at("cache")))
            .arg(format!("--run-dir={}", at("run")))
            .arg(format!("--cni-bin-dir={}", at("bin")))
            .arg(format!("--cni-conf-dir={}", at("net.d")))
            .arg(format!("--http-address=127.0.0.1:{}", self.port))
            .arg(format!("--peer-port={}", free_port()?))
            .env("BEEMESH_CNI", self.at("plugin"))
            .env("POD_NAME", self.name)
            .env("POD_NAMESPACE", SYSTEM)
            .stderr(log)
            .spawn()?;
        self.process = Some(daemon);
        Ok(())
    }

    fn kill(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    fn probe(&self, path: &str) -> String {
        use std::io::{Read, Write};
        let ask = || -> std::io::Result<String> {
            let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port))?;
            write!(
                stream,
                "GET {path} HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n"
            )?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().unwrap_or_default()
    }

    fn waits(&self, what: &str, holds: impl Fn() -> Result<bool>) -> Result<()> {
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

    fn log(&self) -> String {
        fs::read_to_string(self.at("log")).unwrap_or_default()
    }

    fn annotations(&self) -> Result<Value> {
        let mut pod = self.bed.get(SYSTEM, "pod", self.name)?;
        Ok(pod["metadata"]["annotations"].take())
    }

    fn ask(&self) -> Result<()> {
        let annotations =
            json!({node::uninstall::ANNOTATION: "requested", node::uninstall::CENSUS: null});
        let patch = json!({"metadata": {"annotations": annotations}});
        self.bed
            .merge(SYSTEM, &format!("pod/{}", self.name), None, &patch)
    }

    fn waits_for_proof(&self) -> Result<()> {
        self.waits("it is done", || {
            Ok(self.annotations()?[node::uninstall::ANNOTATION] == node::uninstall::DONE)
        })?;
        let annotations = self.annotations()?;
        let census = annotations[node::uninstall::CENSUS]
            .as_str()
            .context("a census")?;
        let census: Value = serde_json::from_str(census)?;
        let census = census.as_object().context("an object")?;
        ensure!(
            census.len() > 4 && census.values().all(|left| left == 0),
            "{census:?}"
        );
        ensure!(self.namespaces().is_empty(), "{:?}", self.namespaces());
        let mut left = Vec::new();
        files(self.directory.path(), &mut left)?;
        left.sort();
        ensure!(left == ["10-ptp.conflist", "log", "plugin"], "{left:?}");
        ensure!(fs::read_to_string(self.at("net.d/10-ptp.conflist"))? == PRIMARY);
        ensure!(self.probe("/livez").ends_with("ok"), "it lives");
        ensure!(
            self.probe("/readyz").contains("[-]uninstall failed"),
            "it is not ready"
        );
        Ok(())
    }

    /// Namespaces of the Forwarders that are declared for this node.
    fn namespaces(&self) -> Vec<String> {
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

fn files(directory: &Path, found: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => files(&entry.path(), found)?,
            false => found.push(entry.file_name().to_string_lossy().into_owned()),
        }
    }
    Ok(())
}

/// A node with two Forwarders that are made, and the plugin in place.
fn made(name: &'static str) -> Result<Daemon<'static>> {
    // Of another test already, perhaps.
    let _ = shared()?.namespace(SYSTEM);
    let mut daemon = Daemon::new(name)?;
    daemon.bed.namespace(name)?;
    daemon.bed.forwarder(name, "iot", "a", name, &["b"])?;
    daemon.bed.forwarder(name, "iot", "b", name, &["a"])?;
    daemon.start()?;
    daemon.waits("ready", || {
        Ok(daemon.probe("/readyz").ends_with("\r\n\r\nok"))
    })?;
    daemon.waits("made", || Ok(daemon.namespaces().len() == 2))?;
    ensure!(daemon.at("net.d/00-beemesh.conflist").exists());
    Ok(daemon)
}

pub(crate) fn a_ready_node_loses_its_startup_taint_alone() -> Result<()> {
    let daemon = made("leaving-1")?;
    daemon.waits("the taint goes", || {
        let node = daemon.bed.get("default", "node", daemon.name)?;
        let taints = node["spec"]["taints"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        Ok(!taints.iter().any(|taint| taint["key"] == TAINT))
    })?;
    let node = daemon.bed.get("default", "node", daemon.name)?;
    ensure!(node["spec"]["taints"][0]["key"] == "theirs", "{node}");
    let id = daemon.process.as_ref().context("it runs")?.id();
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let set = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| u64::from_str_radix(line.trim(), 16).ok())
    };
    let kept = node::rights::KEPT
        .iter()
        .fold(0, |all, (capability, _)| all | capability.bitmask());
    ensure!(
        set("CapEff:") == Some(kept) && set("CapPrm:") == Some(kept),
        "{status}"
    );
    ensure!(
        set("CapInh:") == Some(0) && set("CapAmb:") == Some(0),
        "{status}"
    );
    Ok(())
}

pub(crate) fn a_node_that_is_asked_is_clean_and_proves_it_again() -> Result<()> {
    let mut daemon = made("leaving-2")?;
    for _ in 0..2 {
        daemon.ask()?;
        daemon.waits_for_proof()?;
    }
    // Another process of the same pod brings nothing back.
    daemon.kill()?;
    daemon.start()?;
    daemon.waits("it leaves again", || {
        let answer = daemon.probe("/readyz");
        Ok(answer.contains("[-]uninstall failed"))
    })?;
    daemon.ask()?;
    daemon.waits_for_proof()
}

pub(crate) fn a_daemon_killed_while_it_cleans_goes_on() -> Result<()> {
    let mut daemon = made("leaving-3")?;
    daemon.ask()?;
    daemon.waits("it has begun", || {
        Ok(!daemon.at("net.d/00-beemesh.conflist").exists())
    })?;
    daemon.kill()?;
    daemon.start()?;
    daemon.waits_for_proof()
}
