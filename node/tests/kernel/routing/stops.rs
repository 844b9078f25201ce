//! Daemons that stop, start and freeze while their kernels forward; nodes that lose power.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

use dataplane::netns::Netns;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{on, triangle, two_pods};
use crate::traffic::Traffic;
use crate::world::{World, run, wait_for};

/// A detection time of a second: freezes are shorter, and stops longer.
const SLOW: &str = "  liveness: {interval: 100ms, multiplier: 10}\n";
const FREEZE: Duration = Duration::from_millis(200);
const STOP: Duration = Duration::from_millis(2_500);
const ADDRESS: &str = "127.0.0.1:4790";

/// Hosts whose daemons serve metrics.
fn world(hosts: usize) -> World {
    let mut world = World::new(hosts);
    world.arguments.push(format!("--http-address={ADDRESS}"));
    world
}

fn metrics(world: &World, node: &str) -> String {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(ADDRESS)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let netns = Netns::open(&world.netns(node)).expect("a namespace");
    let answer = netns.run(ask).expect("a thread");
    answer.unwrap_or_default()
}

fn sessions_are_up(world: &World, node: &str) -> bool {
    let text = metrics(world, node);
    let count = |state: &str| {
        let name = format!("beemesh_node_bfd_sessions_{state} ");
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(&name));
        lines.next().map(str::to_owned)
    };
    count("down").as_deref() == Some("0") && count("up").is_some_and(|up| up != "0")
}

fn wait_for_sessions(world: &World, nodes: &[&str]) {
    for node in nodes {
        wait_for("all sessions are up", || sessions_are_up(world, node));
    }
}

fn signal(world: &World, node: &str, signal: Signal) {
    let process = Pid::from_raw(world.process(node).cast_signed());
    kill(process, signal).expect("a daemon");
}

fn suspects(world: &World, node: &str) -> Vec<String> {
    let log = world.log(node);
    let lines = log.lines().filter(|line| line.contains("link suspect"));
    lines.map(str::to_owned).collect()
}

pub(crate) fn daemons_that_are_killed_replaced_or_frozen_make_no_link_suspect() {
    for shape in ["Ring", "Line"] {
        let mut world = world(2);
        let tag = world.tag.clone();
        let spec = SLOW.to_owned() + &triangle(["n1", "n2", "n1"]).replace("Ring", shape);
        world.declare(&tag, &spec);
        world.start_all();
        world.wait_until_ready(&tag);
        let [_, address] = two_pods(&world, ["n1", "n2"]);
        let both = ["n1", "n2"];
        wait_for_sessions(&world, &both);
        let traffic = Traffic::start(&world.netns("p1"), address);
        for node in both {
            world.kill(node);
            sleep(STOP);
            world.start(node);
            wait_for_sessions(&world, &both);
            assert!(world.terminate(node), "it ends in peace");
            sleep(STOP);
            world.start(node);
            wait_for_sessions(&world, &both);
            signal(&world, node, Signal::SIGSTOP);
            sleep(FREEZE);
            signal(&world, node, Signal::SIGCONT);
            sleep(STOP);
        }
        for node in both {
            assert_eq!(suspects(&world, node), [""; 0], "{shape}: {node}");
        }
        traffic.wait_for_more();
        assert_eq!(traffic.end(), 0, "{shape}: packets were lost");
    }
}

/// The frozen daemon's own lateness is no failure of its peers; they notice its silence, and no packet is lost.
pub(crate) fn a_daemon_that_was_frozen_for_long_calls_no_peer_dead() {
    let mut world = world(2);
    let tag = world.tag.clone();
    world.declare(&tag, &triangle(["n1", "n2", "n1"]));
    world.start_all();
    world.wait_until_ready(&tag);
    let [_, address] = two_pods(&world, ["n1", "n2"]);
    let both = ["n1", "n2"];
    wait_for_sessions(&world, &both);
    let traffic = Traffic::start(&world.netns("p1"), address);
    signal(&world, "n1", Signal::SIGSTOP);
    wait_for("its peer hears nothing", || {
        suspects(&world, "n2").len() >= 2
    });
    sleep(Duration::from_secs(1));
    signal(&world, "n1", Signal::SIGCONT);
    wait_for("alive again", || {
        world.log("n2").matches("link alive").count() >= 2
    });
    wait_for_sessions(&world, &both);
    let own = suspects(&world, "n1");
    let is_silence = |line: &&String| line.contains("reason: Silence");
    assert_eq!(own.iter().find(is_silence), None, "{own:?}");
    traffic.wait_for_more();
    assert_eq!(traffic.end(), 0, "packets were lost");
}

pub(crate) fn a_node_without_power_makes_its_links_suspect_at_its_neighbours() {
    let nodes = ["n1", "n2", "n3"];
    let mut world = world(3);
    let tag = world.tag.clone();
    world.declare(&tag, &triangle(nodes));
    world.start_all();
    world.wait_until_ready(&tag);
    world.add_pod("n1", "p1", &on("f1"));
    let address = world.add_pod("n3", "p3", &on("f3"))[0];
    wait_for("the other pod answers", || world.reaches("p1", address));
    wait_for_sessions(&world, &nodes);
    let traffic = Traffic::start(&world.netns("p1"), address);
    let switch = world.netns("sw");
    run(&format!("ip -n {switch} link set n2 down"));
    signal(&world, "n2", Signal::SIGSTOP);
    for node in ["n1", "n3"] {
        wait_for("a suspect link", || !suspects(&world, node).is_empty());
        let lines = suspects(&world, node);
        assert!(lines.iter().all(|line| line.contains("f2")), "{lines:?}");
    }
    signal(&world, "n2", Signal::SIGCONT);
    run(&format!("ip -n {switch} link set n2 up"));
    wait_for_sessions(&world, &nodes);
    world.wait_until_ready(&tag);
    traffic.wait_for_more();
    assert_eq!(traffic.end(), 0, "packets of others were lost");
}

pub(crate) fn an_idle_daemon_fits_into_its_memory_and_its_descriptors() {
    let mut world = world(2);
    let tag = world.tag.clone();
    world.declare(&tag, &triangle(["n1", "n2", "n1"]));
    world.start_all();
    world.wait_until_ready(&tag);
    wait_for_sessions(&world, &["n1", "n2"]);
    let status = std::fs::read_to_string(format!("/proc/{}/status", world.process("n1")));
    let status = status.expect("a process");
    // What it holds itself: the rest is the file of a debug build.
    let mut lines = status
        .lines()
        .filter_map(|line| line.strip_prefix("RssAnon:"));
    let memory = lines
        .next()
        .and_then(|line| line.trim().strip_suffix(" kB"));
    let memory: u64 = memory.and_then(|kib| kib.parse().ok()).expect("a number");
    let descriptors = format!("/proc/{}/fd", world.process("n1"));
    let sockets = std::fs::read_dir(descriptors).expect("descriptors").count();
    eprintln!("{memory} KiB, {sockets} descriptors");
    assert!(memory < 32 << 10, "{memory} KiB");
    assert!(sockets < 100, "{sockets} descriptors");
}
