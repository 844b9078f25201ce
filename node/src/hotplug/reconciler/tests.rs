//! The rim on made-up processes, with a plugin that does as it is told.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use cni::known;
use cni::node_protocol::{Attachment, Claim, NetnsId, Reply, Request};
use crds::topology::AppEntry;
use crds::{
    Forwarder, ForwarderSpec, LabelSelector, MicroServiceTopology, MicroServiceTopologySpec,
};

use dataplane::attachment::Pair;

use super::*;
use crate::Error;
use crate::attach::admission::LocalForwarder;
use crate::attach::key;
use crate::attach::lease_store::LeaseStore;
use crate::objects::pods::memory::MemoryPods;
use crds::attach::MIRROR;

mod attached;
mod strays;
mod told;

/// A kernel that does everything, has lost one attachment, and has one of which nobody knows and that
/// is not right.
#[derive(Clone, Default)]
struct NoWires {
    lost: Arc<Mutex<Option<String>>>,
    torn: Arc<Mutex<Option<Pair>>>,
}

impl PodWiring for NoWires {
    fn is_wired(&self, attachment: &Attachment) -> Result<bool, Error> {
        let lost = self.lost.lock().unwrap();
        Ok(lost.as_ref() != Some(&attachment.forwarder_interface))
    }

    fn cut(&self, _: &Lease, _: &Attachment) -> Result<(), Error> {
        Ok(())
    }

    fn restore(&self, _: &Lease, _: &Attachment) -> Result<(), Error> {
        Ok(())
    }

    fn pairs(&self, _: &Path, _: &Path) -> Result<Vec<Pair>, Error> {
        Ok(self.torn.lock().unwrap().iter().cloned().collect())
    }

    fn is_whole(&self, _: &Path, _: &Pair, _: &Attachment) -> Result<bool, Error> {
        Ok(false)
    }

    fn is_alive(&self, _: &str, _: NetnsId) -> bool {
        true
    }
}

/// Claims and confirms, as the plugin does; or fails with these words.
#[derive(Clone)]
struct FakePlugin {
    service: Arc<AttachService<NoWires>>,
    failure: Arc<Mutex<Option<String>>>,
    calls: Arc<Mutex<u32>>,
}

impl Attach for FakePlugin {
    fn attach(&self, call: &Call<'_>) -> Result<(), String> {
        *self.calls.lock().unwrap() += 1;
        if let Some(failure) = &*self.failure.lock().unwrap() {
            return Err(failure.clone());
        }
        let key = key::hotplug(runtime_uid(call.pod), call.interface);
        let claim = Claim {
            key: key.clone(),
            netns: call.netns.display().to_string(),
            netns_id: NetnsId {
                device: 1,
                inode: 1,
            },
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            pod: Some(cni::node_protocol::Pod {
                namespace: call.pod.namespace.clone(),
                name: call.pod.name.clone(),
                uid: Some(runtime_uid(call.pod).to_owned()),
            }),
            chained: false,
            topology: Some(call.network.to_string()),
        };
        match self.service.answer(&Request::Claim(claim), None) {
            Reply::Claimed(_) => {}
            reply => return Err(format!("{reply:?}")),
        }
        assert_eq!(
            self.service.answer(&Request::Confirm { key }, None),
            Reply::Done
        );
        Ok(())
    }
}

struct World {
    directory: tempfile::TempDir,
    pods: Arc<MemoryPods>,
    plugin: FakePlugin,
    rounds: Reconciler<NoWires>,
    wires: NoWires,
    now: Instant,
}

impl World {
    /// The topology `default/iot` with App `a` for pods with the label `iot=a`, its Forwarder here
    /// and ready or elsewhere.
    fn new(node: &str) -> World {
        let directory = tempfile::tempdir().unwrap();
        let (book, _) = LeaseStore::open(directory.path(), "boot").unwrap();
        let pods = Arc::new(MemoryPods::default());
        let port: Arc<dyn Pods> = Arc::<MemoryPods>::clone(&pods);
        let wires = NoWires::default();
        let service =
            AttachService::new(book, wires.clone(), Arc::default(), Duration::from_secs(30));
        let service = Arc::new(service.with_pods(Arc::clone(&port)));
        service.open(Arc::new(catalog(node)));
        let plugin = FakePlugin {
            service: Arc::clone(&service),
            failure: Arc::default(),
            calls: Arc::default(),
        };
        let places = Places {
            host_proc: directory.path().join("proc"),
            netns: directory.path().join("netns"),
            state_dir: directory.path().to_owned(),
        };
        show(directory.path(), "self", "0::/", "host");
        let rounds = Reconciler::new(service, port, places, Box::new(plugin.clone()));
        World {
            directory,
            pods,
            plugin,
            rounds,
            wires,
            now: Instant::now(),
        }
    }

    /// Shows a process of a pod.
    fn run(&self, process: &str, name: &str) {
        let cgroup = format!("0::/kubepods/poduid-{name}/c");
        show(self.directory.path(), process, &cgroup, name);
    }

    /// A look after this many milliseconds; how many more until the next one.
    fn turn(&mut self, after: u64) -> Option<u128> {
        self.now += Duration::from_millis(after);
        let next = self.rounds.turn(self.now);
        next.map(|next| next.saturating_duration_since(self.now).as_millis())
    }

    fn attached(&self) -> Vec<String> {
        let leases = self.rounds.service.leases();
        leases.iter().map(|lease| lease.pod.clone()).collect()
    }

    fn calls(&self) -> u32 {
        *self.plugin.calls.lock().unwrap()
    }

    /// Reasons of the events, and the annotations, as they were told.
    fn told(&self) -> Vec<String> {
        let told = std::mem::take(&mut *self.pods.told.lock().unwrap());
        let told = told.into_iter().map(|told| match told.news {
            News::Event { reason, .. } => reason.to_owned(),
            News::NetworkStatus(value) => value,
        });
        told.collect()
    }
}

/// A process of this cgroup in a namespace that a file stands for.
fn show(directory: &Path, process: &str, cgroup: &str, namespace: &str) {
    let of = directory.join("proc").join(process);
    fs::create_dir_all(of.join("ns")).unwrap();
    fs::write(of.join("cgroup"), cgroup).unwrap();
    fs::write(directory.join(namespace), "").unwrap();
    symlink(directory.join(namespace), of.join("ns/net")).unwrap();
}

fn catalog(node: &str) -> Catalog {
    let mut app = AppEntry::new("a");
    app.pod_selector = Some(LabelSelector {
        match_labels: BTreeMap::from([("iot".to_owned(), "a".to_owned())]),
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
        node: node.into(),
        blocks: vec!["10.0.0.0/29".parse().unwrap()],
        ..ForwarderSpec::default()
    };
    let forwarder = Forwarder::new("default", spec);
    let place = LocalForwarder {
        forwarder: Arc::new(forwarder.clone()),
        netns: "bm-f".into(),
        mtu: 1400,
        is_ready: true,
    };
    Catalog::new("n1", [&forwarder], [&topology], vec![place], true)
}

const OURS: [(&str, &str); 1] = [("iot", "a")];
