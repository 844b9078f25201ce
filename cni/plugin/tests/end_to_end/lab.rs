//! Namespaces of one test, the plugin in them, and what the kernel shows.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cni::queue;
use dataplane::netns;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::agent::Agent;

/// State of one test; removed when dropped.
pub(crate) struct Lab {
    pub(crate) agent: Option<Agent>,
    pub(crate) forwarder: String,
    pub(crate) pod: String,
    directory: TempDir,
    pods: Vec<String>,
}

/// Output of the plugin.
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Lab {
    /// A Forwarder, an agent, and one pod.
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = |what: &str| format!("bmcni-{}-{count}-{what}", std::process::id());
        let (forwarder, pod) = (name("fwd"), name("pod"));
        let directory = TempDir::new().unwrap();
        // As the daemon makes it when it starts first.
        std::fs::create_dir(directory.path().join("state")).unwrap();
        for netns in [&forwarder, &pod] {
            netns::create(netns).unwrap();
        }
        ip(&forwarder, "link set lo up");
        ip(&forwarder, "addr add 10.80.1.1/32 dev lo");
        ip(&forwarder, "addr add fd00:80:0:1::1/128 dev lo nodad");
        // As the daemon has it: the Forwarder answers for the pods' gateway.
        ip(&forwarder, "addr add 169.254.1.1/32 dev lo scope host");
        let agent = Agent::start(&directory.path().join("node.sock"), &forwarder);
        Self {
            agent: Some(agent),
            forwarder,
            pods: vec![pod.clone()],
            pod,
            directory,
        }
    }

    pub(crate) fn agent(&self) -> &Agent {
        self.agent.as_ref().expect("the agent is running")
    }

    pub(crate) fn restart_agent(&mut self) {
        self.agent = None;
        self.agent = Some(Agent::start(&self.socket(), &self.forwarder));
    }

    pub(crate) fn add_pod(&mut self, what: &str) -> String {
        let pod = format!("{}-{what}", self.pods[0]);
        netns::create(&pod).unwrap();
        self.pods.push(pod.clone());
        pod
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("node.sock")
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    pub(crate) fn sandbox(&self) -> String {
        netns::path(&self.pod).display().to_string()
    }

    /// A network configuration of this version.
    pub(crate) fn config(&self, version: &str) -> Value {
        json!({
            "cniVersion": version, "name": "mesh", "type": "beemesh-cni",
            "socket": self.socket(), "stateDir": self.state_dir(), "ipam": {},
            "args": {"cni": {"labels": [{"key": "beemesh.io/topologies", "value": "iot"}]}},
        })
    }

    /// The same with another key, such as `prevResult`.
    pub(crate) fn config_with(&self, version: &str, key: &str, value: Value) -> Value {
        let mut config = self.config(version);
        config[key] = value;
        config
    }

    pub(crate) fn command(&self, verb: &str) -> Command {
        let mut command = plugin();
        command
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", "Container-1")
            .env("CNI_NETNS", self.sandbox())
            .env("CNI_IFNAME", "eth0")
            .env(
                "CNI_ARGS",
                "IgnoreUnknown=1;K8S_POD_NAMESPACE=plant;K8S_POD_NAME=sensor-0",
            );
        command
    }

    pub(crate) fn call(&self, verb: &str, config: &Value) -> Answer {
        run(self.command(verb), config.to_string().as_bytes())
    }

    /// All that the kernel holds in the Forwarder's and the pods' namespaces.
    pub(crate) fn census(&self) -> String {
        let census = |netns: &String| {
            let shown = [
                "-o link",
                "-o addr",
                "-4 route show table all",
                "-6 route",
                "neigh",
            ];
            shown
                .map(|what| format!("{netns}: {what}\n{}", ip(netns, what)))
                .concat()
        };
        std::iter::once(&self.forwarder)
            .chain(&self.pods)
            .map(census)
            .collect()
    }

    pub(crate) fn queued(&self) -> usize {
        queue::list(&self.state_dir()).unwrap().0.len()
    }

    /// Waits until no lease is left and nothing is kept for the node.
    ///
    /// DEL does not wait long for an answer: what it keeps, a node that was slow has done.
    pub(crate) fn wait_until_released(&self) {
        let state_dir = self.state_dir();
        for (_, record) in queue::list(&state_dir).unwrap().0 {
            wait_for("the node was slow", || {
                self.agent().state().unheard.contains(&record.key)
            });
            queue::remove(&state_dir, &record.key).unwrap();
        }
        wait_for("no lease is left", || {
            self.agent().state().leases.is_empty()
        });
    }

    pub(crate) fn has_interface(&self, name: &str) -> bool {
        ip(&self.pod, "-o link").contains(&format!(" {name}@"))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for netns in self.pods.iter().chain([&self.forwarder]) {
            let _ = netns::delete(netns);
        }
    }
}

impl Answer {
    /// Stdout, which must be one JSON object.
    pub(crate) fn json(&self) -> Value {
        let value = serde_json::from_slice::<Value>(&self.stdout);
        let value = value.unwrap_or_else(|error| panic!("{error}: {:?}", self.stdout));
        assert!(value.is_object(), "{value}");
        value
    }

    #[track_caller]
    pub(crate) fn succeeds(self) -> Self {
        let stdout = String::from_utf8_lossy(&self.stdout);
        assert_eq!(self.code, 0, "stdout {stdout} stderr {}", self.stderr);
        self
    }

    /// Success that says nothing.
    #[track_caller]
    pub(crate) fn says_nothing(self) -> Self {
        let answer = self.succeeds();
        assert!(answer.stdout.is_empty(), "{:?}", answer.stdout);
        answer
    }

    /// An error object with this code, which is the exit status too.
    #[track_caller]
    pub(crate) fn fails_with(self, code: i32) -> Value {
        let error = self.json();
        assert_eq!(
            (self.code, error["code"].as_i64()),
            (code, Some(code.into())),
            "{error}"
        );
        let is_text = |key: &str| error[key].as_str().is_some_and(|text| !text.is_empty());
        assert!(
            is_text("cniVersion") && is_text("msg") && is_text("details"),
            "{error}"
        );
        error
    }
}

/// Waits until `condition` holds: longer than anything takes on a busy machine.
pub(crate) fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The plugin with an empty environment.
pub(crate) fn plugin() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_beemesh-cni"));
    command.env_clear();
    command
}

/// Starts `command` with `stdin`.
pub(crate) fn spawn(mut command: Command, stdin: &[u8]) -> Child {
    let piped = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    // A plugin that refuses early does not read it all.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child
}

pub(crate) fn run(command: Command, stdin: &[u8]) -> Answer {
    let Output {
        status,
        stdout,
        stderr,
    } = spawn(command, stdin).wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&stderr).into_owned();
    Answer {
        code: status.code().unwrap_or(-1),
        stdout,
        stderr,
    }
}

/// `ip -n NETNS ...`, which must succeed.
pub(crate) fn ip(netns: &str, arguments: &str) -> String {
    let mut command = Command::new("ip");
    let output = command
        .args(["-n", netns])
        .args(arguments.split(' '))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "ip -n {netns} {arguments}: {stderr}"
    );
    String::from_utf8(output.stdout).unwrap()
}

/// A pair `other` and `peer0` in a namespace, up: the kernel takes note of that a moment later.
pub(crate) fn add_pair(netns: &str) {
    ip(netns, "link add other type veth peer name peer0");
    for link in ["other", "peer0"] {
        // Addresses that come by themselves would come at any time.
        ip(netns, &format!("link set {link} addrgenmode none"));
        ip(netns, &format!("link set {link} up"));
    }
    wait_for("the pair is up", || {
        let links = ip(netns, "-o link show type veth");
        links.lines().all(|link| link.contains(" state UP "))
    });
}
