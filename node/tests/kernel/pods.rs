//! Pods that come and go, whatever is killed meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::plugin::addresses;
use crate::world::{World, run, wait_for};

/// Two Forwarders on one host and an App that takes every pod.
const PAIR: &str = "  addressing: {cidrs: [10.80.0.0/16, \"fd00:80::/48\"]}\n\
                    \x20 forwarders: [{name: f1, node: n1}, {name: f2, node: n1}]\n\
                    \x20 shape: Line\n\
                    \x20 apps: [{name: a, podSelector: {matchLabels: {app: a}}}]\n";

/// Labels of `pod` in the CNI arguments.
pub(crate) const LABELS: &str = "app=a";

pub(crate) fn pair() -> (World, String) {
    let mut world = World::new(1);
    let tag = world.tag.clone();
    world.declare(&tag, PAIR);
    world.start_all();
    world.wait_until_ready(&tag);
    (world, tag)
}

/// The addresses that the journal says are leased: none may be twice.
pub(crate) fn leased(world: &World) -> BTreeMap<IpAddr, String> {
    let text = fs::read(world.state("n1").join("leases.journal")).unwrap();
    let records = store::journal::decode::<node::attach::leases::Record>(&text).records;
    let mut by_address = BTreeMap::new();
    for lease in node::attach::leases::Leases::replay(&records).iter() {
        for address in lease
            .shares
            .iter()
            .flat_map(|share| &share.attachment.addresses)
        {
            let before = by_address.insert(address.ip(), lease.key.container_id.clone());
            assert_eq!(before, None, "{address} was given twice");
        }
    }
    by_address
}

/// A small generator: the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

pub(crate) fn a_thousand_pods_come_and_go_while_plugin_and_daemon_are_killed() {
    let (mut world, _) = pair();
    let before = world.census();
    let mut dice = Dice(7);
    let pods: Vec<String> = (0..8).map(|number| format!("p{number}")).collect();
    pods.iter().for_each(|pod| drop(world.add_netns(pod)));
    for round in 0..1_000_u64 {
        let pod = &pods[(round % 8) as usize];
        if round % 50 == 49 {
            world.kill("n1");
            world.start("n1");
        }
        if dice.below(5) == 0 {
            // Killed somewhere on its way; the runtime then says DEL, as after every failure.
            let mut child = world.spawn_cni("ADD", "n1", pod, LABELS);
            std::thread::sleep(Duration::from_micros(dice.below(6_000)));
            let _ = child.kill();
            child.wait().unwrap();
        } else {
            // With the daemon away it fails with "try again later".
            wait_for("an ADD succeeds", || {
                let (is_done, output) = world.cni("ADD", "n1", pod, LABELS);
                if !is_done {
                    assert!(world.cni("DEL", "n1", pod, LABELS).0);
                    return false;
                }
                assert_eq!(addresses(&output).len(), 2);
                true
            });
        }
        if dice.below(10) == 0 {
            let mut child = world.spawn_cni("DEL", "n1", pod, LABELS);
            std::thread::sleep(Duration::from_micros(dice.below(4_000)));
            let _ = child.kill();
            child.wait().unwrap();
        }
        assert!(world.cni("DEL", "n1", pod, LABELS).0, "DEL always succeeds");
        if round % 100 == 0 {
            leased(&world);
        }
    }
    wait_for("every lease is freed", || leased(&world).is_empty());
    wait_for("the census is as before", || world.census() == before);
    let queue = world.state("n1").join("del");
    wait_for("the queue is empty", || {
        fs::read_dir(&queue).unwrap().next().is_none()
    });
}

pub(crate) fn a_hundred_and_ten_at_once_get_different_addresses() {
    let (mut world, _) = pair();
    let before = world.census();
    let pods: Vec<String> = (0..110).map(|number| format!("p{number}")).collect();
    pods.iter().for_each(|pod| drop(world.add_netns(pod)));
    let started = Instant::now();
    let children: Vec<_> = pods
        .iter()
        .map(|pod| world.spawn_cni("ADD", "n1", pod, LABELS))
        .collect();
    let mut given = BTreeMap::new();
    for (child, pod) in children.into_iter().zip(&pods) {
        for address in world.attached(child, "n1", pod, LABELS) {
            assert_eq!(
                given.insert(address, pod.clone()),
                None,
                "{address} was given twice"
            );
        }
    }
    eprintln!("110 ADDs at once: {:?}", started.elapsed());
    assert_eq!(given.len(), 220);
    assert_eq!(leased(&world), given);
    let (first, last) = (&pods[0], &pods[109]);
    let address = given.iter().find(|(_, pod)| *pod == last).unwrap().0;
    assert!(world.reaches(first, *address));

    // The daemon dies under way; what it missed is replayed.
    let children: Vec<_> = pods
        .iter()
        .map(|pod| world.spawn_cni("DEL", "n1", pod, LABELS))
        .collect();
    world.kill("n1");
    for child in children {
        assert!(
            child.wait_with_output().unwrap().status.success(),
            "DEL always succeeds"
        );
    }
    world.start("n1");
    wait_for("every lease is freed", || leased(&world).is_empty());
    wait_for("the census is as before", || world.census() == before);
}

pub(crate) fn a_hundred_and_ten_at_once_leave_nothing_when_plugins_and_daemon_are_killed() {
    let (mut world, _) = pair();
    let before = world.census();
    let mut dice = Dice(11);
    let pods: Vec<String> = (0..110).map(|number| format!("p{number}")).collect();
    pods.iter().for_each(|pod| drop(world.add_netns(pod)));
    for _ in 0..3 {
        let mut children: Vec<_> = pods
            .iter()
            .map(|pod| world.spawn_cni("ADD", "n1", pod, LABELS))
            .collect();
        for _ in 0..40 {
            let _ = children[dice.below(110) as usize].kill();
        }
        world.kill("n1");
        world.start("n1");
        let mut given = BTreeMap::new();
        for (child, pod) in children.into_iter().zip(&pods) {
            let output = child.wait_with_output().unwrap();
            // What was answered holds; what was not, the runtime takes back below.
            if !output.status.success() {
                continue;
            }
            for address in addresses(&String::from_utf8_lossy(&output.stdout)) {
                assert_eq!(given.insert(address, pod.clone()), None, "{address}");
            }
        }
        let children: Vec<_> = pods
            .iter()
            .map(|pod| world.spawn_cni("DEL", "n1", pod, LABELS))
            .collect();
        for child in children {
            assert!(child.wait_with_output().unwrap().status.success());
        }
        wait_for("every lease is freed", || leased(&world).is_empty());
    }
    wait_for("the census is as before", || world.census() == before);
}

pub(crate) fn releases_without_a_daemon_are_quick_and_replayed() {
    let (mut world, _) = pair();
    let before = world.census();
    // Three networks' worth of attachments would do; the queue takes one file for each key.
    let pods: Vec<String> = (0..300).map(|number| format!("p{number}")).collect();
    for chunk in pods.chunks(50) {
        chunk.iter().for_each(|pod| drop(world.add_netns(pod)));
        let children: Vec<_> = chunk
            .iter()
            .map(|pod| world.spawn_cni("ADD", "n1", pod, LABELS))
            .collect();
        for (child, pod) in children.into_iter().zip(chunk) {
            world.attached(child, "n1", pod, LABELS);
        }
    }
    assert_eq!(leased(&world).len(), 600);
    world.kill("n1");
    let mut slowest = Duration::ZERO;
    for pod in &pods {
        let started = Instant::now();
        assert!(world.cni("DEL", "n1", pod, LABELS).0);
        slowest = slowest.max(started.elapsed());
    }
    let queue = world.state("n1").join("del");
    assert_eq!(fs::read_dir(&queue).unwrap().count(), 300);
    fs::write(queue.join("torn.json"), b"{\"key\":{\"cont").unwrap();
    fs::write(queue.join("garbled.json"), [0xff; 64]).unwrap();
    assert_eq!(
        leased(&world).len(),
        600,
        "nothing is freed while nobody can prove it"
    );

    let started = Instant::now();
    world.start("n1");
    wait_for("every lease is freed", || leased(&world).is_empty());
    eprintln!(
        "300 DELs: slowest {slowest:?}, replayed in {:?}",
        started.elapsed()
    );
    wait_for("only the garbage is left, set aside", || {
        let names = fs::read_dir(&queue)
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names == ["garbled.json.bad", "torn.json.bad"]
    });
    // What was set aside is for a person to look at, and is counted until then.
    for name in ["garbled.json.bad", "torn.json.bad"] {
        fs::remove_file(queue.join(name)).unwrap();
    }
    wait_for("the census is as before", || world.census() == before);
}

/// All namespaces go with the boot, and what is under /run; the state directory stays.
pub(crate) fn reboot(world: &mut World, pods: &[&str]) {
    for name in ["f1", "f2"] {
        run(&format!("ip netns delete {}", world.forwarder_netns(name)));
    }
    for name in pods.iter().chain(&["n1"]) {
        run(&format!("ip netns delete {}", world.netns(name)));
    }
    let _ = fs::remove_file(world.socket("n1"));
    world.add_netns("n1");
    fs::write(world.state("n1").join("boot-id"), "second\n").unwrap();
}

pub(crate) fn after_a_reboot_no_address_is_taken() {
    let (mut world, tag) = pair();
    let first = world.add_pod("n1", "p1", LABELS);
    world.add_pod("n1", "p2", LABELS);
    assert_eq!(leased(&world).len(), 4);
    world.kill("n1");
    reboot(&mut world, &["p1", "p2"]);
    world.start("n1");
    wait_for("no lease of the last boot is left", || {
        leased(&world).is_empty()
    });
    world.wait_until_ready(&tag);
    let again = world.add_pod("n1", "p1", LABELS);
    assert_eq!(again.len(), first.len());
    world.add_pod("n1", "p2", LABELS);
    assert!(world.reaches("p2", again[0]));
}
