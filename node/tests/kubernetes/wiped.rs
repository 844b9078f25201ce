//! The whole daemon as a process, killed, and its state directory removed while a pod is wired.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use anyhow::{Context, Result, ensure};
use e2e::{eventually, free_port};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bed::{Bed, SOON, shared};
use crate::daemon::{probe, program};

/// The node, and the Kubernetes namespace of all that is on it. Two runs at once share the kernel.
static NAME: LazyLock<String> = LazyLock::new(|| format!("wiped-{}", std::process::id()));
const ROUNDS: u32 = 3;

/// The plugin, built once.
static PLUGIN: LazyLock<PathBuf> = LazyLock::new(|| {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--package", "beemesh-cni"]);
    assert!(build.status().expect("cargo").success(), "it builds");
    let daemon = Path::new(env!("CARGO_BIN_EXE_beemesh-node"));
    daemon.with_file_name("beemesh-cni")
});

fn ip(words: &str) -> Result<String> {
    let output = Command::new("ip").args(words.split(' ')).output()?;
    ensure!(output.status.success(), "ip {words}: {output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

/// A pod that runs on a node with a Forwarder.
struct Node {
    bed: &'static Bed,
    directory: TempDir,
    uid: String,
    port: u16,
    sleeper: Child,
    daemon: Option<Child>,
}

impl Node {
    fn new() -> Result<Node> {
        let name = NAME.as_str();
        let bed = shared()?;
        bed.node(name, "127.0.0.1")?;
        bed.namespace(name)?;
        bed.apply(&json!({
            "apiVersion": "beemesh.io/v1alpha1",
            "kind": "MicroServiceTopology",
            "metadata": {"name": "iot", "namespace": name},
            "spec": {
                "forwarders": [{"name": "a", "node": name}],
                "apps": [{"name": "sensors", "podSelector": {"matchLabels": {"app": "p"}}}],
            },
        }))?;
        bed.forwarder(name, "iot", "a", name, &[])?;
        bed.pod(name, "p", name)?;
        let pod = bed.get(name, "pod", "p")?;
        let uid = pod["metadata"]["uid"].as_str().context("a uid")?;
        ip(&format!("netns add {name}"))?;
        let sleep = ["netns", "exec", name, "sleep", "1000"];
        let node = Node {
            bed,
            directory: tempfile::tempdir()?,
            uid: uid.to_owned(),
            port: free_port()?,
            sleeper: Command::new("ip").args(sleep).spawn()?,
            daemon: None,
        };
        let process = node.sleeper.id().to_string();
        node.show("self", "0::/")?;
        symlink("/proc/sys", node.at("proc/sys"))?;
        let inside = fs::metadata(format!("/run/netns/{name}"))?;
        eventually("it is in its namespace", SOON, || {
            let own = fs::metadata(format!("/proc/{process}/ns/net"))?;
            ensure!(own.ino() == inside.ino(), "not yet");
            Ok(())
        })?;
        Ok(node)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// From now on the pod runs: as long as its sandbox was being made, no process of it was there.
    fn runs(&self) -> Result<()> {
        let process = self.sleeper.id().to_string();
        self.show(&process, &format!("0::/kubepods/pod{}/c", self.uid))
    }

    /// Shows a process in a tree like /proc.
    fn show(&self, process: &str, cgroup: &str) -> Result<()> {
        let directory = self.at("proc").join(process);
        fs::create_dir_all(directory.join("ns"))?;
        fs::write(directory.join("cgroup"), format!("{cgroup}\n"))?;
        let own = format!("/proc/{process}/ns/net");
        Ok(symlink(own, directory.join("ns/net"))?)
    }

    fn start(&mut self) -> Result<()> {
        let at = |name: &str| self.at(name).display().to_string();
        let mut log = fs::File::options();
        let log = log.create(true).append(true).open(self.at("log"))?;
        let plugins = PLUGIN.parent().context("a directory")?;
        let daemon = program()
            .args(["--kubernetes", "--resync-seconds=1", "--name", &NAME])
            .arg(format!(
                "--kubeconfig={}",
                self.bed.server.kubeconfig().display()
            ))
            .arg(format!("--socket={}", at("cni.sock")))
            .arg(format!("--state-dir={}", at("state")))
            .arg(format!("--cache-dir={}", at("cache")))
            .arg(format!("--run-dir={}", at("run")))
            .arg(format!("--host-proc={}", at("proc")))
            .arg(format!("--cni-bin-dir={}", plugins.display()))
            .arg(format!("--http-address=127.0.0.1:{}", self.port))
            .arg(format!("--peer-port={}", free_port()?))
            .stderr(log)
            .spawn()?;
        self.daemon = Some(daemon);
        Ok(())
    }

    fn kill(&mut self) -> Result<()> {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill()?;
            daemon.wait()?;
        }
        Ok(())
    }

    /// ADD of the pod's sandbox behind another plugin, as a runtime calls it.
    fn add(&self) -> Result<()> {
        let uid = &self.uid;
        let pod = format!(
            "K8S_POD_NAMESPACE={};K8S_POD_NAME=p;K8S_POD_UID={uid}",
            *NAME
        );
        let mut child = Command::new(&*PLUGIN)
            .env_clear()
            .env("CNI_COMMAND", "ADD")
            .env("CNI_CONTAINERID", "sandbox")
            .env("CNI_NETNS", format!("/var/run/netns/{}", *NAME))
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", "/opt/cni/bin")
            .env("CNI_ARGS", pod)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let config = json!({
            "cniVersion": "1.0.0",
            "name": "primary",
            "type": "beemesh-cni",
            "socket": self.at("cni.sock"),
            "stateDir": self.at("state"),
            "prevResult": {"cniVersion": "1.0.0"},
        });
        let mut stdin = child.stdin.take().context("a pipe")?;
        stdin.write_all(config.to_string().as_bytes())?;
        drop(stdin);
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "{output:?}\n{}", self.log());
        Ok(())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.at("log")).unwrap_or_default()
    }

    /// Status of the Forwarder's only attachment.
    fn attachment(&self) -> Result<Value> {
        let mut forwarder = self.bed.get(&NAME, "fwd", "iot.a")?;
        let attachments = forwarder["status"]["attachments"].take();
        let all = attachments.as_array().cloned().unwrap_or_default();
        ensure!(all.len() == 1, "{all:?}\n{}", self.log());
        Ok(all[0].clone())
    }

    /// Waits until the daemon has a lease that it made itself.
    fn waits_for_lease(&self) -> Result<()> {
        let key = format!("live-{}", self.uid);
        eventually("it is leased", SOON, || {
            let journal = fs::read_to_string(self.at("state/leases.journal"))?;
            ensure!(journal.contains(&key), "{journal}\n{}", self.log());
            Ok(())
        })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.kill();
        let _ = self.sleeper.kill();
        let _ = self.sleeper.wait();
        let forwarder = crds::names::netns(&NAME, "iot", "a");
        for netns in [&*NAME, &forwarder] {
            let _ = ip(&format!("netns delete {netns}"));
        }
    }
}

pub(crate) fn what_a_wiped_node_has_is_taken_back() -> Result<()> {
    let mut node = Node::new()?;
    node.start()?;
    eventually("it is attached", SOON, || node.add())?;
    node.runs()?;
    let first = eventually("it is told", SOON, || node.attachment())?;
    ensure!(first["key"] == "sandbox/eth0", "{first}");
    let wires = || -> Result<String> {
        let shown = ip(&format!("-n {} -o address show dev bm-iot", *NAME))?;
        // For a while the kernel asks whether its own address is another's too.
        Ok(shown.replace(" tentative", ""))
    };
    let before = wires()?;
    for round in 0..ROUNDS {
        node.kill()?;
        fs::remove_dir_all(node.at("state"))?;
        fs::remove_file(node.at("cni.sock"))?;
        node.start()?;
        // Killed once more: at first before it has taken back anything, then right after that.
        match round {
            0 => eventually("it listens", SOON, || {
                Ok(fs::metadata(node.at("cni.sock")).map(drop)?)
            })?,
            _ => node.waits_for_lease()?,
        }
        node.kill()?;
        node.start()?;
        eventually("it has looked at all", SOON, || {
            let answer = probe(node.port, "/readyz");
            ensure!(answer == "ok", "{answer}\n{}", node.log());
            Ok(())
        })?;
        node.waits_for_lease()?;
        let now = wires();
        ensure!(
            now.as_ref().is_ok_and(|now| *now == before),
            "{before}\n{now:?}\n{}",
            node.log()
        );
    }
    eventually("it is told anew", SOON, || {
        let told = node.attachment()?;
        ensure!(told["key"] == format!("live-{}/bm-iot", node.uid), "{told}");
        ensure!(told["addresses"] == first["addresses"], "{told}");
        Ok(())
    })?;
    node.bed.delete(&NAME, "pod", "p")?;
    eventually("it goes with the pod", SOON, || {
        ensure!(wires().is_err(), "{}\n{}", wires()?, node.log());
        ensure!(node.attachment().is_err(), "{}", node.log());
        Ok(())
    })
}
