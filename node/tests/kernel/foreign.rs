//! Foreign hands: what they delete is made again within seconds, or told.

use std::process::{Child, Command};
use std::time::Instant;

use crate::routing::{on, triangle, two_pods};
use crate::world::{World, output, run, wait_for};

/// A triangle whose daemon looks as often as it does by itself.
fn ready() -> World {
    let mut world = World::new(1);
    world.resync_seconds = node::DEFAULT_RESYNC.as_secs();
    let tag = world.tag.clone();
    world.declare(&tag, &triangle(["n1"; 3]));
    world.start_all();
    world.wait_until_ready(&tag);
    world
}

/// Waits for the repair, and tells how long it took.
fn repaired(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    wait_for(what, condition);
    eprintln!("{:?}: {what}", started.elapsed());
}

pub(crate) fn what_a_foreign_hand_deletes_is_made_again() {
    let world = ready();
    let f1 = world.forwarder_netns("f1");
    let block = run(&format!("ip -n {f1} -4 route show proto 190 type unicast"));
    let block = block.split_whitespace().next().expect("a route");
    let neighbour = run(&format!("ip -n {f1} neighbour show dev l-f2 nud permanent"));
    let neighbour = neighbour.split_whitespace().next().expect("a neighbour");
    let before = world.census();
    for vandalism in [
        format!("ip -n {f1} route delete {block}"),
        format!("ip -n {f1} neighbour delete {neighbour} dev l-f2"),
        format!("ip -n {f1} nexthop flush"),
        format!("ip -n {f1} link delete l-f2"),
        format!("ip -n {f1} route flush proto 190"),
        format!("ip -n {f1} address flush dev lo scope global"),
        format!("ip netns delete {f1}"),
    ] {
        let rounds = world.rounds("n1").len();
        run(&vandalism);
        repaired(&vandalism, || {
            let has_repaired = world.rounds("n1")[rounds..]
                .iter()
                .any(|writes| *writes > 0);
            has_repaired && world.census() == before
        });
    }
    world.wait_until_ready(&world.tag);
    two_pods(&world, ["n1", "n1"]);
}

pub(crate) fn a_namespace_that_lost_its_name_but_lives_on_is_replaced() {
    let world = ready();
    let f1 = world.forwarder_netns("f1");
    let before = world.census();
    let mut holder = hold(&f1);
    run(&format!("ip netns delete {f1}"));
    repaired("it is replaced", || world.census() == before);
    world.wait_until_ready(&world.tag);
    two_pods(&world, ["n1", "n1"]);
    holder.kill().expect("kill");
    holder.wait().expect("wait");
}

/// A process in a namespace: whoever looks around in it keeps it alive, and with it its links.
fn hold(netns: &str) -> Child {
    let holder = Command::new("nsenter")
        .arg(format!("--net=/run/netns/{netns}"))
        .args(["sleep", "600"])
        .spawn()
        .expect("nsenter");
    let inside = format!("/proc/{}/ns/net", holder.id());
    let own = std::fs::read_link("/proc/self/ns/net").expect("a namespace");
    wait_for("it is inside", || {
        std::fs::read_link(&inside).is_ok_and(|link| link != own)
    });
    holder
}

pub(crate) fn a_tunnel_in_a_namespace_that_lost_its_name_gives_way() {
    let mut world = World::new(2);
    world.resync_seconds = node::DEFAULT_RESYNC.as_secs();
    let tag = world.tag.clone();
    world.declare(&tag, &triangle(["n1", "n2", "n2"]));
    world.start_all();
    world.wait_until_ready(&tag);
    let f1 = world.forwarder_netns("f1");
    let mut holder = hold(&f1);
    run(&format!("ip netns delete {f1}"));
    repaired("it is made again", || {
        output(&format!("ip -n {f1} link show l-f2"))
            .status
            .success()
    });
    world.wait_until_ready(&tag);
    two_pods(&world, ["n1", "n2"]);
    holder.kill().expect("kill");
    holder.wait().expect("wait");
}

pub(crate) fn what_pods_rely_on_is_made_again() {
    let world = ready();
    let [_, address] = two_pods(&world, ["n1", "n1"]);
    let (f1, pod) = (world.forwarder_netns("f1"), world.netns("p1"));
    let links = run(&format!("ip -n {f1} -o link show group 3054"));
    let mut names = links.split([' ', '@', ':']);
    let app = names
        .find(|name| name.starts_with("app"))
        .expect("an attachment");
    let before = world.census();
    for vandalism in [
        format!("ip -n {f1} route flush table main"),
        format!("ip -n {f1} -6 route flush proto 191"),
        format!("ip -n {f1} link set {app} down"),
        format!("ip netns exec {f1} sysctl -qw net.ipv6.conf.all.disable_ipv6=1"),
        format!("ip -n {f1} rule delete from all lookup main"),
        format!("ip -n {f1} -6 rule delete from all lookup main"),
        format!("ip -n {pod} link set eth0 down"),
    ] {
        run(&vandalism);
        if vandalism.contains("eth0 down") {
            run(&format!("ip -n {pod} link set eth0 up"));
        }
        repaired(&vandalism, || {
            world.census() == before && world.reaches("p1", address)
        });
    }
}

pub(crate) fn pods_that_lost_their_interface_are_told_and_can_be_detached() {
    let world = ready();
    let tag = &world.tag;
    let [_, address] = two_pods(&world, ["n1", "n1"]);
    // What the plugin says of the node, on which others' pods are to start whatever becomes of ours.
    let told = || {
        let child = world.spawn_cni("STATUS", "n1", "p1", "");
        let output = child.wait_with_output().expect("the plugin");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert_eq!(told(), "", "all is well");
    let attached = || {
        let conditions = world.status(tag, "f1").conditions;
        let mut attached = conditions.into_iter().filter(|c| c.r#type == "Attached");
        let attached = attached.next().expect("the condition");
        (attached.status, attached.message)
    };
    run(&format!("ip netns delete {}", world.forwarder_netns("f1")));
    repaired("STATUS tells", || told().ends_with(": p1\n"));
    repaired("the Forwarder tells", || attached().0 == "False");
    assert!(attached().1.ends_with(": p1"), "{}", attached().1);
    world.wait_until_ready(tag);
    assert_eq!(
        world.status(tag, "f1").attachments.len(),
        1,
        "the lease stays"
    );

    assert!(world.cni("DEL", "n1", "p1", &on("f1")).0);
    repaired("all is well again", || {
        told().is_empty() && attached().0 == "True"
    });
    let pod = world.netns("p1");
    assert!(
        !output(&format!("ip -n {pod} link show eth0"))
            .status
            .success()
    );
    assert!(world.cni("ADD", "n1", "p1", &on("f1")).0);
    assert!(world.reaches("p1", address));
}

pub(crate) fn a_link_that_was_down_in_between_is_whole_again_without_a_look_by_the_timer() {
    let mut world = World::new(1);
    world.resync_seconds = 600;
    let tag = world.tag.clone();
    world.declare(&tag, &triangle(["n1"; 3]));
    world.start_all();
    world.wait_until_ready(&tag);
    two_pods(&world, ["n1", "n1"]);
    let f1 = world.forwarder_netns("f1");
    let neighbours = || run(&format!("ip -n {f1} neighbour show dev l-f2 nud permanent"));
    let before = neighbours();
    assert!(!before.is_empty());
    let daemon = world.process("n1");
    // Both events wait for it, so that the last word on the link is that it is up.
    run(&format!("kill -STOP {daemon}"));
    run(&format!("ip -n {f1} link set l-f2 down"));
    run(&format!("ip -n {f1} link set l-f2 up"));
    assert_ne!(neighbours(), before, "the kernel flushed them");
    run(&format!("kill -CONT {daemon}"));
    wait_for("made again", || neighbours() == before);
    world.wait_until_ready(&tag);
}
