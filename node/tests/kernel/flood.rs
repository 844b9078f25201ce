//! Link states go from daemon to daemon.

use std::fs;
use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::netns::Netns;
use dataplane::{Fib, LinuxKernel, SeenNexthop, Via};
use node::flooding::{DEFAULT_PORT, Flooding, Presence, Reports, Settings};
use node::objects::Snapshot;
use node::routing::link_state::{Accepted, Follower, LinkStates};
use tokio::sync::watch;

use crate::pods::LABELS;
use crate::routing::{triangle, two_pods};
use crate::world::{World, output, run, wait_for};

/// How many times a link is set down and up for a figure, if at all.
pub(crate) fn rounds() -> Option<usize> {
    std::env::var("BEEMESH_LATENCY").ok()?.parse().ok()
}

/// Three hosts with a Forwarder each, linked in a triangle.
fn three() -> World {
    started(World::new(3))
}

fn started(mut world: World) -> World {
    let tag = world.tag.clone();
    world.declare(&tag, &triangle(["n1", "n2", "n3"]));
    world.start_all();
    world.wait_until_ready(&tag);
    for node in ["n1", "n2", "n3"] {
        wait_for("all are told", || {
            count(&world, node, "sends link states") >= 2
        });
        wait_for("all are heard", || {
            count(&world, node, "receives link states") >= 2
        });
    }
    world
}

fn count(world: &World, node: &str, what: &str) -> usize {
    world.log(node).matches(what).count()
}

/// True when a link of a Forwarder is up, by the link states of a node.
fn is_up(world: &World, node: &str, forwarder: &str, link: &str) -> Option<bool> {
    let name = crds::names::object(&world.tag, forwarder);
    let directory = world.run_dir(node).join("link-states");
    let files = fs::read_dir(directory).ok()?.flatten();
    let mut files = files.map(|file| file.path());
    // The key of a Forwarder may have its namespace before its name.
    let file = files.find(|path| {
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let is_hidden = stem.is_none_or(|stem| stem.starts_with('.'));
        !is_hidden && stem.is_some_and(|stem| stem.ends_with(&name))
    })?;
    let report: serde_json::Value = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    let state = report["ends"][link]["state"].as_str()?;
    Some(["init", "up"].contains(&state))
}

fn routes(world: &World) -> String {
    let netns = ["f2", "f3"].map(|name| world.forwarder_netns(name));
    let show =
        |netns| run(&format!("ip -n {netns} route show")) + &run(&format!("ip -n {netns} nexthop"));
    netns.map(show).concat()
}

/// Number of kernel writes by the daemons of the other nodes.
fn writes(world: &World) -> u64 {
    let rounds = ["n2", "n3"].map(|node| world.rounds(node));
    rounds.iter().flatten().sum()
}

pub(crate) fn link_states_go_from_daemon_to_daemon() {
    let world = three();
    let tag = world.tag.clone();
    let [_, address] = two_pods(&world, ["n1", "n2"]);
    let f1 = world.forwarder_netns("f1");
    let link = "f1/f2";
    run(&format!("ip -n {f1} link set l-f2 down"));
    for node in ["n1", "n2", "n3"] {
        wait_for("it is told", || {
            is_up(&world, node, "f1", link) == Some(false)
        });
    }
    // Told after the routes are made.
    wait_for("both ends know", || {
        ["f1", "f2"]
            .iter()
            .all(|name| world.status(&tag, name).links.up == 1)
    });
    assert!(world.reaches("p1", address), "around");
    run(&format!("ip -n {f1} link set l-f2 up"));
    world.wait_until_ready(&tag);
}

pub(crate) fn peers_are_heard_where_sockets_are_for_ipv6_alone() {
    let world = World::new(3);
    for node in ["n1", "n2", "n3"] {
        let host = world.netns(node);
        run(&format!(
            "ip netns exec {host} sysctl -qw net.ipv6.bindv6only=1"
        ));
    }
    started(world);
}

pub(crate) fn daemons_that_die_or_lose_their_reports_change_nothing_elsewhere() {
    let mut world = three();
    let tag = world.tag.clone();
    let [_, address] = two_pods(&world, ["n1", "n2"]);
    world.wait_until_ready(&tag);
    let is_quiet = |world: &World| {
        let before = ["n2", "n3"].map(|node| world.rounds(node).len());
        wait_for("a look at everything", || {
            let now = ["n2", "n3"].map(|node| world.rounds(node).len());
            now.iter()
                .zip(before)
                .all(|(now, before)| *now >= before + 2)
        });
    };
    is_quiet(&world);
    let before = (routes(&world), writes(&world));
    for is_wiped in [false, true] {
        let heard =
            |world: &World| ["n2", "n3"].map(|node| count(world, node, "receives link states"));
        let known = heard(&world);
        world.kill("n1");
        if is_wiped {
            fs::remove_dir_all(world.run_dir("n1")).expect("a directory");
        }
        assert!(world.reaches("p1", address), "without a daemon");
        world.start("n1");
        wait_for("it is heard again", || {
            heard(&world)
                .iter()
                .zip(known)
                .all(|(now, known)| *now > known)
        });
        for (of, link) in [("f1", "f1/f2"), ("f2", "f1/f2"), ("f3", "f1/f3")] {
            wait_for("it knows everything again", || {
                is_up(&world, "n1", of, link) == Some(true)
            });
        }
        is_quiet(&world);
        assert_eq!(
            (routes(&world), writes(&world)),
            before,
            "wiped: {is_wiped}"
        );
        assert!(world.reaches("p1", address));
    }
}

pub(crate) fn what_happens_while_nodes_are_cut_off_is_told_when_they_are_not() {
    let world = three();
    let tag = world.tag.clone();
    let (host, f1) = (world.netns("n1"), world.forwarder_netns("f1"));
    let nft = |line: &str| {
        let line = format!("nsenter --net=/run/netns/{host} nft {line}");
        let output = output(&line);
        assert!(
            output.status.success(),
            "{line}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    // One that was dialled before it answered is complained of too.
    let complaints = |node| {
        let log = world.log(node);
        let of_peer = log.lines().filter(|line| line.contains(r#"peer="n1""#));
        of_peer
            .filter(|line| line.contains("link states not "))
            .count()
    };
    let before = ["n2", "n3"].map(complaints);
    nft("add table inet cut");
    for hook in ["input", "output"] {
        let rule = format!(
            "add chain inet cut {hook} {{ type filter hook {hook} priority 0 ; tcp dport 4788 drop ; tcp sport 4788 drop ; }}"
        );
        nft(&rule);
    }
    run(&format!("ip -n {f1} link set l-f2 down"));
    wait_for("the node itself knows", || {
        is_up(&world, "n1", "f1", "f1/f2") == Some(false)
    });
    for (node, before) in ["n2", "n3"].into_iter().zip(before) {
        // Said once, by whoever of the two that talk with the peer is first.
        wait_for("the silence is noticed", || complaints(node) > before);
        // Its last report stands: nobody knows better.
        assert_eq!(is_up(&world, node, "f1", "f1/f2"), Some(true));
    }
    nft("delete table inet cut");
    for node in ["n2", "n3"] {
        wait_for("it is told", || {
            is_up(&world, node, "f1", "f1/f2") == Some(false)
        });
    }
    wait_for("the other end knows", || {
        world.status(&tag, "f2").links.up == 1
    });
    run(&format!("ip -n {f1} link set l-f2 up"));
    world.wait_until_ready(&tag);
}

/// Prints how long it takes from a link set down, or up, to the table of another node's kernel.
pub(crate) fn a_link_that_falls_is_known_everywhere() {
    let world = three();
    let [f1, f2] = ["f1", "f2"].map(|name| world.forwarder_netns(name));
    let kernel = LinuxKernel::new().expect("a kernel");
    let (mut down, mut up) = (Vec::new(), Vec::new());
    for round in 0..2 * rounds().unwrap_or(1) {
        let is_up = round % 2 == 1;
        let word = if is_up { "up" } else { "down" };
        let mut set = Command::new("ip");
        set.args(["-n", &f1, "link", "set", "l-f2", word]);
        let started = Instant::now();
        let mut set = set.spawn().expect("ip");
        // The tunnel's end at f2 stays up: only f1's node can tell f2's.
        let reached = until(|| uses(&kernel, &f2, "l-f1") == is_up);
        assert!(set.wait().expect("ip").success());
        let times = if is_up { &mut up } else { &mut down };
        times.push(reached - started);
        // The next one begins in peace.
        for node in ["n1", "n2", "n3"] {
            wait_for("all know", || is_up_at(&world, node) == Some(is_up));
        }
    }
    for (word, times) in [("down", &mut down), ("up", &mut up)] {
        times.sort();
        let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
        println!(
            "link set {word} by ip, to the table of another node: median {} us, p99 {} us of {}",
            at(50).as_micros(),
            at(99).as_micros(),
            times.len()
        );
    }
}

fn is_up_at(world: &World, node: &str) -> Option<bool> {
    is_up(world, node, "f1", "f1/f2")
}

/// True when any route of a namespace uses a link.
fn uses(kernel: &LinuxKernel, netns: &str, link: &str) -> bool {
    let observed = Fib::observe_routing(kernel, netns);
    let Ok(Some(observed)) = observed else {
        return false;
    };
    let is_on = |id: &u32| {
        let nexthop = observed.nexthops.get(id);
        matches!(nexthop, Some(SeenNexthop::Single { link: on, .. }) if on == link)
    };
    observed.routes.iter().any(|route| match &route.via {
        Via::Nexthop(id) => match observed.nexthops.get(id) {
            Some(SeenNexthop::Group { members, .. }) => members.iter().any(is_on),
            _ => is_on(id),
        },
        _ => false,
    })
}

/// When a condition came to hold.
fn until(condition: impl Fn() -> bool) -> Instant {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain");
        std::thread::sleep(Duration::from_micros(50));
    }
    Instant::now()
}

/// Follows no report.
struct Nobody;

impl Follower for Nobody {
    fn report_changed(&self, _: &Accepted) {}
}

impl Presence for Nobody {
    fn peer_stopped(&self, _: &str) {}
    fn peer_back(&self, _: &str) {}
    fn peer_lost(&self, _: &str) {}
}

/// The exchange of a node without anything else, in the namespace of n2; it knows n1 and itself.
fn exchange(
    world: &World,
    node: &str,
    address: IpAddr,
) -> (Flooding, watch::Sender<Arc<Snapshot>>) {
    let is_known = |on: &str| on == node || on == "n1";
    let known = world.forwarders().iter();
    let known = known.filter(|forwarder| is_known(&forwarder.spec.node));
    let addresses = [
        ("n1", "192.0.2.1".parse().expect("an address")),
        (node, address),
    ];
    let snapshot = Snapshot {
        is_complete: true,
        forwarders: known
            .map(|it| (it.metadata.name.clone(), Arc::new(it.clone())))
            .collect(),
        nodes: addresses
            .map(|(name, address)| {
                let object = crds::NodeObject::new(name, &[address]);
                (name.to_owned(), Arc::new(object))
            })
            .into(),
        ..Snapshot::default()
    };
    let settings = Settings {
        listen: (address, DEFAULT_PORT).into(),
        ..Settings::new(node, world.key_file(), DEFAULT_PORT)
    };
    let reports = Reports {
        link_states: Arc::new(LinkStates::new(node, Vec::new(), 1)),
        follower: Arc::new(Nobody),
        presence: Arc::new(Nobody),
    };
    let (views, seen) = watch::channel(Arc::new(snapshot));
    let netns = Netns::open(&world.netns("n2")).expect("a namespace");
    let started = netns.run(|| Flooding::start(settings, reports, seen));
    (started.expect("entered").expect("a thread"), views)
}

pub(crate) fn more_peers_than_open_files_keep_no_pod_from_being_attached() {
    const PEERS: u8 = 150;
    dataplane::descriptors::raise_limit().expect("for all the peers");
    let mut world = World::new(2);
    world.open_files = Some(256);
    let (tag, host) = (world.tag.clone(), world.netns("n2"));
    let peers = (10..10 + PEERS).map(|number| {
        let address = IpAddr::from([192, 0, 2, number]);
        (format!("m{number}"), address)
    });
    let peers: Vec<(String, IpAddr)> = peers.collect();
    let mut forwarders = vec!["{name: f1, node: n1}".to_owned()];
    for (name, address) in &peers {
        world.add_node(name, *address);
        run(&format!("ip -n {host} address add {address}/24 dev eth0"));
        forwarders.push(format!("{{name: {name}, node: {name}}}"));
    }
    let forwarders = forwarders.join(", ");
    let spec = format!(
        "  addressing: {{cidrs: [10.80.0.0/16]}}\n  forwarders: [{forwarders}]\n\
         \x20 links: [{{a: f1, b: m10}}]\n\
         \x20 apps: [{{name: a, podSelector: {{matchLabels: {{app: a}}}}}}]\n"
    );
    world.declare(&tag, &spec);
    world.start("n1");
    world.add_pod("n1", "p0", LABELS);
    let all: Vec<_> = peers
        .iter()
        .map(|(name, address)| exchange(&world, name, *address))
        .collect();
    wait_for("no more come", || {
        let log = world.log("n1");
        let has_budget = log.contains("open files are kept for peers");
        let counts = ["sends link states", "receives link states"];
        let is_full = counts.iter().all(|what| log.matches(what).count() >= 64);
        log.contains("Too many open files") || has_budget && is_full
    });
    world.add_pod("n1", "p1", LABELS);
    assert!(!world.log("n1").contains("Too many open files"));
    drop(all);
}
