//! Attachments without a lease.

use super::*;

/// An address of `default/iot` that the kernel has and no lease.
fn stray() -> BTreeSet<(TopologyKey, std::net::IpAddr)> {
    let network = TopologyKey {
        namespace: "default".into(),
        topology: "iot".into(),
    };
    [(network, "10.0.0.9".parse().unwrap())].into()
}

#[test]
fn what_could_not_be_looked_at_is_looked_at_again() {
    let mut world = World::new("n1");
    world.rounds.service.hold(stray());
    world.pods.put("p", &[]);
    assert_eq!(world.turn(0), Some(3000), "perhaps a DEL is under way");
    assert_eq!(world.turn(3000), Some(30_000), "it has no process yet");
    world.run("7", "p");
    let proc = world.directory.path().join("proc");
    let away = world.directory.path().join("away");
    fs::rename(&proc, &away).unwrap();
    assert_eq!(world.turn(100), Some(30_000), "no process can be seen");
    fs::rename(&away, &proc).unwrap();
    assert_eq!(world.turn(100), None);
}

#[test]
fn what_only_a_start_of_the_pod_makes_is_told_once_and_left() {
    let mut world = World::new("n1");
    world.rounds.service.hold(stray());
    let pair = Pair {
        pod_interface: "net1".into(),
        pod_alias: "beemesh:by-multus/net1".into(),
        pod_mac: [2, 0, 0, 0, 0, 0xaa],
        addresses: BTreeSet::new(),
        routes: BTreeSet::new(),
        mtu: 1400,
        forwarder_interface: "app0200000000aa".into(),
        forwarder_alias: "beemesh:iot/a/p".into(),
        forwarder_mac: [2, 0, 0, 0, 0, 0xbb],
    };
    *world.wires.torn.lock().unwrap() = Some(pair);
    world.pods.put("p", &[]);
    world.run("7", "p");
    world.turn(0);
    assert_eq!(world.pods.events(), [], "perhaps a DEL is under way");
    world.turn(3000);
    for number in 0..3 {
        // Whoever comes, it is looked at again.
        let other = format!("other-{number}");
        world.pods.put(&other, &[]);
        world.turn(100);
    }
    let events = world.pods.events();
    assert_eq!(events.len(), 1, "{events:?}");
    assert!(events[0].0 == "FailedAttach" && events[0].1.contains("net1"));
    world.pods.put("p", &OURS);
    world.turn(100);
    assert_eq!(world.calls(), 0, "it is in the way");
}
