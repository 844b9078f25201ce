//! Independence of a Forwarder's other work from one failure.

use std::fs::{self, File};
use std::net::{IpAddr, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sched::{CloneFlags, setns};

use crate::routing::{triangle, two_pods};
use crate::world::{World, output, run, wait_for};

/// Takes the port of tunnels in a host's namespace, until the socket is closed.
fn occupy(netns: &str) -> UdpSocket {
    let netns = File::open(format!("/run/netns/{netns}")).expect("a namespace");
    let bind = move || {
        setns(netns, CloneFlags::CLONE_NEWNET).expect("setns");
        UdpSocket::bind(("0.0.0.0", 4789)).expect("the port")
    };
    std::thread::spawn(bind).join().expect("a socket")
}

/// Two files or directories get each other's name in one step.
fn exchange(one: &Path, other: &Path) {
    renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE).expect("renameat2");
}

/// Why a Forwarder is not ready; empty when it is.
fn problem(world: &World, forwarder: &str) -> String {
    let conditions = world.status(&world.tag, forwarder).conditions;
    let mut ready = conditions.into_iter().filter(|c| c.r#type == "Ready");
    ready.next().map_or_else(String::new, |ready| ready.message)
}

/// Cuts the link of f1 and f2 and waits until their pods reach each other around it.
fn cut(world: &World, [source, address]: [IpAddr; 2]) {
    let (f1, f2) = (world.forwarder_netns("f1"), world.forwarder_netns("f2"));
    run(&format!("ip -n {f1} link set l-f2 down"));
    wait_for("around", || world.reaches("p1", address));
    for (netns, other) in [(&f1, address), (&f2, source)] {
        let route = run(&format!("ip -n {netns} route get {other}"));
        assert!(route.contains("dev l-f3 "), "{route}");
    }
}

pub(crate) fn links_that_cannot_be_made_keep_no_other_from_being_used() {
    let mut world = World::new(2);
    let tag = world.tag.clone();
    // Three pairs of one host, and a tunnel from each to the other host.
    let forwarders = triangle(["n1"; 3]).replace(
        "{name: f3, node: n1}]",
        "{name: f3, node: n1}, {name: f4, node: n2}]",
    );
    world.declare(&tag, &forwarders.replace("Ring", "Mesh"));
    let port = occupy(&world.netns("n1"));
    world.start_all();
    wait_for("pairs are made", || {
        let up = |name| world.status(&tag, name).links.up;
        ["f1", "f2", "f3"].iter().all(|name| up(name) == 2)
    });
    let pods = two_pods(&world, ["n1", "n1"]);
    assert!(problem(&world, "f1").contains("l-f4"), "it is told");

    cut(&world, pods);
    assert!(problem(&world, "f1").contains("l-f4"), "it fails still");
    let f1 = world.forwarder_netns("f1");
    run(&format!("ip -n {f1} link set l-f2 up"));
    let straight = format!("ip -n {f1} route get {}", pods[1]);
    wait_for("straight again", || {
        String::from_utf8_lossy(&output(&straight).stdout).contains("dev l-f2 ")
    });

    // What is on the way around is made anew meanwhile.
    let f3 = Path::new("/run/netns").join(world.forwarder_netns("f3"));
    let inode = || fs::metadata(&f3).map(|file| file.ino()).ok();
    let before = inode();
    // Fails once it has unmounted the namespace, where the daemon mounts another one at once.
    output(&format!("ip netns delete {}", world.forwarder_netns("f3")));
    wait_for("it is made again", || {
        inode().is_some_and(|now| Some(now) != before)
    });
    cut(&world, pods);
    wait_for("it fails still", || problem(&world, "f1").contains("l-f4"));

    run(&format!("ip -n {f1} link set l-f2 up"));
    drop(port);
    world.wait_until_ready(&tag);
}

pub(crate) fn a_snapshot_that_cannot_be_written_keeps_no_link_from_being_routed_around() {
    let mut world = World::new(1);
    let tag = world.tag.clone();
    world.declare(&tag, &triangle(["n1"; 3]));
    world.start_all();
    world.wait_until_ready(&tag);
    let pods = two_pods(&world, ["n1", "n1"]);
    let reports = world.run_dir("n1").join("link-states");
    let aside = world.run_dir("n1").join("aside");
    fs::write(&aside, "in the way").expect("a file");
    exchange(&reports, &aside);

    cut(&world, pods);
    wait_for("it is told", || {
        world
            .log("n1")
            .contains("snapshot of link states not written")
    });

    exchange(&reports, &aside);
    let report = reports.join(format!("{tag}.f1.json"));
    let report = || linkstate::decode(&fs::read(&report).ok()?).ok();
    wait_for("it is written", || {
        report().is_some_and(|report| !report.ends["f1/f2"].passes())
    });
    let f1 = world.forwarder_netns("f1");
    run(&format!("ip -n {f1} link set l-f2 up"));
    world.wait_until_ready(&tag);
}
