//! The state directory is lost while a pod is wired.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cni::node_protocol::{Claim, Key, NetnsId, Reply, Request};
use crds::TopologyKey;
use node::attach::key;

use crate::live::{Daemon, Node, catalog_with};
use crate::world::{run, wait_for, wait_until_up};

/// A pod that the runtime attached to a daemon that is gone, and remembers nothing.
fn wired() -> Node {
    let node = Node::new();
    node.pods.is_ours(true);
    let daemon = node.start(true);
    assert!(node.sandbox("ADD"));
    assert!(node.addresses().contains("10.80.1.2/32"));
    assert_eq!(daemon.service.leases().len(), 1);
    wait_until_up(&node.pod);
    wait_until_up(&node.forwarder);
    drop(daemon);
    node.forget();
    node
}

/// The addresses that are leased.
fn leased(daemon: &Daemon) -> Vec<String> {
    let leases = daemon.service.leases().into_iter();
    let shares = leases.flat_map(|lease| lease.shares);
    let addresses = shares.flat_map(|share| share.attachment.addresses);
    addresses.map(|address| address.ip().to_string()).collect()
}

/// Claims an address for another pod, as its plugin does.
fn give_away(daemon: &Daemon) {
    let claim = Claim {
        key: Key {
            container_id: "another".into(),
            ifname: "eth0".into(),
            network: "primary".into(),
        },
        netns: "/proc/self/ns/net".into(),
        netns_id: {
            let file = fs::metadata("/proc/self/ns/net").expect("a namespace");
            NetnsId {
                device: file.dev(),
                inode: file.ino(),
            }
        },
        labels: [("app".to_owned(), "sensor".to_owned())].into(),
        annotations: [].into(),
        pod: None,
        chained: true,
        topology: None,
    };
    let own = i32::try_from(std::process::id()).ok();
    let reply = daemon.service.answer(&Request::Claim(claim), own);
    assert!(matches!(reply, Reply::Claimed(_)), "{reply:?}");
}

pub(crate) fn what_is_wired_and_in_no_lease_is_taken_back_as_it_is() {
    let node = wired();
    let before = (node.ends(), node.addresses());
    // Twice: a daemon that is killed right after that has it in its book.
    for _ in 0..2 {
        let mut daemon = node.start(false);
        let changed = catalog_with(&node.forwarder, 1300, &["192.0.2.0/24"]);
        daemon.service.open(Arc::new(changed));
        daemon.rounds.turn(Instant::now());
        let leases = daemon.service.leases();
        assert_eq!(leased(&daemon), ["10.80.1.2"]);
        assert!(key::is_hotplug(&leases[0].key), "{leases:?}");
        assert_eq!((node.ends(), node.addresses()), before);
    }
    assert!(node.is_reached());
    assert!(node.pods.warnings().is_empty());
    let told = node.pods.statuses();
    assert!(told.last().is_some_and(|value| value.contains("10.80.1.2")));

    let mut daemon = node.start(true);
    give_away(&daemon);
    assert_eq!(leased(&daemon).len(), 2);
    daemon.rounds.turn(Instant::now());
    assert!(node.sandbox("DEL"));
    // DEL does not wait long for an answer.
    wait_for("the other one's is left", || {
        leased(&daemon) == ["10.80.1.3"]
    });
    assert!(!node.links().contains("bm-iot"));
}

/// Makes what is wired not right.
type Cause = fn(&Daemon, &Node);

pub(crate) fn what_is_in_no_lease_and_not_right_is_wired_anew() {
    let causes: [(&str, Cause); 3] = [
        ("its address is another's", |daemon, _| {
            give_away(daemon);
            assert_eq!(leased(daemon), ["10.80.1.2"]);
        }),
        ("its Forwarder sends it nothing", |_, node| {
            run(&format!(
                "ip -n {} route delete 10.80.1.2/32",
                node.forwarder
            ));
        }),
        ("its address is gone", |_, node| {
            run(&format!("ip -n {} address flush dev bm-iot", node.pod));
        }),
    ];
    for (what, cause) in causes {
        let node = wired();
        // It ends between taking apart and wiring anew.
        let mut daemon = node.start(false);
        cause(&daemon, &node);
        daemon.rounds.turn(Instant::now());
        assert!(!node.links().contains("bm-iot"), "{what}");
        drop(daemon);
        let mut daemon = node.start(true);
        daemon.rounds.turn(Instant::now());
        let mut leased = leased(&daemon);
        let own = leased.pop().expect("a lease");
        assert!(node.addresses().contains(&format!("{own}/32")), "{what}");
        assert!(!leased.contains(&own), "{what}: {own} is given twice");
        assert!(node.is_reached(), "{what}");
    }
}

pub(crate) fn what_is_in_no_lease_and_not_wanted_goes() {
    let node = wired();
    node.pods.is_ours(false);
    let mut daemon = node.start(true);
    // As the engine tells after its first look.
    let network = TopologyKey {
        namespace: "default".into(),
        topology: "iot".into(),
    };
    let address: IpAddr = "10.80.1.2".parse().unwrap();
    daemon.service.hold([(network, address)].into());
    let start = Instant::now();
    daemon.rounds.turn(start);
    assert!(
        node.links().contains("bm-iot"),
        "perhaps a DEL is under way"
    );
    daemon.rounds.turn(start + Duration::from_secs(3));
    assert!(daemon.service.is_unused());
    assert!(!node.links().contains("bm-iot"));
    assert!(!node.ends().1.contains("app02"));
}

pub(crate) fn what_is_not_provably_ours_is_never_touched() {
    let node = Node::new();
    let (pod, forwarder) = (&node.pod, &node.forwarder);
    let (elsewhere, victim) = (
        node.world.add_netns("elsewhere"),
        node.world.add_netns("victim"),
    );
    let group = format!("group {}", dataplane::LINK_GROUP);
    let marks = format!("alias beemesh:primary/eth0 {group}");
    let same =
        "bm-iot index 777 address 02:00:00:00:00:aa type veth peer name app0200000000aa index 778";
    #[rustfmt::skip]
    let foreign = [
        // No mark at all.
        vec![format!("ip -n {pod} link add bm-iot type veth peer name app02 netns {forwarder}")],
        // All marks, but its other end is in no Forwarder.
        vec![
            format!("ip -n {pod} link add bm-iot type veth peer name app02 netns {elsewhere}"),
            format!("ip -n {pod} link set bm-iot {marks}"),
        ],
        // To a Forwarder, one end without a mark.
        vec![
            format!("ip -n {pod} link add bm-iot type veth peer name app02 netns {forwarder}"),
            format!("ip -n {pod} link set bm-iot {marks}"),
        ],
        // To a Forwarder, both ends marked, but not by the name that we would give.
        vec![
            format!("ip -n {pod} link add bm-iot type veth peer name app02 netns {forwarder}"),
            format!("ip -n {pod} link set bm-iot {marks}"),
            format!("ip -n {forwarder} link set app02 alias beemesh:iot/sensors/p {group}"),
        ],
        // Another pod's in all that a pod can choose, but its other end is in no Forwarder.
        vec![
            format!("ip -n {victim} link add {same} netns {forwarder}"),
            format!("ip -n {victim} link set bm-iot {marks}"),
            format!("ip -n {forwarder} link set app0200000000aa alias beemesh:iot/sensors/q {group}"),
            format!("ip -n {pod} link add {same} netns {elsewhere}"),
            format!("ip -n {pod} link set bm-iot {marks}"),
        ],
    ];
    node.pods.is_ours(true);
    for commands in foreign {
        for command in &commands {
            run(command);
        }
        let before = node.ends();
        let mut daemon = node.start(true);
        daemon.rounds.turn(Instant::now());
        assert_eq!(node.ends(), before, "{commands:?}");
        assert!(daemon.service.is_unused(), "{commands:?}");
        let told = node.pods.warnings();
        assert!(
            told.last().is_some_and(|why| why.contains("bm-iot")),
            "{told:?}"
        );
        run(&format!("ip -n {pod} link delete bm-iot"));
    }
}
