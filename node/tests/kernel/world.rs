//! Hosts, daemons and pods of one test. Everything is gone when the value is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crds::{Forwarder, ForwarderStatus, Instances, Node, NodeObject};
use dataplane::census::{self, Scope};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// One test's world.
pub(crate) struct World {
    /// Name of the first topology; every namespace's name has it in it.
    pub(crate) tag: String,
    /// Least seconds between two looks of a daemon at everything.
    pub(crate) resync_seconds: u64,
    /// Daemons have no more rights than in a cluster.
    pub(crate) is_confined: bool,
    /// Limit of open files of daemons; that of the test if none.
    pub(crate) open_files: Option<u32>,
    /// Additional arguments of daemons.
    pub(crate) arguments: Vec<String>,
    directory: tempfile::TempDir,
    hosts: BTreeMap<String, Vec<IpAddr>>,
    daemons: BTreeMap<String, Child>,
    forwarders: Vec<Forwarder>,
}

pub(crate) fn is_privileged() -> bool {
    let effective = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = effective
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"));
    let capabilities = line.and_then(|line| u64::from_str_radix(line.trim(), 16).ok());
    // CAP_SYS_ADMIN and CAP_NET_ADMIN.
    capabilities.is_some_and(|set| set & (1 << 21) != 0 && set & (1 << 12) != 0)
}

/// Waits until `condition` holds.
pub(crate) fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until what was set up in a namespace is up: the kernel takes note of that a moment later.
pub(crate) fn wait_until_up(netns: &str) {
    wait_for("the pairs are up", || {
        let links = run(&format!("ip -n {netns} -o link show type veth"));
        links.lines().all(|link| link.contains(" state UP "))
    });
}

/// Runs a command and returns what it printed.
pub(crate) fn run(line: &str) -> String {
    let output = output(line);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn output(line: &str) -> Output {
    let mut words = line.split_whitespace();
    let program = words.next().expect("a command");
    Command::new(program).args(words).output().expect(program)
}

/// A command before a command, which then has the rights of a daemon in a cluster.
fn confined() -> Vec<String> {
    let name = |(capability, _): &(caps::Capability, &str)| {
        let name = capability.to_string().to_lowercase();
        name.replace("cap_", "+")
    };
    let kept: Vec<String> = node::host::capabilities::KEPT.iter().map(name).collect();
    let bound = format!("--bounding-set=-all,{}", kept.join(","));
    vec!["setpriv".to_owned(), "--inh-caps=-all".to_owned(), bound]
}

/// A command before a command, which then has this limit of open files.
fn limited(open_files: u32) -> [String; 2] {
    let limit = format!("--nofile={open_files}:{open_files}");
    ["prlimit".to_owned(), limit]
}

impl World {
    /// Hosts `n1` to `n<hosts>`; several ones are joined by a bridge.
    pub(crate) fn new(hosts: usize) -> World {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let tag = format!("t{}x{number}", std::process::id());
        let directory = tempfile::tempdir().expect("a directory");
        let mut world = World {
            tag,
            resync_seconds: 1,
            is_confined: false,
            open_files: None,
            arguments: Vec::new(),
            directory,
            hosts: BTreeMap::new(),
            daemons: BTreeMap::new(),
            forwarders: Vec::new(),
        };
        if hosts > 1 {
            let switch = world.add_netns("sw");
            run(&format!("ip -n {switch} link add br0 up type bridge"));
        }
        for number in 1..=hosts {
            world.add_host(number, hosts > 1);
        }
        world
    }

    fn add_host(&mut self, number: usize, has_underlay: bool) {
        let name = format!("n{number}");
        let netns = self.add_netns(&name);
        let address = format!("192.0.2.{number}");
        if has_underlay {
            let switch = self.netns("sw");
            run(&format!(
                "ip -n {switch} link add {name} up master br0 type veth peer eth0 netns {netns}"
            ));
            run(&format!("ip -n {netns} address add {address}/24 dev eth0"));
            // An address that comes by itself would come at any time.
            run(&format!("ip -n {netns} link set eth0 addrgenmode none"));
            run(&format!("ip -n {netns} link set eth0 up"));
            wait_until_up(&netns);
        }
        let addresses = vec![address.parse().expect("an address")];
        self.write("nodes", &name, &NodeObject::new(&name, &addresses));
        self.hosts.insert(name, addresses);
    }

    /// Declares a node of which nothing is made.
    pub(crate) fn add_node(&mut self, name: &str, address: IpAddr) {
        self.write("nodes", name, &NodeObject::new(name, &[address]));
        self.hosts.insert(name.to_owned(), vec![address]);
    }

    /// The Forwarders of all topologies.
    pub(crate) fn forwarders(&self) -> &[Forwarder] {
        &self.forwarders
    }

    /// The key that all nodes have.
    pub(crate) fn key_file(&self) -> PathBuf {
        self.directory.path().join("key")
    }

    /// Makes a namespace of this world.
    pub(crate) fn add_netns(&self, name: &str) -> String {
        let netns = self.netns(name);
        run(&format!("ip netns add {netns}"));
        run(&format!("ip -n {netns} link set lo up"));
        netns
    }

    pub(crate) fn netns(&self, name: &str) -> String {
        format!("{}-{name}", self.tag)
    }

    fn write(&self, kind: &str, name: &str, object: &impl serde::Serialize) {
        let directory = self.objects().join(kind);
        fs::create_dir_all(&directory).expect("a directory");
        let text = serde_saphyr::to_string(object).expect("YAML");
        let temporary = directory.join(format!(".{name}.tmp"));
        fs::write(&temporary, text).expect("a file");
        fs::rename(temporary, directory.join(format!("{name}.yaml"))).expect("a file");
    }

    pub(crate) fn objects(&self) -> PathBuf {
        self.directory.path().join("objects")
    }

    pub(crate) fn state(&self, node: &str) -> PathBuf {
        self.directory.path().join(node)
    }

    pub(crate) fn run_dir(&self, node: &str) -> PathBuf {
        self.state(node).join("run")
    }

    pub(crate) fn socket(&self, node: &str) -> PathBuf {
        self.state(node).join("cni.sock")
    }

    /// Declares a topology; `spec` is indented by two. Waits for nobody.
    pub(crate) fn declare(&mut self, topology: &str, spec: &str) {
        let text = format!(
            "apiVersion: beemesh.io/v1alpha1\nkind: MicroServiceTopology\n\
             metadata: {{name: {topology}}}\nspec:\n{spec}"
        );
        let declared = crds::read("test", text.as_bytes()).expect("a topology");
        let nodes: Vec<Node> = self
            .hosts
            .keys()
            .map(|name| Node::from(name.as_str()))
            .collect();
        let previous = self.forwarders.clone();
        let expanded = crds::expand(&declared[0], &nodes, &previous, &Instances::new());
        let expanded = expanded.expect("Forwarders");
        for forwarder in &expanded {
            self.write("forwarders", &forwarder.metadata.name, forwarder);
        }
        let kept: BTreeSet<_> = expanded.iter().map(|f| f.metadata.name.clone()).collect();
        let known = std::mem::take(&mut self.forwarders);
        let (old, others): (Vec<_>, Vec<_>) = known
            .into_iter()
            .partition(|known| known.spec.topology == topology);
        for old in old.iter().filter(|old| !kept.contains(&old.metadata.name)) {
            self.remove_object(&old.metadata.name);
        }
        self.forwarders = others;
        self.forwarders.extend(expanded);
    }

    pub(crate) fn remove_object(&self, object: &str) {
        let path = self.objects().join(format!("forwarders/{object}.yaml"));
        let _ = fs::remove_file(path);
    }

    /// Takes back a topology.
    pub(crate) fn remove(&mut self, topology: &str) {
        let known = std::mem::take(&mut self.forwarders);
        let of = |forwarder: &Forwarder| forwarder.spec.topology == topology;
        let (gone, others): (Vec<_>, Vec<_>) = known.into_iter().partition(of);
        for forwarder in gone {
            self.remove_object(&forwarder.metadata.name);
        }
        self.forwarders = others;
    }

    pub(crate) fn remove_all(&mut self) {
        for forwarder in std::mem::take(&mut self.forwarders) {
            self.remove_object(&forwarder.metadata.name);
        }
    }

    /// The namespace of a Forwarder of the first topology.
    pub(crate) fn forwarder_netns(&self, name: &str) -> String {
        crds::names::netns("default", &self.tag, name)
    }

    pub(crate) fn status(&self, topology: &str, forwarder: &str) -> ForwarderStatus {
        let name = crds::names::object(topology, forwarder);
        let path = self.objects().join("status").join(format!("{name}.yaml"));
        let text = fs::read_to_string(path).unwrap_or_default();
        serde_saphyr::from_str(&text).unwrap_or_default()
    }

    /// Starts the daemon of a host.
    pub(crate) fn start(&mut self, node: &str) {
        let state = self.state(node);
        fs::create_dir_all(&state).expect("a directory");
        let boot_id = state.join("boot-id");
        if !boot_id.exists() {
            fs::write(&boot_id, "first\n").expect("a file");
        }
        let log = File::options()
            .create(true)
            .append(true)
            .open(state.join("log"));
        let netns = self.netns(node);
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{netns}"))
            .args(self.is_confined.then(confined).into_iter().flatten())
            .args(self.open_files.map(limited).into_iter().flatten())
            .arg(env!("CARGO_BIN_EXE_beemesh-node"))
            .args(["--name", node])
            .arg(format!("--resync-seconds={}", self.resync_seconds))
            .arg("--directory")
            .arg(self.objects())
            .arg("--socket")
            .arg(self.socket(node))
            .arg("--state-dir")
            .arg(&state)
            .arg("--boot-id")
            .arg(boot_id)
            .args(&self.arguments)
            .env("RUST_LOG", "info,node::routing=debug")
            .env("NO_COLOR", "1")
            .stderr(log.expect("a log"));
        let key = self.key_file();
        if !key.exists() {
            fs::write(&key, "a key of thirty-two bytes or more").expect("a file");
        }
        command.arg("--run-dir").arg(self.run_dir(node));
        command.arg("--peer-key-file").arg(key);
        self.daemons
            .insert(node.to_owned(), command.spawn().expect("nsenter"));
    }

    pub(crate) fn start_all(&mut self) {
        for node in self.hosts.keys().cloned().collect::<Vec<_>>() {
            self.start(&node);
        }
    }

    /// `kill -9`. What it reported goes with it: nobody shall take that for the next one's word.
    pub(crate) fn kill(&mut self, node: &str) {
        if let Some(mut daemon) = self.daemons.remove(node) {
            daemon.kill().expect("kill");
            daemon.wait().expect("wait");
        }
        for forwarder in self.forwarders.iter().filter(|it| *it.spec.node == *node) {
            let name = &forwarder.metadata.name;
            let _ = fs::remove_file(self.objects().join(format!("status/{name}.yaml")));
        }
    }

    /// SIGTERM; true when it ends without an error.
    pub(crate) fn terminate(&mut self, node: &str) -> bool {
        let mut daemon = self.daemons.remove(node).expect("a daemon");
        run(&format!("kill -TERM {}", daemon.id()));
        daemon.wait().expect("wait").success()
    }

    /// Resident memory of the daemon in KiB.
    pub(crate) fn memory(&self, node: &str) -> u64 {
        let process = self.daemons[node].id();
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok())
            .unwrap_or(0)
    }

    pub(crate) fn log(&self, node: &str) -> String {
        fs::read_to_string(self.state(node).join("log")).unwrap_or_default()
    }

    /// How often the daemon has said that it had converged, and the writes of each time.
    pub(crate) fn rounds(&self, node: &str) -> Vec<u64> {
        let log = self.log(node);
        let lines = log.lines().filter(|line| line.contains(" converged "));
        let writes = lines.filter_map(|line| line.split_once("writes=")?.1.split(' ').next());
        writes.filter_map(|writes| writes.parse().ok()).collect()
    }

    /// Waits until every Forwarder of a topology is ready with all its links.
    pub(crate) fn wait_until_ready(&self, topology: &str) {
        let forwarders = self
            .forwarders
            .iter()
            .filter(|forwarder| forwarder.spec.topology == topology);
        for forwarder in forwarders {
            wait_for(
                &format!("{} is ready: {}", forwarder.metadata.name, self.log("n1")),
                || {
                    let status = self.status(topology, &forwarder.spec.name);
                    let is_ready = status
                        .conditions
                        .iter()
                        .any(|condition| condition.r#type == "Ready" && condition.status == "True");
                    is_ready
                        && status.links.up == status.links.total
                        && status.links.total as usize == forwarder.spec.links.len()
                },
            );
        }
    }

    /// Counts what there is in every namespace of this world, but for the pods', and in the queue.
    pub(crate) fn census(&self) -> BTreeMap<String, u64> {
        let queues = self.hosts.keys().map(|node| self.state(node).join("del"));
        let queues: Vec<PathBuf> = queues.collect();
        let mut total = BTreeMap::new();
        for (prefix, directories) in [
            (format!("bm-{}-", self.tag), queues),
            (format!("{}-n", self.tag), Vec::new()),
        ] {
            let scope = Scope {
                netns_prefix: prefix.clone(),
                directories,
                ..Scope::default()
            };
            let counted = census::census(&scope).expect("a census");
            total.extend(
                counted
                    .into_iter()
                    .map(|(what, count)| (format!("{prefix} {what}"), count)),
            );
        }
        total
    }

    /// Process id of a host's daemon.
    pub(crate) fn process(&self, node: &str) -> u32 {
        self.daemons[node].id()
    }

    /// Forgets a daemon that was killed, whoever was told of its end.
    pub(crate) fn bury(&mut self, node: &str) {
        if let Some(mut daemon) = self.daemons.remove(node) {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for (_, mut daemon) in std::mem::take(&mut self.daemons) {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        if std::thread::panicking() {
            for node in self.hosts.keys() {
                let log = self.log(node);
                let tail: Vec<&str> = log.lines().rev().take(25).collect();
                eprintln!(
                    "--- {node}\n{}",
                    tail.into_iter().rev().collect::<Vec<_>>().join("\n")
                );
            }
        }
        let names = String::from_utf8_lossy(&output("ip netns list").stdout).into_owned();
        let names = names
            .lines()
            .filter_map(|line| line.split_whitespace().next());
        for netns in names.filter(|name| name.contains(&self.tag)) {
            output(&format!("ip netns delete {netns}"));
        }
    }
}
