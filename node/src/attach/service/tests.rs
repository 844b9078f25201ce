use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use cni::node_protocol::{Attachment, Claim, NetnsId, Reply, Request};
use crds::forwarder::ForwarderApp;
use crds::{Forwarder, ForwarderSpec};
use dataplane::attachment::Pair;

use super::*;
use crate::attach::admission::LocalForwarder;
use crate::attach::key;
use crate::attach::leases::{Lease, Record};
use crate::error::Error;
use crate::error::enumerate;

mod adopt;
mod pods;

/// A kernel of pods' links in memory.
#[derive(Debug, Default)]
struct MemoryPodWiring {
    wired: Mutex<BTreeSet<String>>,
    is_stuck: AtomicBool,
    dead: Mutex<BTreeSet<String>>,
    /// By the path of the Forwarder's namespace.
    pairs: Mutex<Vec<(String, Pair)>>,
    is_torn: AtomicBool,
}

impl PodWiring for &MemoryPodWiring {
    fn is_wired(&self, attachment: &Attachment) -> Result<bool, Error> {
        Ok(lock(&self.wired).contains(&attachment.forwarder_interface))
    }

    fn cut(&self, _: &Lease, attachment: &Attachment) -> Result<(), Error> {
        if self.is_stuck.load(Ordering::Relaxed) {
            let source = Box::new(dataplane::Error::Timeout {
                limit: Duration::ZERO,
            });
            return Err(Error::Kernel {
                object: String::new(),
                source,
            });
        }
        lock(&self.wired).remove(&attachment.forwarder_interface);
        Ok(())
    }

    fn restore(&self, _: &Lease, _: &Attachment) -> Result<(), Error> {
        Ok(())
    }

    fn pairs(&self, _: &Path, forwarder: &Path) -> Result<Vec<Pair>, Error> {
        let pairs = lock(&self.pairs);
        let of = pairs
            .iter()
            .filter(|(netns, _)| Path::new(netns) == forwarder);
        Ok(of.map(|(_, pair)| pair.clone()).collect())
    }

    fn is_whole(&self, _: &Path, _: &Pair, _: &Attachment) -> Result<bool, Error> {
        Ok(!self.is_torn.load(Ordering::Relaxed))
    }

    fn is_alive(&self, netns: &str, _: NetnsId) -> bool {
        !lock(&self.dead).contains(netns)
    }
}

/// One Forwarder with room for `10.0.0.2` to `10.0.0.6`.
fn catalog() -> Arc<Catalog> {
    catalog_of(&["t"])
}

/// The same in each of these topologies.
fn catalog_of(topologies: &[&str]) -> Arc<Catalog> {
    let app = ForwarderApp {
        name: "a".into(),
        selector: Some(crds::LabelSelector::default()),
        weight: 1,
        insist: false,
        attached: true,
        external: vec![],
    };
    let forwarder = |topology: &&str| {
        let spec = ForwarderSpec {
            topology: (*topology).into(),
            name: "f".into(),
            node: "n1".into(),
            blocks: vec!["10.0.0.0/29".parse().unwrap(), "fd00::/64".parse().unwrap()],
            apps: vec![app.clone().into()],
            ..ForwarderSpec::default()
        };
        Arc::new(Forwarder::new("default", spec))
    };
    let forwarders: Vec<_> = topologies.iter().map(forwarder).collect();
    let place = |forwarder: &Arc<Forwarder>| LocalForwarder {
        forwarder: Arc::clone(forwarder),
        netns: format!("bm-{}-f", forwarder.spec.topology),
        mtu: 1400,
        is_ready: true,
    };
    let places = forwarders.iter().map(place).collect();
    let forwarders = forwarders.iter().map(|forwarder| &**forwarder);
    Arc::new(Catalog::new("n1", forwarders, [], places, true))
}

fn service<'a>(
    state_dir: &Path,
    wires: &'a MemoryPodWiring,
    boot: &str,
) -> AttachService<&'a MemoryPodWiring> {
    let (book, _) = LeaseStore::open(state_dir, boot).unwrap();
    let service = AttachService::new(book, wires, Arc::default(), Duration::from_secs(30));
    service.open(catalog());
    service
}

fn key(number: u32) -> Key {
    crate::attach::leases::tests::key(number)
}

fn claim(number: u32) -> Request {
    Request::Claim(Claim {
        key: key(number),
        netns: format!("/pod/{number}"),
        netns_id: NetnsId {
            device: 1,
            inode: number.into(),
        },
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        pod: None,
        chained: false,
        topology: None,
    })
}

/// Claims, wires and confirms as the plugin does.
fn add(service: &AttachService<&MemoryPodWiring>, number: u32) -> Option<Attachment> {
    let Reply::Claimed(attachments) = service.answer(&claim(number), Some(1)) else {
        return None;
    };
    let attachment = attachments.into_iter().next().unwrap();
    lock(&service.wires.wired).insert(attachment.forwarder_interface.clone());
    assert_eq!(
        service.answer(&Request::Confirm { key: key(number) }, None),
        Reply::Done
    );
    Some(attachment)
}

fn release(number: u32) -> Request {
    Request::Release {
        key: key(number),
        netns: None,
        pod: None,
    }
}

#[test]
fn gives_one_address_of_each_family_and_all_that_wiring_needs() {
    let (directory, wires) = (tempfile::tempdir().unwrap(), MemoryPodWiring::default());
    let service = service(directory.path(), &wires, "1");
    let attachment = add(&service, 1).unwrap();
    let addresses: Vec<_> = attachment
        .addresses
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(addresses, ["10.0.0.2/32", "fd00::2/128"]);
    assert_eq!(attachment.gateways.len(), 2);
    assert_eq!(attachment.pod_interface, "eth0");
    assert_eq!(attachment.forwarder_interface.len(), 15);
    assert_eq!(attachment.mtu, 1400);
    assert_eq!(
        service.answer(&Request::Check { key: key(1) }, None),
        Reply::Lease(vec![attachment])
    );
}

#[test]
fn the_same_claim_again_gives_the_same_and_is_refused_once_wired() {
    let (directory, wires) = (tempfile::tempdir().unwrap(), MemoryPodWiring::default());
    let service = service(directory.path(), &wires, "1");
    let first = service.answer(&claim(1), Some(1));
    assert_eq!(service.answer(&claim(1), Some(1)), first);
    add(&service, 1).unwrap();
    assert!(matches!(
        service.answer(&claim(1), None),
        Reply::Refused { code: 101, .. }
    ));
    // Confirmed, but the kernel has lost it: the same addresses again.
    lock(&wires.wired).clear();
    assert_eq!(service.answer(&claim(1), Some(1)), first);
}

#[test]
fn nothing_is_promised_before_the_first_desired_state() {
    let (directory, wires) = (tempfile::tempdir().unwrap(), MemoryPodWiring::default());
    let (book, _) = LeaseStore::open(directory.path(), "1").unwrap();
    let service = AttachService::new(book, &wires, Arc::default(), Duration::ZERO);
    assert!(matches!(
        service.answer(&claim(1), None),
        Reply::TryLater { .. }
    ));
    assert!(matches!(
        service.answer(&Request::Status, None),
        Reply::Status { ready: false, .. }
    ));
    assert_eq!(
        service.answer(&release(1), None),
        Reply::Released(vec![]),
        "DEL always succeeds"
    );
}

#[test]
fn used_up_addresses_are_refused_and_told() {
    let (directory, wires) = (tempfile::tempdir().unwrap(), MemoryPodWiring::default());
    let service = service(directory.path(), &wires, "1");
    let given: BTreeSet<_> = (1..=5)
        .map(|number| add(&service, number).unwrap().addresses[0])
        .collect();
    assert_eq!(given.len(), 5);
    assert!(matches!(
        service.answer(&claim(6), None),
        Reply::Refused { code: 102, .. }
    ));
    let Reply::Status {
        ready: true,
        degraded: Some(why),
    } = service.answer(&Request::Status, None)
    else {
        panic!("not degraded")
    };
    assert!(why.contains("t.f"), "{why}");
    service.answer(&release(3), None);
    assert_eq!(
        add(&service, 6).unwrap().addresses[0].to_string(),
        "10.0.0.4/32"
    );
}

#[test]
fn release_that_the_kernel_refuses_keeps_the_address_until_it_is_gone() {
    let (directory, wires) = (tempfile::tempdir().unwrap(), MemoryPodWiring::default());
    let service = service(directory.path(), &wires, "1");
    (1..=5).for_each(|number| drop(add(&service, number).unwrap()));
    wires.is_stuck.store(true, Ordering::Relaxed);
    assert!(
        matches!(service.answer(&release(1), None), Reply::Released(freed) if freed.len() == 1)
    );
    assert!(matches!(
        service.answer(&claim(6), None),
        Reply::Refused { code: 102, .. }
    ));
    wires.is_stuck.store(false, Ordering::Relaxed);
    service.collect_garbage();
    assert!(add(&service, 6).is_some());
}

#[test]
fn gc_frees_its_network_and_nothing_else() {
    let (directory, wires) = (tempfile::tempdir().unwrap(), MemoryPodWiring::default());
    let service = service(directory.path(), &wires, "1");
    (1..=3).for_each(|number| drop(add(&service, number).unwrap()));
    let collect = |network: &str, valid| Request::Collect {
        network: network.into(),
        valid,
    };
    assert_eq!(
        service.answer(&collect("other", vec![]), None),
        Reply::Released(vec![])
    );
    let reply = service.answer(&collect("mesh", vec![key(2)]), None);
    assert!(matches!(reply, Reply::Released(freed) if freed.len() == 2));
    assert!(matches!(
        service.answer(&Request::Check { key: key(2) }, None),
        Reply::Lease(_)
    ));
    assert_eq!(
        service.answer(&Request::Check { key: key(1) }, None),
        Reply::NoLease
    );
}

#[test]
fn gc_leaves_alone_what_a_plugin_is_at_work_on() {
    let (directory, wires) = (tempfile::tempdir().unwrap(), MemoryPodWiring::default());
    let service = service(directory.path(), &wires, "1");
    let running = i32::try_from(std::process::id()).unwrap();
    service.answer(&claim(1), Some(running));
    service.answer(
        &Request::Collect {
            network: "mesh".into(),
            valid: vec![],
        },
        None,
    );
    assert_eq!(
        service.answer(&Request::Confirm { key: key(1) }, None),
        Reply::Done
    );
}

#[test]
fn housekeeping_wants_two_proofs() {
    let (directory, wires) = (tempfile::tempdir().unwrap(), MemoryPodWiring::default());
    let service = service(directory.path(), &wires, "1");
    let dead_but_wired = add(&service, 1).unwrap();
    let dead_and_gone = add(&service, 2).unwrap();
    let gone_but_alive = add(&service, 3).unwrap();
    service.answer(&claim(4), Some(i32::MAX)); // Its plugin is dead, and had made nothing.
    lock(&wires.dead).extend(["/pod/1".to_owned(), "/pod/2".to_owned()]);
    for attachment in [&dead_and_gone, &gone_but_alive] {
        lock(&wires.wired).remove(&attachment.forwarder_interface);
    }
    service.collect_garbage();
    let keys: Vec<Key> = service
        .state()
        .book
        .leases()
        .iter()
        .map(|l| l.key.clone())
        .collect();
    assert_eq!(keys, [key(1), key(3)]);
    assert!(lock(&wires.wired).contains(&dead_but_wired.forwarder_interface));
}

#[test]
fn after_a_reboot_stale_leases_go_and_after_a_restart_none() {
    let (directory, wires) = (tempfile::tempdir().unwrap(), MemoryPodWiring::default());
    let attachment = add(&service(directory.path(), &wires, "1"), 1).unwrap();

    let restarted = service(directory.path(), &wires, "1");
    restarted.collect_garbage();
    assert_eq!(
        restarted.answer(&Request::Check { key: key(1) }, None),
        Reply::Lease(vec![attachment])
    );
    drop(restarted);

    lock(&wires.wired).clear();
    let rebooted = service(directory.path(), &wires, "2");
    rebooted.collect_garbage();
    assert_eq!(
        rebooted.answer(&Request::Check { key: key(1) }, None),
        Reply::NoLease
    );
}

#[test]
fn many_at_once_get_different_addresses_and_all_go_again() {
    let (directory, wires) = (tempfile::tempdir().unwrap(), MemoryPodWiring::default());
    let service = service(directory.path(), &wires, "1");
    std::thread::scope(|scope| {
        for worker in 0..4_u32 {
            let service = &service;
            scope.spawn(move || {
                for round in 0..50 {
                    let number = worker * 100 + round % 3;
                    if let Some(attachment) = add(service, number) {
                        let state = service.state();
                        let same = state.book.leases().iter().filter(|lease| {
                            lease.shares[0].attachment.addresses == attachment.addresses
                        });
                        assert_eq!(same.count(), 1);
                    }
                    service.answer(&release(number), None);
                }
            });
        }
    });
    assert!(service.is_unused() && lock(&wires.wired).is_empty());
}

#[test]
fn status_names_pods_that_lost_their_interface_while_they_have_a_lease() {
    let (directory, wires) = (tempfile::tempdir().unwrap(), MemoryPodWiring::default());
    let service = service(directory.path(), &wires, "boot");
    service.answer(&claim(1), None);
    service.answer(&Request::Confirm { key: key(1) }, None);
    let degraded = || match service.answer(&Request::Status, None) {
        Reply::Status { ready, degraded } => (ready, degraded),
        reply => panic!("{reply:?}"),
    };
    assert_eq!(degraded(), (true, None));
    // The second was released between the look and the question.
    service.miss(BTreeSet::from([key(1), key(2)]));
    let told = format!("lost their interface: {}", key(1).container_id);
    assert_eq!(degraded(), (true, Some(told)));
    let release = Request::Release {
        key: key(1),
        netns: None,
        pod: None,
    };
    assert!(matches!(service.answer(&release, None), Reply::Released(gone) if gone.len() == 1));
    assert_eq!(degraded(), (true, None));
}

#[test]
fn long_lists_are_cut_short() {
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    assert_eq!(enumerate(&names[..2]), "a, b");
    assert_eq!(enumerate(&names), "a, b, c, d, e and 2 more");
}

#[test]
fn the_age_of_a_claim_does_not_depend_on_the_time_of_day() {
    let directory = tempfile::tempdir().unwrap();
    let wires = MemoryPodWiring::default();
    let service = service(directory.path(), &wires, "boot");
    let uptime = || {
        let clock = nix::time::ClockId::CLOCK_BOOTTIME;
        nix::time::clock_gettime(clock).unwrap().tv_sec() as u64
    };
    let before = uptime();
    assert!(matches!(
        service.answer(&claim(1), Some(0)),
        Reply::Claimed(_)
    ));
    let since = service.state().book.leases().get(&key(1)).unwrap().since;
    assert!(
        (before..=uptime()).contains(&since),
        "{since} s is not of the clock of this boot"
    );
}

#[test]
fn a_lease_that_is_claimed_again_is_as_young_as_a_new_one() {
    let directory = tempfile::tempdir().unwrap();
    let wires = MemoryPodWiring::default();
    let service = service(directory.path(), &wires, "boot");
    let attachment = add(&service, 1).unwrap();
    let since = |service: &AttachService<&MemoryPodWiring>| {
        service
            .state()
            .book
            .leases()
            .get(&key(1))
            .map(|it| it.since)
    };
    let mut old = service.state().book.leases().get(&key(1)).unwrap().clone();
    old.since = 0;
    service.state().book.record(Record::Claimed(old)).unwrap();
    // The interface went, as with a Forwarder that is made anew.
    lock(&wires.wired).clear();
    let claimed = service.answer(&claim(1), Some(0));
    assert_eq!(claimed, Reply::Claimed(vec![attachment]));
    assert!(
        since(&service).is_some_and(|since| since > 0),
        "{:?}",
        since(&service)
    );
    service.collect_garbage();
    assert!(since(&service).is_some(), "freed between claim and veth");
}
