//! Chains with the reference plugins, as a runtime calls them: ADD in order, CHECK in order, DEL in reverse.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use dataplane::netns::Netns;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::lab::{Lab, ip};

/// Directories of the reference plugins in distributions.
const DIRECTORIES: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];
/// Versions that the reference plugins of every distribution know, and in which CHECK exists.
const VERSIONS: [&str; 2] = ["0.4.0", "1.0.0"];
/// Limit of a connection.
const PATIENCE: Duration = Duration::from_secs(5);
const FIXED_MAC: &str = "02:de:ad:00:00:03";

/// The directory of the reference plugins, where they are installed.
pub(crate) fn reference_plugins() -> Option<PathBuf> {
    let mut directories = DIRECTORIES.iter().map(PathBuf::from);
    directories.find(|directory| {
        let needed = ["ptp", "host-local", "tuning", "bandwidth", "portmap"];
        needed.iter().all(|name| directory.join(name).is_file())
    })
}

/// One list of plugins, called for the pod of a lab from a network namespace that stands for the host.
struct Chain<'a> {
    lab: &'a Lab,
    host: String,
    version: &'static str,
    plugins: Vec<Value>,
    directory: TempDir,
}

impl<'a> Chain<'a> {
    fn new(lab: &'a mut Lab, version: &'static str, plugins: &[fn(&Path) -> Value]) -> Self {
        let host = lab.add_pod("host");
        ip(&host, "link set lo up");
        let lab = &*lab;
        let directory = TempDir::new().unwrap();
        let plugins = plugins.iter().map(|plugin| plugin(directory.path()));
        Self {
            plugins: plugins.collect(),
            lab,
            host,
            version,
            directory,
        }
    }

    /// The configuration of one plugin as libcni makes it.
    fn config(&self, plugin: &Value, previous: Option<&Value>) -> Value {
        let mut config = match plugin["type"].as_str() {
            Some("beemesh-cni") => self.lab.config(self.version),
            _ => plugin.clone(),
        };
        config["cniVersion"] = self.version.into();
        config["name"] = "mesh".into();
        if let Some(previous) = previous {
            config["prevResult"] = previous.clone();
        }
        config
    }

    fn call(&self, verb: &str, plugin: &Value, previous: Option<&Value>) -> Result<Value, String> {
        let name = plugin["type"].as_str().unwrap();
        let reference = reference_plugins().expect("the test is ignored without them");
        let program = match name {
            "beemesh-cni" => PathBuf::from(env!("CARGO_BIN_EXE_beemesh-cni")),
            other => reference.join(other),
        };
        let mut child = Command::new("ip")
            .args(["netns", "exec", &self.host])
            .arg(program)
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", "Container-1")
            .env("CNI_NETNS", self.lab.sandbox())
            .env("CNI_IFNAME", "eth0")
            .env("CNI_ARGS", "IgnoreUnknown=1")
            .env("CNI_PATH", &reference)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let config = self.config(plugin, previous).to_string();
        let _ = child.stdin.take().unwrap().write_all(config.as_bytes());
        let output = child.wait_with_output().unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        match output.status.success() {
            true => Ok(serde_json::from_str(&stdout).unwrap_or(Value::Null)),
            false => {
                let stderr = String::from_utf8_lossy(&output.stderr);
                Err(format!(
                    "{} {verb} of {name}: {stdout} {stderr}",
                    self.version
                ))
            }
        }
    }

    #[track_caller]
    fn add(&self) -> Value {
        let mut previous = None;
        for plugin in &self.plugins {
            let result = self.call("ADD", plugin, previous.as_ref());
            previous = Some(result.unwrap_or_else(|error| panic!("{error}")));
        }
        previous.unwrap()
    }

    #[track_caller]
    fn check(&self, result: &Value) {
        self.check_all_but(&[], result);
    }

    #[track_caller]
    fn check_all_but(&self, others: &[&str], result: &Value) {
        let is_other = |plugin: &&Value| others.iter().any(|name| plugin["type"] == *name);
        for plugin in self.plugins.iter().filter(|plugin| !is_other(plugin)) {
            let checked = self.call("CHECK", plugin, Some(result));
            checked.unwrap_or_else(|error| panic!("{error}\nprevResult {result}"));
        }
    }

    #[track_caller]
    fn del(&self, result: &Value) {
        for plugin in self.plugins.iter().rev() {
            let deleted = self.call("DEL", plugin, Some(result));
            deleted.unwrap_or_else(|error| panic!("{error}"));
        }
        self.lab.wait_until_released();
        let left = ip(&self.lab.pod, "-o link");
        assert!(!left.contains("eth0") && !left.contains("bm-iot"), "{left}");
        assert!(self.directory.path().exists());
    }
}

fn ours(_: &Path) -> Value {
    json!({"type": "beemesh-cni"})
}

fn ptp(directory: &Path) -> Value {
    json!({"type": "ptp", "ipam": {"type": "host-local", "subnet": "10.77.0.0/24",
        "dataDir": directory, "routes": [{"dst": "0.0.0.0/0"}]}})
}

fn fixed_mac(_: &Path) -> Value {
    json!({"type": "tuning", "mac": FIXED_MAC})
}

fn sysctl(_: &Path) -> Value {
    json!({"type": "tuning", "sysctl": {"net.ipv4.conf.eth0.log_martians": "1"}})
}

fn bandwidth(_: &Path) -> Value {
    json!({"type": "bandwidth", "ingressRate": 1_000_000_000, "ingressBurst": 100_000_000,
        "egressRate": 1_000_000_000, "egressBurst": 100_000_000})
}

fn port_map(_: &Path) -> Value {
    json!({"type": "portmap", "runtimeConfig": {"portMappings":
        [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}})
}

/// True where port mappings can be made and observed.
pub(crate) fn has_iptables() -> bool {
    let found = Command::new("iptables").arg("--version").output();
    found.is_ok_and(|output| output.status.success())
}

#[track_caller]
fn reaches(from: &str, to: &str) {
    let ping = Command::new("ip")
        .args([
            "netns", "exec", from, "ping", "-c3", "-i0.2", "-W5", "-q", to,
        ])
        .output()
        .unwrap();
    assert!(ping.status.success(), "{from} to {to}: {ping:?}");
}

pub(crate) fn a_chain_behind_ptp_is_added_checked_and_deleted() {
    for version in VERSIONS {
        let mut lab = Lab::new();
        let chain = Chain::new(&mut lab, version, &[ptp, ours]);
        let result = chain.add();
        assert!(lab_has(&chain, "eth0") && lab_has(&chain, "bm-iot"));
        chain.check(&result);
        reaches(&chain.lab.pod, "10.80.1.1");
        chain.del(&result);
    }
}

pub(crate) fn a_long_chain_is_added_checked_and_deleted() {
    for version in VERSIONS {
        let mut lab = Lab::new();
        let plugins = [ptp, bandwidth, ours, sysctl, fixed_mac];
        let chain = Chain::new(&mut lab, version, &plugins);
        let result = chain.add();
        chain.check(&result);
        reaches(&chain.lab.pod, "10.80.1.1");
        reaches(&chain.lab.pod, "fd00:80:0:1::1");
        chain.del(&result);
    }
}

pub(crate) fn a_port_of_the_host_is_mapped_to_the_first_plugins_address() {
    for version in VERSIONS {
        let mut lab = Lab::new();
        let chain = Chain::new(&mut lab, version, &[ptp, ours, port_map]);
        let result = chain.add();
        // CHECK of `portmap` 1.1 looks for the rules of IPv4 in ip6tables as well: it fails behind `ptp` alone, too.
        chain.check_all_but(&["portmap"], &result);
        let within = |netns: &str| Netns::open(netns).unwrap();
        let listening = within(&chain.lab.pod).run(|| TcpListener::bind("0.0.0.0:80"));
        let listener = listening.unwrap().unwrap();
        let mut interfaces = result["interfaces"].as_array().unwrap().iter();
        assert!(interfaces.any(|it| it["name"] == "bm-iot"), "{result}");
        // The host's own address on ptp's link: the mapping is for all local ones.
        let mapped = || TcpStream::connect_timeout(&"10.77.0.1:8080".parse().unwrap(), PATIENCE);
        let connected = within(&chain.host).run(mapped).unwrap();
        connected.unwrap_or_else(|error| panic!("{version}: {error}\n{result}"));
        let (_, from) = listener.accept().unwrap();
        assert_eq!(from.ip().to_string(), "10.77.0.1", "{version}");
        reaches(&chain.lab.pod, "10.80.1.1");
        chain.del(&result);
        let refused = within(&chain.host).run(mapped).unwrap();
        refused.expect_err("nothing is mapped any more");
    }
}

pub(crate) fn a_fixed_mac_address_behind_ours_keeps_the_pod_reachable() {
    for version in VERSIONS {
        let mut lab = Lab::new();
        let chain = Chain::new(&mut lab, version, &[ours, fixed_mac]);
        let result = chain.add();
        assert!(ip(&chain.lab.pod, "-o link show eth0").contains(FIXED_MAC));
        for (from, to) in [
            (&chain.lab.pod, "10.80.1.1"),
            (&chain.lab.pod, "fd00:80:0:1::1"),
            (&chain.lab.forwarder, "10.80.1.2"),
            (&chain.lab.forwarder, "fd00:80:0:1::2"),
        ] {
            reaches(from, to);
        }
        chain.check(&result);
        chain.del(&result);
    }
}

pub(crate) fn a_mac_address_that_changes_later_keeps_the_pod_reachable() {
    let lab = Lab::new();
    lab.call("ADD", &lab.config("1.0.0")).succeeds();
    reaches(&lab.forwarder, "10.80.1.2");
    reaches(&lab.forwarder, "fd00:80:0:1::2");
    ip(&lab.pod, &format!("link set eth0 address {FIXED_MAC}"));
    for (from, to) in [
        (&lab.forwarder, "10.80.1.2"),
        (&lab.forwarder, "fd00:80:0:1::2"),
        (&lab.pod, "10.80.1.1"),
        (&lab.pod, "fd00:80:0:1::1"),
    ] {
        reaches(from, to);
    }
}

fn lab_has(chain: &Chain<'_>, name: &str) -> bool {
    chain.lab.has_interface(name) || ip(&chain.lab.pod, "-o link").contains(name)
}
