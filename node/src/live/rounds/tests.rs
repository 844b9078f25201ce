//! The rim on made-up processes, with a plugin that does as it is told.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use cni::agent::{Attachment, Claim, NetnsId, Reply, Request};
use cni::known;
use crds::topology::AppEntry;
use crds::{
    Forwarder, ForwarderSpec, LabelSelector, MicroServiceTopology, MicroServiceTopologySpec,
};

use dataplane::attachment::Pair;

use super::*;
use crate::Error;
use crate::book::Book;
use crate::catalog::Place;
use crate::live::key;
use crate::pods::MIRROR;
use crate::pods::memory::MemoryPods;

mod strays;

/// A kernel that does everything, has lost one attachment, and has one of which nobody knows and that
/// is not right.
#[derive(Clone, Default)]
struct NoWires {
    lost: Arc<Mutex<Option<String>>>,
    torn: Arc<Mutex<Option<Pair>>>,
}

impl Wires for NoWires {
    fn is_wired(&self, attachment: &Attachment) -> Result<bool, Error> {
        let lost = self.lost.lock().unwrap();
        Ok(lost.as_ref() != Some(&attachment.forwarder_interface))
    }

    fn cut(&self, _: &Attachment) -> Result<(), Error> {
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
    desk: Arc<Desk<NoWires>>,
    failure: Arc<Mutex<Option<String>>>,
    calls: Arc<Mutex<u32>>,
}

impl Attach for FakePlugin {
    fn attach(&self, call: &Call<'_>) -> Result<(), String> {
        *self.calls.lock().unwrap() += 1;
        if let Some(failure) = &*self.failure.lock().unwrap() {
            return Err(failure.clone());
        }
        let key = key(runtime_uid(call.pod), call.interface);
        let claim = Claim {
            key: key.clone(),
            netns: call.netns.display().to_string(),
            netns_id: NetnsId {
                device: 1,
                inode: 1,
            },
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            pod: Some(cni::agent::Pod {
                namespace: call.pod.namespace.clone(),
                name: call.pod.name.clone(),
                uid: Some(runtime_uid(call.pod).to_owned()),
            }),
            chained: false,
            topology: Some(call.network.to_string()),
        };
        match self.desk.answer(&Request::Claim(claim), None) {
            Reply::Claimed(_) => {}
            reply => return Err(format!("{reply:?}")),
        }
        assert_eq!(
            self.desk.answer(&Request::Confirm { key }, None),
            Reply::Done
        );
        Ok(())
    }
}

struct World {
    directory: tempfile::TempDir,
    pods: Arc<MemoryPods>,
    plugin: FakePlugin,
    rounds: Rounds<NoWires>,
    wires: NoWires,
    now: Instant,
}

impl World {
    /// The topology `default/iot` with App `a` for pods with the label `iot=a`, its Forwarder here
    /// and ready or elsewhere.
    fn new(node: &str) -> World {
        let directory = tempfile::tempdir().unwrap();
        let (book, _) = Book::open(directory.path(), "boot").unwrap();
        let pods = Arc::new(MemoryPods::default());
        let port: Arc<dyn Pods> = Arc::<MemoryPods>::clone(&pods);
        let wires = NoWires::default();
        let desk = Desk::new(book, wires.clone(), Arc::default(), Duration::from_secs(30));
        let desk = Arc::new(desk.with_pods(Arc::clone(&port)));
        desk.open(Arc::new(catalog(node)));
        let plugin = FakePlugin {
            desk: Arc::clone(&desk),
            failure: Arc::default(),
            calls: Arc::default(),
        };
        let places = Places {
            host_proc: directory.path().join("proc"),
            netns: directory.path().join("netns"),
            state_dir: directory.path().to_owned(),
        };
        show(directory.path(), "self", "0::/", "host");
        let rounds = Rounds::new(desk, port, places, Box::new(plugin.clone()));
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
        let leases = self.rounds.desk.leases();
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
    let place = Place {
        forwarder: Arc::new(forwarder.clone()),
        netns: "bm-f".into(),
        mtu: 1400,
        is_ready: true,
    };
    Catalog::new("n1", [&forwarder], [&topology], vec![place], true)
}

const OURS: [(&str, &str); 1] = [("iot", "a")];

#[test]
fn a_pod_is_attached_when_it_runs_and_detached_when_it_belongs_no_more() {
    let mut world = World::new("n1");
    world.pods.put("p", &OURS);
    assert_eq!(world.turn(0), Some(500), "no process yet");
    world.run("7", "p");
    assert_eq!(world.turn(100), Some(400), "not looked for again at once");
    assert_eq!(world.calls(), 0);
    assert_eq!(world.rounds.desk.missing().waiting, 1);
    assert_eq!(world.turn(400), None);
    assert_eq!(world.attached(), ["default/p"]);
    let told = world.told();
    assert_eq!(told[0], "Attached");
    assert!(
        told[1].contains(r#""name":"beemesh/default/iot""#),
        "{told:?}"
    );
    world.turn(100);
    assert_eq!(
        (world.calls(), world.told().len()),
        (1, 0),
        "nothing is left to do"
    );
    assert_eq!(world.rounds.desk.missing(), Tally::default());

    world.pods.put("p", &[]);
    world.turn(100);
    assert!(world.attached().is_empty());
    assert_eq!(
        world.told(),
        ["Detached"],
        "the fresh object has no annotation"
    );
    world.pods.put("p", &OURS);
    world.turn(100);
    assert_eq!(world.attached(), ["default/p"], "as often as it likes");
}

#[test]
fn what_fails_is_tried_again_ever_more_rarely_and_told_once() {
    let mut world = World::new("n1");
    *world.plugin.failure.lock().unwrap() = Some("no such luck".to_owned());
    world.pods.put("p", &OURS);
    world.run("7", "p");
    let mut pauses = Vec::new();
    let mut after = 0;
    for _ in 0..9 {
        let pause = world.turn(after).expect("it will be tried again");
        pauses.push(pause);
        after = u64::try_from(pause).unwrap();
    }
    assert_eq!(
        pauses,
        [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]
    );
    assert_eq!(
        (world.calls(), world.told()),
        (9, vec!["FailedAttach".to_owned()])
    );
    *world.plugin.failure.lock().unwrap() = None;
    assert_eq!(world.turn(after), None);
    assert_eq!(world.told()[0], "Attached");
    world.pods.put("p", &[]);
    world.turn(1);
    assert_eq!(world.rounds.desk.failures(), 0);
}

#[test]
fn a_pod_without_a_place_is_told_after_a_while() {
    let mut world = World::new("n2");
    world.pods.put("p", &OURS);
    world.run("7", "p");
    assert_eq!(world.turn(0), Some(3000));
    assert_eq!(world.turn(2000), Some(1000));
    assert!(world.told().is_empty());
    assert_eq!(world.rounds.desk.missing().refused, 1);
    for _ in 0..3 {
        assert_eq!(world.turn(1000), None);
    }
    assert_eq!(world.told(), ["FailedAttach"]);
    world.rounds.desk.open(Arc::new(catalog("n1")));
    world.turn(10);
    assert_eq!(world.told()[0], "Attached");
}

#[test]
fn what_the_daemon_attached_goes_when_the_pod_is_certainly_gone() {
    let mut world = World::new("n1");
    world.pods.put("p", &OURS);
    world.run("7", "p");
    world.turn(0);
    let here = std::mem::take(&mut *world.pods.here.lock().unwrap());
    world.pods.is_away.store(true, Ordering::Relaxed);
    world.turn(100);
    assert_eq!(world.attached(), ["default/p"], "the API server is away");
    world.pods.is_away.store(false, Ordering::Relaxed);
    *world.pods.here.lock().unwrap() = here;
    world.turn(100);
    assert_eq!(world.attached(), ["default/p"]);
    world.pods.here.lock().unwrap().clear();
    world.turn(100);
    assert!(world.attached().is_empty());
}

#[test]
fn the_plugin_is_left_word_of_who_is_not_ours() {
    let mut world = World::new("n1");
    let word = |world: &World| known::Known::read(world.directory.path()).ok();
    world.pods.put("p", &OURS);
    world.pods.put("q", &[]);
    world.pods.put("r", &[("beemesh.io/topologies", "to-come")]);
    let mut incomplete = catalog("n1");
    incomplete.is_complete = false;
    world.rounds.desk.open(Arc::new(incomplete));
    world.turn(0);
    assert_eq!(word(&world), None, "nothing on a guess");
    world.rounds.desk.open(Arc::new(catalog("n1")));
    world.turn(100);
    let expected = known::Known {
        namespaces: ["default".to_owned()].into(),
        not_ours: ["uid-q".to_owned()].into(),
    };
    assert_eq!(word(&world), Some(expected));
}

#[test]
fn an_annotation_that_another_replaces_is_completed_again() {
    let mut world = World::new("n1");
    world.pods.put("p", &OURS);
    world.run("7", "p");
    world.turn(0);
    let set = |world: &World, value: &str| {
        let value = Some(value.to_owned());
        world.pods.change("p", |here| here.network_status = value);
    };
    let multus = r#"[{"name":"cbr0"}]"#;
    world.told();
    for _ in 0..2 {
        set(&world, multus);
        world.turn(100);
        assert_eq!(world.told().len(), 1);
        let completed = world.pods.here()[0].network_status.clone();
        // As it was before ours was seen.
        set(&world, multus);
        world.turn(100);
        assert_eq!(world.told().len(), 0, "it was told that already");
        set(&world, &completed.unwrap());
        world.turn(100);
    }
}

#[test]
fn a_pod_that_lost_its_interface_for_good_gets_another() {
    let mut world = World::new("n1");
    world.pods.put("p", &OURS);
    world.run("7", "p");
    world.turn(0);
    let lease = world.rounds.desk.leases().remove(0);
    world.told();
    let interface = lease.shares[0].attachment.forwarder_interface.clone();
    *world.wires.lost.lock().unwrap() = Some(interface);
    world.rounds.desk.miss(BTreeSet::from([lease.key.clone()]));
    assert_eq!(world.turn(100), Some(3000), "perhaps a DEL is under way");
    assert_eq!(world.rounds.desk.leases(), [lease]);
    world.turn(3000);
    assert!(world.attached().is_empty());
    *world.wires.lost.lock().unwrap() = None;
    world.rounds.desk.miss(BTreeSet::new());
    world.turn(100);
    assert_eq!(world.attached(), ["default/p"]);
    assert_eq!(world.told()[0], "Detached");
}

#[test]
fn a_static_pod_stays_attached_when_its_mirror_is_made_anew() {
    let mut world = World::new("n1");
    let mirror = |world: &World, uid: &str| {
        world.pods.put("p", &OURS);
        world.pods.change("p", |here| {
            here.pod.uid = uid.to_owned();
            let own = (MIRROR.to_owned(), "uid-p".to_owned());
            here.pod.annotations.extend([own]);
        });
    };
    mirror(&world, "first");
    world.run("7", "p");
    assert_eq!(world.turn(0), None);
    let leases = world.rounds.desk.leases();
    assert_eq!(leases[0].key.container_id, "live-uid-p");
    assert_eq!(world.told().len(), 2);
    mirror(&world, "second");
    assert_eq!(world.turn(100), None);
    assert_eq!(world.rounds.desk.leases(), leases);
    assert_eq!(world.calls(), 1);
    assert_eq!(world.told().len(), 1, "the annotation of the new object");
}

#[test]
fn a_running_pod_that_names_what_is_not_there_is_told_once() {
    let mut world = World::new("n1");
    world.pods.put("p", &OURS);
    world.run("7", "p");
    world.turn(0);
    world.told();
    let name = |world: &World, topologies: &str| {
        world.pods.change("p", |here| {
            let wish = ("beemesh.io/topologies".to_owned(), topologies.to_owned());
            here.pod.annotations.extend([wish]);
        });
    };
    let events = |world: &World| {
        let events = world.pods.events();
        world.told();
        events
    };
    name(&world, "iot, nope");
    assert_eq!(world.turn(100), Some(3000), "it may be on its way");
    assert!(world.pods.events().is_empty());
    world.turn(3000);
    let expected = "annotation beemesh.io/topologies names topology nope, which is not there: \
         pods of this namespace may join iot";
    assert_eq!(events(&world), [("FailedAttach", expected.to_owned())]);
    assert_eq!(world.attached(), ["default/p"], "it keeps what it has");
    for _ in 0..3 {
        world.turn(3000);
    }
    assert!(events(&world).is_empty());
    assert_eq!(world.rounds.desk.missing().refused, 1);
    name(&world, "iot");
    assert_eq!(world.turn(100), None);
    assert_eq!((events(&world).len(), world.rounds.desk.failures()), (0, 0));
    let mut incomplete = catalog("n1");
    incomplete.is_complete = false;
    world.rounds.desk.open(Arc::new(incomplete));
    name(&world, "iot, nope");
    assert_eq!(world.turn(100), None, "not on a guess");
}
