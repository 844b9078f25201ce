//! Pods that run already, attached by the daemon's own hand with the real plugin.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crds::attach::Pod;
use crds::topology::AppEntry;
use crds::{
    Forwarder, ForwarderSpec, LabelSelector, MicroServiceTopology, MicroServiceTopologySpec,
};
use node::attach::admission::{Catalog, LocalForwarder};
use node::attach::lease_store::LeaseStore;
use node::attach::pod_links::KernelPodWiring;
use node::attach::server::Server;
use node::attach::service::AttachService;
use node::hotplug::{Places, Plugin, Reconciler};
use node::objects::pods::{Lookup, News, NodePod, Pods, Told};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::plugin::{feed, plugin};
use crate::world::{World, run, wait_for};

const UID: &str = "0b9c1a52-6d6f-4a0f-9d5a-2f7a7c1d0001";

/// One pod, `default/p`.
#[derive(Default)]
pub(crate) struct OnePod {
    labels: Mutex<BTreeMap<String, String>>,
    told: Mutex<Vec<News>>,
}

impl Pods for OnePod {
    fn find(&self, _: &str, _: &str, _: Option<&str>) -> Lookup {
        Lookup::Unknown
    }

    fn here(&self) -> Vec<Arc<NodePod>> {
        let here = NodePod {
            pod: Pod {
                namespace: "default".into(),
                name: "p".into(),
                uid: UID.into(),
                node: "n1".into(),
                labels: self.labels.lock().unwrap().clone(),
                annotations: BTreeMap::new(),
            },
            is_running: true,
            ..NodePod::default()
        };
        vec![Arc::new(here)]
    }

    fn tell(&self, told: Told) {
        self.told.lock().unwrap().push(told.news);
    }
}

impl OnePod {
    pub(crate) fn is_ours(&self, is_ours: bool) {
        let mut labels = self.labels.lock().unwrap();
        match is_ours {
            true => drop(labels.insert("app".into(), "sensor".into())),
            false => drop(labels.remove("app")),
        }
    }

    /// The annotations that were told.
    pub(crate) fn statuses(&self) -> Vec<String> {
        let told = self.told.lock().unwrap();
        let statuses = told.iter().filter_map(|news| match news {
            News::NetworkStatus(value) => Some(value.clone()),
            News::Event { .. } => None,
        });
        statuses.collect()
    }

    /// The messages of the warnings.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let told = self.told.lock().unwrap();
        let warnings = told.iter().filter_map(|news| match news {
            News::Event {
                is_warning: true,
                message,
                ..
            } => Some(message.clone()),
            _ => None,
        });
        warnings.collect()
    }
}

/// The topology `iot` with a Forwarder in the namespace `netns`.
fn catalog(netns: &str) -> Catalog {
    catalog_with(netns, 1400, &[])
}

/// The same, where attachments have this MTU and these networks outside.
pub(crate) fn catalog_with(netns: &str, mtu: u32, external: &[&str]) -> Catalog {
    let mut app = AppEntry::new("sensors");
    app.pod_selector = Some(LabelSelector {
        match_labels: BTreeMap::from([("app".to_owned(), "sensor".to_owned())]),
        ..LabelSelector::default()
    });
    let spec = MicroServiceTopologySpec {
        apps: vec![app],
        ..MicroServiceTopologySpec::default()
    };
    let topology = Arc::new(MicroServiceTopology::new("iot", spec));
    let spec = ForwarderSpec {
        topology: "iot".into(),
        name: "f".into(),
        node: "n1".into(),
        cidrs: vec!["10.80.0.0/16".parse().unwrap()],
        blocks: vec!["10.80.1.0/24".parse().unwrap()],
        external: Arc::new(external.iter().map(|cidr| cidr.parse().unwrap()).collect()),
        ..ForwarderSpec::default()
    };
    let forwarder = Forwarder::new("default", spec);
    let place = LocalForwarder {
        forwarder: Arc::new(forwarder.clone()),
        netns: netns.to_owned(),
        mtu,
        is_ready: true,
    };
    Catalog::new("n1", [&forwarder], [&topology], vec![place], true)
}

/// A process in a namespace, ended with this.
struct Process(Child);

impl Process {
    fn start(netns: &str) -> Process {
        let path = format!("/run/netns/{netns}");
        let mut command = Command::new("nsenter");
        let child = command
            .arg(format!("--net={path}"))
            .args(["sleep", "1000"])
            .spawn();
        let process = Process(child.expect("nsenter"));
        let inode = |path: &str| fs::metadata(path).ok().map(|file| file.ino());
        let own = format!("/proc/{}/ns/net", process.0.id());
        wait_for("it is in the namespace", || inode(&own) == inode(&path));
        process
    }

    /// A tree like /proc that shows it as the pod's.
    fn show(&self, proc: &Path) {
        for (process, cgroup) in [
            ("self".to_owned(), "0::/\n".to_owned()),
            (
                self.0.id().to_string(),
                format!("0::/kubepods/burstable/pod{UID}/c1\n"),
            ),
        ] {
            let directory = proc.join(&process);
            fs::create_dir_all(directory.join("ns")).expect("a directory");
            fs::write(directory.join("cgroup"), cgroup).expect("a file");
            let own = format!("/proc/{process}/ns/net");
            symlink(own, directory.join("ns/net")).expect("a link");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The daemon's socket, served until this is dropped.
struct Served {
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    fn start(socket: PathBuf, service: Arc<AttachService<KernelPodWiring>>) -> Served {
        let (end, ended) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let mut server = Server::bind(&socket).expect("a socket");
                ready.send(()).expect("somebody waits");
                tokio::select! {
                    () = server.serve(service, node::telemetry::Metrics::default()) => {}
                    _ = ended => {}
                }
            });
        });
        is_ready.recv().expect("it listens");
        Served {
            end: Some(end),
            thread: Some(thread),
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A Forwarder and a pod that runs, on a node whose daemon comes and goes.
pub(crate) struct Node {
    pub(crate) world: World,
    pub(crate) forwarder: String,
    pub(crate) pod: String,
    pub(crate) pods: Arc<OnePod>,
    directory: TempDir,
    _process: Process,
}

/// Hotplug part of a daemon.
pub(crate) struct Daemon {
    pub(crate) service: Arc<AttachService<KernelPodWiring>>,
    pub(crate) rounds: Reconciler<KernelPodWiring>,
    _served: Served,
}

impl Node {
    pub(crate) fn new() -> Node {
        let world = World::new(0);
        let (forwarder, pod) = (world.add_netns("f"), world.add_netns("pod"));
        run(&format!(
            "ip -n {forwarder} address add 10.80.1.1/32 dev lo"
        ));
        let process = Process::start(&pod);
        let directory = tempfile::tempdir().expect("a directory");
        process.show(&directory.path().join("proc"));
        Node {
            world,
            forwarder,
            pod,
            pods: Arc::default(),
            directory,
            _process: process,
        }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("cni.sock")
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// Starts the daemon; with or without a plugin to run.
    pub(crate) fn start(&self, has_plugin: bool) -> Daemon {
        let port: Arc<dyn Pods> = Arc::<OnePod>::clone(&self.pods);
        let (book, _) = LeaseStore::open(&self.state(), "boot").expect("a book");
        let service = AttachService::new(
            book,
            KernelPodWiring,
            Arc::default(),
            Duration::from_secs(30),
        );
        let service = Arc::new(service.with_pods(Arc::clone(&port)));
        service.open(Arc::new(catalog(&self.forwarder)));
        let served = Served::start(self.socket(), Arc::clone(&service));
        let directory = plugin().parent().expect("a directory").to_owned();
        let caller = Plugin {
            directories: has_plugin.then_some(directory).into_iter().collect(),
            socket: self.socket(),
            state_dir: self.state(),
        };
        let places = Places {
            host_proc: self.directory.path().join("proc"),
            netns: PathBuf::from("/run/netns"),
            state_dir: self.state(),
        };
        let rounds = Reconciler::new(Arc::clone(&service), port, places, Box::new(caller));
        Daemon {
            service,
            rounds,
            _served: served,
        }
    }

    /// Removes all that a daemon keeps.
    pub(crate) fn forget(&self) {
        fs::remove_dir_all(self.state()).expect("the state directory");
    }

    /// ADD or DEL of the pod's sandbox behind another plugin, as a runtime calls it.
    pub(crate) fn sandbox(&self, verb: &str) -> bool {
        let mut child = Command::new(plugin())
            .env_clear()
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", "sandbox")
            .env("CNI_NETNS", format!("/var/run/netns/{}", self.pod))
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", "/opt/cni/bin")
            .env(
                "CNI_ARGS",
                format!("K8S_POD_NAMESPACE=default;K8S_POD_NAME=p;K8S_POD_UID={UID}"),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the plugin");
        let (socket, state) = (self.socket(), self.state());
        let (socket, state) = (socket.display(), state.display());
        let config = format!(
            r#"{{"cniVersion":"1.0.0","name":"primary","type":"beemesh-cni","socket":"{socket}",
                "stateDir":"{state}","prevResult":{{"cniVersion":"1.0.0"}}}}"#
        );
        feed(&mut child, &config);
        child.wait().expect("the plugin").success()
    }

    /// Everything about the pod's links.
    pub(crate) fn links(&self) -> String {
        run(&format!("ip -n {} -o link", self.pod))
    }

    /// The pod's links and the Forwarder's.
    pub(crate) fn ends(&self) -> (String, String) {
        let forwarders = run(&format!("ip -n {} -o link", self.forwarder));
        (self.links(), forwarders)
    }

    /// The pod's addresses within the topology.
    pub(crate) fn addresses(&self) -> String {
        run(&format!("ip -n {} -o -4 address show dev bm-iot", self.pod))
    }

    pub(crate) fn is_reached(&self) -> bool {
        self.world.reaches("pod", "10.80.1.1".parse().unwrap())
    }
}

pub(crate) fn a_pod_that_runs_already_is_attached_and_detached() {
    let node = Node::new();
    let mut daemon = node.start(true);
    let before = node.ends();
    let mut turn = || {
        daemon.rounds.turn(Instant::now());
    };

    turn();
    assert_eq!(node.ends(), before, "it has no label yet");
    for address in ["10.80.1.2", "10.80.1.3"] {
        node.pods.is_ours(true);
        turn();
        let shown = node.addresses();
        assert!(shown.contains(&format!("{address}/32")), "{shown}");
        assert!(node.is_reached());
        let path = format!("/run/netns/{}", node.pod);
        assert_eq!(daemon.service.leases()[0].netns, path, "a path that lasts");
        let told = node.pods.statuses();
        assert!(told.last().is_some_and(|value| value.contains(address)));
        node.pods.is_ours(false);
        turn();
        assert_eq!(node.ends(), before);
        assert!(daemon.service.is_unused());
    }

    node.pods.is_ours(true);
    turn();
    assert!(node.links().contains("bm-iot"));
    assert!(node.sandbox("DEL"), "which the runtime never attached");
    // DEL does not wait long for an answer.
    wait_for("it is released", || daemon.service.is_unused());
    assert_eq!(node.ends(), before);
}
