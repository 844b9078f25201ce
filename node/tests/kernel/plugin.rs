//! Pods, attached by the real plugin as a runtime does it.

use std::cell::RefCell;
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use crate::world::{World, output, wait_for};

/// The plugin, built once.
pub(crate) fn plugin() -> &'static Path {
    static PLUGIN: OnceLock<PathBuf> = OnceLock::new();
    PLUGIN.get_or_init(|| {
        let target = Path::new(env!("CARGO_BIN_EXE_beemesh-node"))
            .parent()
            .expect("a directory");
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "beemesh-cni"]);
        if target.ends_with("release") {
            build.arg("--release");
        }
        assert!(
            build.status().expect("cargo").success(),
            "the plugin builds"
        );
        target.join("beemesh-cni")
    })
}

impl World {
    /// Runs the plugin for a pod; true when it succeeded, and its output.
    pub(crate) fn cni(&self, verb: &str, node: &str, pod: &str, labels: &str) -> (bool, String) {
        answer(self.spawn_cni(verb, node, pod, labels))
    }

    /// Starts the plugin for a pod. `labels` are `key=value key=value`.
    pub(crate) fn spawn_cni(&self, verb: &str, node: &str, pod: &str, labels: &str) -> Child {
        let (mut child, config) = self.start_cni(verb, node, pod, labels);
        feed(&mut child, &config);
        child
    }

    /// Starts the plugin, which waits for its input, and says what that is to be.
    pub(crate) fn start_cni(
        &self,
        verb: &str,
        node: &str,
        pod: &str,
        labels: &str,
    ) -> (Child, String) {
        let labels: Vec<String> = labels
            .split_whitespace()
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| format!(r#"{{"key":"{key}","value":"{value}"}}"#))
            .collect();
        let config = format!(
            r#"{{"cniVersion":"1.1.0","name":"mesh","type":"beemesh-cni","socket":"{}",
                "stateDir":"{}","args":{{"cni":{{"labels":[{}]}}}}}}"#,
            self.socket(node).display(),
            self.state(node).display(),
            labels.join(",")
        );
        let child = Command::new(plugin())
            .env_clear()
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", pod)
            .env("CNI_NETNS", format!("/run/netns/{}", self.netns(pod)))
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", "/opt/cni/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the plugin");
        (child, config)
    }

    /// Makes a pod and attaches it; its addresses.
    pub(crate) fn add_pod(&self, node: &str, pod: &str, labels: &str) -> Vec<IpAddr> {
        self.add_netns(pod);
        self.attached(self.spawn_cni("ADD", node, pod, labels), node, pod, labels)
    }

    /// Waits for an ADD that is under way; the pod's addresses.
    ///
    /// As a runtime does: a daemon that has just started, or has much to do, is asked again later.
    pub(crate) fn attached(
        &self,
        child: Child,
        node: &str,
        pod: &str,
        labels: &str,
    ) -> Vec<IpAddr> {
        let (is_done, output) = answer(child);
        if is_done {
            return addresses(&output);
        }
        let output = RefCell::new(output);
        wait_for(pod, || {
            let is_later = output.borrow().contains(r#""code":11"#);
            assert!(is_later, "{}\n{}", output.borrow(), self.log(node));
            assert!(self.cni("DEL", node, pod, labels).0);
            let (is_done, answer) = self.cni("ADD", node, pod, labels);
            output.replace(answer);
            is_done
        });
        addresses(&output.borrow())
    }

    /// True when `pod` reaches `address` within the time of a few packets.
    pub(crate) fn reaches(&self, pod: &str, address: IpAddr) -> bool {
        let netns = self.netns(pod);
        let line =
            format!("nsenter --net=/run/netns/{netns} ping -n -q -c 3 -i 0.05 -W 1 {address}");
        output(&line).status.success()
    }
}

/// Success of the plugin, and its output.
fn answer(child: Child) -> (bool, String) {
    let output = child.wait_with_output().expect("the plugin");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), told)
}

/// Gives the plugin its input.
pub(crate) fn feed(child: &mut Child, config: &str) {
    let mut stdin = child.stdin.take().expect("stdin");
    // A plugin that was killed does not read it.
    let _ = stdin.write_all(config.as_bytes());
}

/// The addresses in a CNI result.
pub(crate) fn addresses(result: &str) -> Vec<IpAddr> {
    let result: serde_json::Value = serde_json::from_str(result).expect(result);
    let ips = result["ips"].as_array().expect("ips");
    let address = |ip: &serde_json::Value| ip["address"].as_str()?.split('/').next()?.parse().ok();
    ips.iter().filter_map(address).collect()
}
