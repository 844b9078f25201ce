//! Independence of a Forwarder's other work from one failure, without a kernel.

use std::fs;
use std::net::IpAddr;
use std::sync::Mutex;

use crds::{Instances, Node, NodeObject};
use dataplane::{LinkKind, MemoryKernel, Operation};
use linkstate::{End as ReportedEnd, Reason, State};
use tempfile::TempDir;

use super::forwarder::End;
use super::pace::gather::LATEST;
use super::pace::retry::Work;
use super::*;
use crate::attach::lease_store::LeaseStore;
use crate::mailbox::LinkEvent;
use crate::objects;
use crate::objects::pods::NoPods;
use ::liveness::Namespace;

/// f1 and f2 are on this node, f3 is on another. From f1 to f3, both ways cost the same.
const TRIANGLE: &str = "
apiVersion: beemesh.io/v1alpha1
kind: MicroServiceTopology
metadata: {name: unmade}
spec:
  addressing: {cidrs: [10.0.0.0/16]}
  forwarders: [{name: f1, node: n1}, {name: f2, node: n1}, {name: f3, node: n2}]
  shape: Ring
  links: [{a: f1, b: f3, weight: 2}]
";

fn write(directory: &TempDir, kind: &str, name: &str, object: &impl serde::Serialize) {
    let directory = directory.path().join(kind);
    fs::create_dir_all(&directory).unwrap();
    let text = serde_saphyr::to_string(object).unwrap();
    fs::write(directory.join(format!("{name}.yaml")), text).unwrap();
}

/// A directory with everything that is declared.
fn declared() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let topology = crds::read("test", TRIANGLE.as_bytes()).unwrap();
    let nodes = ["n1", "n2"].map(Node::from);
    let forwarders = crds::expand(&topology[0], &nodes, &[], &Instances::new()).unwrap();
    for forwarder in &forwarders {
        write(
            &directory,
            "forwarders",
            &forwarder.metadata.name,
            forwarder,
        );
    }
    for (name, address) in [("n1", "192.0.2.1"), ("n2", "192.0.2.2")] {
        let node = NodeObject::new(name, &[address.parse().unwrap()]);
        write(&directory, "nodes", name, &node);
    }
    directory
}

/// Watches no link.
struct Unwatched;

impl LinkWatcher for Unwatched {
    fn set(&self, _: &str, _: Namespace) {}
    fn retain(&self, _: &BTreeSet<&str>) {}
}

/// An engine that has done nothing yet.
fn engine_on(directory: &TempDir, kernel: Arc<Mutex<MemoryKernel>>) -> Engine {
    let path = directory.path();
    let mailbox = Arc::new(Mailbox::default());
    let (book, _) = LeaseStore::open(path, "boot").unwrap();
    let link_states = Arc::new(LinkStates::new("n1", Vec::new(), 1));
    let failover = Failover::new(
        kernel.clone(),
        Arc::clone(&link_states),
        Arc::clone(&mailbox),
    );
    Engine::new(Parts {
        site: Site {
            node: "n1".to_owned(),
            vxlan_port: 4789,
            ..Site::default()
        },
        source: Box::new(objects::directory::Directory::open(path).unwrap()),
        pods: Arc::new(NoPods),
        views: watch::Sender::new(Arc::default()),
        link_states,
        failover: Arc::new(failover),
        liveness: Arc::new(Unwatched),
        fib: kernel.clone(),
        structure: kernel,
        mailbox: Arc::clone(&mailbox),
        service: Arc::new(AttachService::new(
            book,
            KernelPodWiring,
            mailbox,
            Duration::ZERO,
        )),
        monitor: None,
        owned: NetnsRegistry::open(path),
        resync: Duration::from_secs(1),
        heartbeat: Heartbeat::default(),
    })
}

/// An engine to which every link is up and every route is programmed.
fn engine(directory: &TempDir) -> Engine {
    let mut engine = engine_on(directory, Arc::default());
    engine.load();
    for local in engine.locals.values_mut() {
        let links = local.structure.interfaces.keys();
        local.ends = links.map(|id| (id.clone(), End::Up)).collect();
        local.is_made = true;
        local.in_use = local.ends.keys().cloned().collect();
    }
    engine.publish();
    report_f3(&mut engine, true);
    engine.follow_changes();
    for local in engine.locals.values_mut() {
        local.is_structure_due = false;
        local.are_routes_due = false;
        local.is_table_due = false;
    }
    engine
}

/// Reports of the other node on f3's ends.
fn report_f3(engine: &mut Engine, f1_is_up: bool) {
    let network = engine.meshes.keys().next().unwrap().clone();
    let end = |is_up| {
        let state = if is_up { State::Up } else { State::Down };
        ReportedEnd::observed(None, state, Reason::None, 0)
    };
    let ends = [("f1/f3", f1_is_up), ("f2/f3", true)];
    let ends = ends.map(|(id, is_up)| (id.to_owned(), end(is_up)));
    engine.take_report(&network, "unmade.f3", &ends.into());
}

/// The link of f1 and f2 falls at this end.
fn cut(engine: &mut Engine, local: &str, interface: &str) {
    let netns = engine.locals[local].netns.clone();
    let news = LinkEvent {
        is_up: false,
        exists: true,
    };
    engine.take_links(&[((netns, interface.to_owned()), news)].into());
    engine.publish();
    engine.follow_changes();
}

/// The Forwarders whose routes are programmed next.
fn programs(engine: &Engine) -> Vec<&str> {
    let due = engine.locals.values();
    due.filter(|local| local.is_program_due())
        .map(Local::object)
        .collect()
}

fn fail(engine: &mut Engine, work: Work) {
    for local in engine.locals.values_mut() {
        local.failed(work, "on purpose".to_owned());
    }
}

const BOTH: [&str; 2] = ["unmade.f1", "unmade.f2"];

#[test]
fn no_failure_keeps_back_a_way_around_a_link_that_falls() {
    for failed in [Work::Structure, Work::Routes, Work::Report] {
        let directory = declared();
        let mut engine = engine(&directory);
        fail(&mut engine, failed);
        assert_eq!(programs(&engine), Vec::<&str>::new(), "{failed:?}");
        cut(&mut engine, BOTH[0], "l-f2");
        assert_eq!(programs(&engine), BOTH, "{failed:?}");
    }
}

#[test]
fn no_failure_keeps_back_what_other_nodes_report() {
    for failed in [Work::Structure, Work::Routes, Work::Report] {
        let directory = declared();
        let mut engine = engine(&directory);
        fail(&mut engine, failed);
        report_f3(&mut engine, false);
        assert_eq!(programs(&engine), BOTH[..1], "{failed:?}: its own link");
        engine.follow_changes();
        assert_eq!(programs(&engine), BOTH, "{failed:?}");
    }
}

#[test]
fn routes_that_failed_are_not_tried_again_for_nothing() {
    let directory = declared();
    let mut engine = engine(&directory);
    fail(&mut engine, Work::Routes);
    let f1 = engine.locals.get_mut(BOTH[0]).unwrap();
    // As when the kernel tells of our own deletions.
    f1.are_routes_due = true;
    assert!(!f1.is_due());
    f1.wake(f1.retries.due().unwrap());
    assert!(f1.is_program_due());
}

#[test]
fn a_namespace_that_cannot_be_noted_keeps_no_other_from_being_made() {
    let directory = declared();
    let mut engine = engine(&directory);
    engine.own(&[BOTH[0].to_owned()].into());
    let list = directory.path().join("namespaces.json");
    fs::remove_file(&list).unwrap();
    fs::create_dir(&list).unwrap();

    engine.own(&BOTH.map(str::to_owned).into());
    let problem = |object: &str| engine.locals[object].retries.problem();
    assert_eq!(problem(BOTH[0]), None, "it is in the list");
    assert!(problem(BOTH[1]).unwrap().contains("namespaces.json"));
    assert!(engine.locals[BOTH[1]].retries.rests(Work::Structure));
}

#[test]
fn a_pause_keeps_back_only_what_failed() {
    let directory = declared();
    let mut engine = engine(&directory);
    let f1 = engine.locals.get_mut(BOTH[0]).unwrap();
    let delete = |name: &str| Operation::DeleteLink { name: name.into() };
    let (failed, other) = (delete("l-f2"), delete("l-f3"));
    f1.tried = vec![failed.clone()];
    f1.failed(Work::Structure, "on purpose".to_owned());
    assert!(!f1.may_make(std::slice::from_ref(&failed)));
    assert!(f1.may_make(&[failed.clone(), other]));
    assert!(f1.may_make(&[]), "it has healed");
    f1.wake(f1.retries.due().unwrap());
    assert!(f1.is_due() && f1.may_make(&[failed]));
}

#[test]
fn addresses_that_no_node_object_names_change_nothing() {
    let directory = declared();
    let mut engine = engine(&directory);
    let mtu = |engine: &Engine| engine.locals[BOTH[0]].structure.namespace.links["l-f3"].mtu;
    let own: IpAddr = "192.0.2.1".parse().unwrap();
    engine.set_underlay([(own, 9000)].into());
    assert_eq!((mtu(&engine), programs(&engine)), (8950, BOTH.to_vec()));
    for local in engine.locals.values_mut() {
        local.is_table_due = false;
        local.are_routes_due = false;
    }
    for number in 1..=9 {
        let service = IpAddr::from([203, 0, 113, number]);
        engine.set_underlay([(own, 9000), (service, 1500)].into());
    }
    assert_eq!(programs(&engine), Vec::<&str>::new());
    engine.set_underlay(BTreeMap::new());
    assert_eq!(
        programs(&engine),
        Vec::<&str>::new(),
        "one that went may come back"
    );
    assert_eq!(mtu(&engine), 8950);
}

#[test]
fn changes_that_follow_one_another_are_loaded_together() {
    let directory = declared();
    let mut engine = engine(&directory);
    let source = || Pending {
        source: true,
        ..Pending::default()
    };
    engine.turn(source());
    let hour = Duration::from_secs(3600);
    engine.source.end(Instant::now() + hour, Duration::ZERO);
    fs::remove_file(directory.path().join("forwarders/unmade.f2.yaml")).unwrap();
    engine.turn(source());
    assert_eq!(engine.locals.len(), 2, "it waits for what follows");
    let due = engine.source.due().expect("it is not forgotten");
    assert_eq!(engine.deadline(), due);
    engine.source.end(Instant::now() - 3 * LATEST, LATEST);
    engine.turn(source());
    assert_eq!(engine.locals.len(), 1);
}

#[test]
fn a_node_that_changes_together_with_a_forwarder_is_taken() {
    let directory = declared();
    let mut engine = engine(&directory);
    let node = NodeObject::new("n2", &["192.0.2.22".parse().unwrap()]);
    write(&directory, "nodes", "n2", &node);
    fs::remove_file(directory.path().join("forwarders/unmade.f2.yaml")).unwrap();
    engine.load();
    let tunnel = &engine.locals[BOTH[0]].structure.namespace.links["l-f3"];
    let expected: IpAddr = "192.0.2.22".parse().unwrap();
    assert!(matches!(tunnel.kind, LinkKind::Vxlan { remote, .. } if remote == expected));
}

#[test]
fn a_status_that_cannot_be_written_rests() {
    let directory = declared();
    let mut engine = engine(&directory);
    let status = directory.path().join("status");
    let broken = directory.path().join("broken");
    fs::rename(&status, &broken).unwrap();
    engine.report();
    fs::rename(&broken, &status).unwrap();
    let written = || fs::read_dir(&status).unwrap().count();
    engine.status_after = Instant::now();
    engine.report();
    assert_eq!(written(), 0, "not again at once");
    for local in engine.locals.values_mut() {
        let due = local.retries.due().unwrap();
        local.wake(due);
    }
    engine.status_after = Instant::now();
    engine.report();
    assert_eq!(written(), 2);
}

mod walk;
