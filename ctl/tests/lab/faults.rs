//! Faults as verbs: what each does to packets and processes, and that `heal` undoes it.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::world::Lab;

/// A veth link, then a VXLAN one; no other way.
const LINE: &str = "
  addressing: {cidrs: [10.96.0.0/16, \"fd00:96::/48\"]}
  forwarders: [{name: a, node: n1}, {name: b, node: n1}, {name: c, node: n2}]
  shape: Line";
const LINKS: [(&str, [&str; 2]); 2] = [("a/b", ["a", "b"]), ("b/c", ["b", "c"])];

/// A lab with three nodes, and their Forwarders in a line.
const THREE: &str = "
  addressing: {cidrs: [10.97.0.0/16]}
  forwarders: [{name: a, node: n1}, {name: b, node: n2}, {name: c, node: n3}]
  shape: Line";

fn up(spec: &str) -> (Lab, Value) {
    let lab = Lab::new(spec);
    lab.run("up", &["-q"]);
    let whole = lab.json("status", &[]);
    (lab, whole)
}

fn passes(lab: &Lab, from: &str, to: &str) {
    lab.run("ping", &[from, to, "-c", "2"]);
}

fn drops(lab: &Lab, from: &str, to: &str) {
    lab.expect(1, "ping", &[from, to, "-c", "2", "-W", "200ms"]);
}

/// Number of echo requests over IPv4 that arrived at a Forwarder.
fn requests(lab: &Lab, forwarder: &str) -> u64 {
    let text = lab.run("exec", &[forwarder, "--", "cat", "/proc/net/snmp"]);
    let mut lines = text.lines().filter(|line| line.starts_with("Icmp:"));
    let (names, numbers) = (lines.next().unwrap(), lines.next().unwrap());
    let mut pairs = names.split(' ').zip(numbers.split(' '));
    let (_, number) = pairs.find(|(name, _)| *name == "InEchos").unwrap();
    number.parse().unwrap()
}

fn has_carrier(lab: &Lab, ends: [&str; 2]) -> bool {
    let [one, other] = ends;
    [(one, other), (other, one)].iter().all(|(at, peer)| {
        let interface = format!("l-{peer}");
        let words = [at, "--", "ip", "link", "show", &interface];
        lab.run("exec", &words).contains("LOWER_UP")
    })
}

fn daemon(lab: &Lab, node: &str) -> Value {
    let file = lab.state().join("nodes").join(node).join("pid");
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

/// State of a process: `S`, `T`, ...; none when it has ended.
fn state(process: &Value) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process["id"])).ok()?;
    let state = stat.rsplit_once(')')?.1.trim().chars().next();
    state.filter(|state| *state != 'Z')
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn a_silent_cut_drops_both_directions_of_any_link() {
    let (lab, whole) = up(LINE);
    for (link, [one, other]) in LINKS {
        lab.run("cut", &[link, "--silent"]);
        lab.run("cut", &[link, "--silent"]);
        for (from, to) in [(one, other), (other, one)] {
            let before = requests(&lab, to);
            drops(&lab, from, to);
            assert_eq!(requests(&lab, to), before, "{from} to {to}");
        }
        assert!(has_carrier(&lab, [one, other]), "{link}");
        assert_eq!(lab.json("status", &[])["faults"]["silent"], json!([link]));
        lab.run("heal", &[link]);
        passes(&lab, one, other);
    }
    assert_eq!(lab.json("status", &[]), whole);
}

pub(crate) fn silence_of_any_kind_is_routed_around() {
    let lab = Lab::new(
        "
  addressing: {cidrs: [10.98.0.0/16]}
  forwarders: [{name: a, node: n1}, {name: b, node: n1}, {name: c, node: n2}, {name: d, node: n3}]
  shape: Ring",
    );
    lab.run("up", &["-q"]);
    let whole = lab.json("status", &[]);
    let paths = || {
        let traced = lab.json("trace", &["a", "c"]);
        assert_eq!(traced["onComputedPath"], 64, "{traced}");
        traced["paths"].as_array().unwrap().len()
    };
    assert_eq!(paths(), 2);
    #[rustfmt::skip]
    let faults: [&[&str]; 4] = [
        &["cut", "a/b", "--silent"],
        &["cut", "b/c", "--silent"],
        &["one-way", "a/b"],
        &["one-way", "c/b"],
    ];
    for fault in faults {
        lab.run(fault[0], &fault[1..]);
        let status = lab.json("status", &[]);
        assert_eq!(status["problems"], json!([]), "{fault:?}");
        assert_eq!(status["forwarders"]["b"]["links"]["up"], 1, "{fault:?}");
        assert_eq!(paths(), 1, "{fault:?}");
        passes(&lab, "a", "c");
        // It stays when the lab is brought up to date.
        lab.run("up", &["-q"]);
        assert_eq!(paths(), 1, "{fault:?}");
        lab.run("heal", &[]);
        assert_eq!(paths(), 2, "{fault:?}");
    }
    assert_eq!(lab.json("status", &[]), whole);
}

pub(crate) fn one_way_drops_that_direction_alone() {
    let (lab, whole) = up(LINE);
    for (link, [one, other]) in LINKS {
        for (from, to) in [(one, other), (other, one)] {
            lab.run("one-way", &[&format!("{from}/{to}")]);
            let before = requests(&lab, to);
            drops(&lab, from, to);
            assert_eq!(requests(&lab, to), before, "{from} to {to}");
            let before = requests(&lab, from);
            drops(&lab, to, from);
            assert_eq!(requests(&lab, from), before + 2, "{to} to {from}");
            assert!(has_carrier(&lab, [one, other]), "{link}");
            lab.run("heal", &[link]);
            passes(&lab, from, to);
        }
    }
    assert_eq!(lab.json("status", &[]), whole);
}

pub(crate) fn a_frozen_daemon_stops_no_traffic_and_goes_on_when_healed() {
    let (lab, whole) = up(LINE);
    let process = daemon(&lab, "n1");
    lab.run("freeze", &["n1"]);
    lab.run("freeze", &["n1"]);
    wait_until("it stops", || state(&process) == Some('T'));
    passes(&lab, "a", "c");
    let status = lab.run("status", &[]);
    assert!(status.contains("daemon frozen: n1"), "{status}");
    lab.run("heal", &["n1"]);
    wait_until("it goes on", || state(&process) != Some('T'));
    assert_eq!(lab.json("status", &[]), whole);
    lab.run("cut", &["a/b"]);
    lab.run("heal", &[]);
    // Whoever brings a lab up wants its daemons at work.
    lab.run("freeze", &["n1"]);
    lab.run("up", &["-q"]);
    assert_eq!(lab.json("status", &[]), whole);
    assert_eq!(daemon(&lab, "n1"), process);
}

pub(crate) fn a_killed_daemon_stops_no_traffic_and_is_started_when_healed() {
    let (lab, whole) = up(LINE);
    let process = daemon(&lab, "n1");
    lab.run("kill", &["n1"]);
    lab.run("kill", &["n1"]);
    assert_eq!(state(&process), None);
    passes(&lab, "a", "c");
    let status = lab.run("status", &[]);
    assert!(status.contains("daemon killed: n1"), "{status}");
    lab.expect(1, "freeze", &["n1"]);
    lab.run("heal", &["n1"]);
    assert_ne!(daemon(&lab, "n1"), process);
    assert_eq!(lab.json("status", &[]), whole);
    lab.run("cut", &["a/b"]);
    lab.run("heal", &[]);
    lab.run("kill", &["n2", "--node"]);
    lab.run("up", &["-q"]);
    assert_eq!(lab.json("status", &[]), whole);
    passes(&lab, "a", "c");
}

pub(crate) fn a_partition_parts_links_and_underlay_in_silence() {
    let (lab, whole) = up(THREE);
    let record: Value =
        serde_json::from_slice(&fs::read(lab.state().join("lab.json")).unwrap()).unwrap();
    let reaches = |from: &str, number: u32| {
        let netns = record["hosts"][from]["netns"].as_str().unwrap();
        let address = format!("198.18.0.{number}");
        let mut ping = std::process::Command::new("ip");
        let ping = ping.args(["netns", "exec", netns, "ping", "-c1", "-W1", &address]);
        ping.output().unwrap().status.success()
    };
    #[rustfmt::skip]
    let partitions: [(&[&str], [bool; 2]); 3] = [
        // groups             a to b, b to c
        (&["n1"],             [false, true]),
        (&["n1,n2", "n3"],    [true, false]),
        (&["n1", "n2", "n3"], [false, false]),
    ];
    for (groups, expected) in partitions {
        lab.run("partition", groups);
        lab.run("partition", groups);
        for ((from, to), is_whole) in [("a", "b"), ("b", "c")].into_iter().zip(expected) {
            match is_whole {
                true => passes(&lab, from, to),
                false => drops(&lab, from, to),
            }
            assert!(has_carrier(&lab, [from, to]), "{groups:?}");
        }
        assert_eq!(reaches("n1", 2), expected[0], "{groups:?}");
        assert!(!reaches("n1", 3), "{groups:?}");
    }
    let status = lab.run("status", &[]);
    assert!(status.contains("partition: n1 | n2 | n3"), "{status}");
    lab.run("heal", &[]);
    passes(&lab, "a", "c");
    // Sessions come up after slow start.
    wait_until("all links are up again", || {
        lab.json("status", &[]) == whole
    });
    // One group of all is whole, and `up` joins the groups too.
    lab.run("partition", &["n1"]);
    lab.run("partition", &["n1,n2,n3"]);
    passes(&lab, "a", "c");
    lab.run("partition", &["n1"]);
    lab.run("up", &["-q"]);
    passes(&lab, "a", "c");
    assert_eq!(lab.json("status", &[]), whole);
    lab.expect(2, "partition", &["n1,n2", "n2"]);
}

pub(crate) fn a_flapping_link_ends_as_it_began() {
    let (lab, whole) = up(LINE);
    let changes = || {
        let words = ["a", "--", "ip", "-s", "-s", "-j", "link", "show", "l-b"];
        let text = lab.run("exec", &words);
        let link: Value = serde_json::from_str(&text).unwrap();
        link[0]["stats64"]["tx"]["carrier_changes"]
            .as_u64()
            .unwrap()
    };
    let before = changes();
    lab.run("flap", &["a/b", "--times", "5", "--hz", "10"]);
    assert_eq!(changes() - before, 10, "five times down and up");
    assert_eq!(lab.json("status", &[]), whole);
    passes(&lab, "a", "c");
    // Other verbs work meanwhile, and a killed one is finished by `heal`.
    let flap = ["b/c", "--silent", "--times", "500", "--hz", "1"];
    let mut flap = lab.command("flap", &flap).spawn().unwrap();
    let silent = || lab.json("status", &[])["faults"]["silent"] != json!([]);
    wait_until("it begins", silent);
    lab.run("cut", &["a/b"]);
    lab.expect(1, "flap", &["a/b"]);
    wait_until("it is cut again", silent);
    flap.kill().unwrap();
    flap.wait().unwrap();
    lab.run("heal", &[]);
    assert_eq!(lab.json("status", &[]), whole);
    passes(&lab, "a", "c");
}

pub(crate) fn a_burn_is_bounded_and_ended_by_heal() {
    let (lab, whole) = up(LINE);
    lab.run("burn", &["--for", "100ms", "--threads", "1"]);
    assert_eq!(lab.json("status", &[]), whole, "it has ended");
    let burn = ["--for", "600s", "--threads", "2"];
    let mut burn = lab
        .command("burn", &burn)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let told = || lab.json("status", &[])["faults"]["burn"]["process"] == burn.id();
    wait_until("it burns", told);
    let busy = || {
        let tasks = fs::read_dir(format!("/proc/{}/task", burn.id())).unwrap();
        let is_busy = |path: &str| {
            let stat = fs::read_to_string(path).unwrap_or_default();
            stat.contains(") R ")
        };
        let paths = tasks.map(|it| it.unwrap().path().join("stat").display().to_string());
        paths.filter(|path| is_busy(path)).count()
    };
    wait_until("both threads are busy", || busy() == 2);
    lab.expect(1, "burn", &["--for", "1s"]);
    let status = lab.run("status", &[]);
    assert!(status.contains("burning: 2 threads"), "{status}");
    lab.run("heal", &[]);
    assert!(!burn.wait().unwrap().success());
    assert_eq!(lab.json("status", &[]), whole);
}

pub(crate) fn a_slow_link_carries_no_more_than_its_rate() {
    let (lab, whole) = up(LINE);
    let queue = |at: &str, peer: &str| {
        let interface = format!("l-{peer}");
        let words = [at, "--", "tc", "qdisc", "show", "dev", &interface];
        lab.run("exec", &words)
    };
    let lost = || {
        let ping = ["a", "b", "-c", "400", "-i", "1ms", "-W", "200ms"];
        lab.json("ping", &ping)["lost"].as_u64().unwrap()
    };
    for (link, [one, other]) in LINKS {
        lab.run("slow", &[link, "--rate", "10mbit", "--delay", "20ms"]);
        lab.run("slow", &[link, "--rate", "64kbit"]);
        for (at, peer) in [(one, other), (other, one)] {
            let shown = queue(at, peer);
            assert!(
                shown.contains("tbf") && shown.contains("rate 64Kbit"),
                "{shown}"
            );
        }
        if link == "a/b" {
            assert_ne!(lost(), 0);
        }
        lab.run("heal", &[link]);
        assert!(!queue(one, other).contains("tbf"));
    }
    assert_eq!(lost(), 0);
    assert_eq!(lab.json("status", &[]), whole);
    lab.expect(2, "slow", &["a/b"]);
    lab.expect(2, "slow", &["a/b", "--rate", "fast"]);
}

pub(crate) fn a_verb_killed_at_any_point_is_undone_by_heal() {
    // Silence is noticed so late that no link is suspected, nor rests after it.
    let (lab, whole) = up(&format!(
        "{LINE}\n  liveness: {{interval: 10s, multiplier: 10}}"
    ));
    let started = Instant::now();
    lab.run("status", &[]);
    let time = started.elapsed();
    #[rustfmt::skip]
    let verbs: [(&str, &[&str]); 7] = [
        ("cut", &["b/c", "--silent"]),
        ("one-way", &["c/b"]),
        ("slow", &["a/b", "--rate", "1mbit"]),
        ("partition", &["n1"]),
        ("kill", &["b"]),
        ("freeze", &["n2"]),
        ("kill", &["n2"]),
    ];
    for (verb, arguments) in verbs {
        for part in 1..6 {
            let mut running = lab.command(verb, arguments);
            let running = running.stdout(Stdio::null()).stderr(Stdio::null());
            let mut running = running.spawn().unwrap();
            std::thread::sleep(time * part / 6);
            running.kill().unwrap();
            running.wait().unwrap();
            if part % 2 == 0 {
                // Nor does half of a repair matter.
                let mut heal = lab.command("heal", &[]);
                let mut heal = heal.stdout(Stdio::null()).spawn().unwrap();
                std::thread::sleep(time * part / 12);
                heal.kill().unwrap();
                heal.wait().unwrap();
            }
            lab.run("heal", &[]);
            assert_eq!(lab.json("status", &[]), whole, "{verb} {arguments:?}");
            passes(&lab, "a", "c");
        }
    }
    for forwarder in ["a", "b", "c"] {
        let tables = lab.run("exec", &[forwarder, "--", "nft", "list", "ruleset"]);
        assert_eq!(tables, "", "{forwarder}");
    }
}

pub(crate) fn unknown_names_are_refused_with_the_nearest_one() {
    let (lab, whole) = up(LINE);
    let two = ["--rate", "1mbit"];
    #[rustfmt::skip]
    let cases: [(&str, &[&str], &str); 8] = [
        ("cut",       &["a/bb", "--silent"],    "a/b"),
        ("one-way",   &["b/cc"],                "b/c"),
        ("slow",      &["a/bb", two[0], two[1]], "a/b"),
        ("flap",      &["a/bb"],                "a/b"),
        ("freeze",    &["n11"],                 "n1"),
        ("partition", &["n1,n22"],              "n2"),
        ("kill",      &["n11"],                 "n1"),
        ("heal",      &["n11"],                 "n1"),
    ];
    for (verb, arguments, nearest) in cases {
        let output = lab.expect(3, verb, arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        let hint = format!("did you mean {nearest:?}?");
        assert!(text.contains(&hint), "{verb} {arguments:?}: {text}");
    }
    assert_eq!(lab.json("status", &[]), whole);
}
