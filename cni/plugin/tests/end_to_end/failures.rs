//! Promises of each verb after a failure.

use std::fs;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use cni::node_protocol::Reply;
use serde_json::json;

use crate::agent::Mode;
use crate::lab::{Lab, add_pair, ip, run, spawn, wait_for};

const VERSION: &str = "1.1.0";

pub(crate) fn taken_interface_name_is_refused_and_left() {
    let lab = Lab::new();
    ip(&lab.pod, "link add eth0 type veth peer name peer0");
    let before = lab.census();
    let error = lab.call("ADD", &lab.config(VERSION)).fails_with(101);
    assert!(
        error["details"].as_str().unwrap().contains("eth0"),
        "{error}"
    );
    assert_eq!(lab.census(), before);
    assert!(lab.agent().state().leases.is_empty());
}

pub(crate) fn failed_wiring_leaves_nothing() {
    let lab = Lab::new();
    // The address is another attachment's: the route to it cannot be made.
    add_pair(&lab.forwarder);
    ip(&lab.forwarder, "route add 10.80.1.77/32 dev other");
    lab.agent().state().address = Some("10.80.1.77/32");
    let before = lab.census();
    let error = lab.call("ADD", &lab.config(VERSION)).fails_with(105);
    assert!(
        error["details"].as_str().unwrap().contains("10.80.1.77"),
        "{error}"
    );
    assert_eq!(lab.census(), before);
    assert!(lab.agent().state().leases.is_empty());
    assert_eq!(lab.queued(), 0);
}

pub(crate) fn a_route_of_another_is_left_also_where_ipv6_is_off() {
    for is_off in ["0", "1"] {
        let lab = Lab::new();
        let setting = format!("net.ipv6.conf.default.disable_ipv6={is_off}");
        let sysctl = ["netns", "exec", &lab.pod, "sysctl", "-qw", &setting];
        assert!(Command::new("ip").args(sysctl).status().unwrap().success());
        // The cluster's network, say.
        add_pair(&lab.pod);
        ip(&lab.pod, "route add 10.80.0.0/16 dev other");
        let before = lab.census();
        let error = lab.call("ADD", &lab.config(VERSION)).fails_with(105);
        let details = error["details"].as_str().unwrap();
        assert!(details.contains("route 10.80.0.0/16"), "{error}");
        assert_eq!(lab.census(), before, "disable_ipv6={is_off}");
        ip(&lab.pod, "route del 10.80.0.0/16");
        lab.call("ADD", &lab.config(VERSION)).succeeds();
    }
}

pub(crate) fn failed_confirmation_leaves_nothing() {
    let later = Reply::TryLater {
        reason: "journal is full".into(),
    };
    let modes = [Mode::HangUp("confirm"), Mode::Answer("confirm", later)];
    for mode in modes {
        let lab = Lab::new();
        let before = lab.census();
        lab.agent().set(mode.clone());
        lab.call("ADD", &lab.config(VERSION)).fails_with(11);
        assert_eq!(lab.census(), before, "{mode:?}");
        assert!(lab.agent().state().leases.is_empty(), "{mode:?}");
        assert_eq!(lab.queued(), 0, "{mode:?}");
        lab.agent().set(Mode::Serve);
        lab.call("ADD", &lab.config(VERSION)).succeeds();
    }
}

pub(crate) fn refusals_of_the_node_become_codes() {
    let lab = Lab::new();
    let before = lab.census();
    let refused = |code| Reply::Refused {
        code,
        message: "because".into(),
    };
    let answers = [
        (
            Mode::Answer(
                "claim",
                Reply::TryLater {
                    reason: "starting".into(),
                },
            ),
            11,
        ),
        (Mode::Answer("claim", refused(102)), 102),
        (Mode::Answer("claim", refused(103)), 103),
        (Mode::Answer("claim", refused(4711)), 106),
        (Mode::Answer("claim", Reply::Done), 106),
        (Mode::Garble, 106),
        (Mode::HangUp("claim"), 11),
    ];
    for (mode, code) in answers {
        lab.agent().set(mode.clone());
        lab.call("ADD", &lab.config(VERSION)).fails_with(code);
        assert_eq!(lab.census(), before, "{mode:?}");
        // Chained, a doubt is no reason to go on without us.
        let config = lab.config_with(VERSION, "prevResult", json!({"interfaces": []}));
        lab.call("ADD", &config).fails_with(code);
    }
    lab.agent().set(Mode::Serve);
    for previous in [json!("text"), json!({"interfaces": 7}), json!({"ips": {}})] {
        let config = lab.config_with(VERSION, "prevResult", previous);
        lab.call("ADD", &config).fails_with(7);
        assert_eq!(lab.census(), before);
        assert!(lab.agent().state().leases.is_empty());
    }
}

pub(crate) fn detaching_without_a_node_is_remembered_and_told_before_the_next_claim() {
    let mut lab = Lab::new();
    let before = lab.census();
    lab.call("ADD", &lab.config(VERSION)).succeeds();
    lab.agent = None;
    for _ in 0..2 {
        lab.call("DEL", &lab.config(VERSION)).says_nothing();
    }
    assert_eq!(lab.census(), before);
    assert_eq!(lab.queued(), 1);
    lab.call("ADD", &lab.config(VERSION)).fails_with(11);
    assert_eq!(lab.queued(), 1);

    lab.restart_agent();
    lab.call("ADD", &lab.config(VERSION)).succeeds();
    assert_eq!(lab.queued(), 0);
    let first = format!("{:?}", lab.agent().state().requests[0]);
    assert!(first.starts_with("Release"), "{first}");

    // Neither a node nor a place to write: nothing is left in the kernel, so the pod can be deleted, and the node frees the
    // lease when the namespace is gone or at a GC.
    lab.agent = None;
    fs::write(lab.state_dir().join("file"), "").unwrap();
    let config = lab.config_with(VERSION, "stateDir", json!(lab.state_dir().join("file")));
    lab.call("DEL", &config).says_nothing();
    assert_eq!(lab.census(), before);
}

pub(crate) fn hundreds_of_detachments_wait_for_a_node() {
    let mut lab = Lab::new();
    lab.agent = None;
    for number in 0..300 {
        let mut command = lab.command("DEL");
        command.env("CNI_CONTAINERID", format!("c{number}"));
        run(command, lab.config(VERSION).to_string().as_bytes()).says_nothing();
    }
    assert_eq!(lab.queued(), 300);
}

pub(crate) fn silent_node_delays_detaching_by_less_than_a_second() {
    let lab = Lab::new();
    let before = lab.census();
    lab.call("ADD", &lab.config(VERSION)).succeeds();
    lab.agent().set(Mode::Stall {
        on: "release",
        after: false,
    });
    lab.call("DEL", &lab.config(VERSION)).says_nothing();
    assert_eq!(lab.census(), before);
    assert_eq!(lab.queued(), 1);
}

pub(crate) fn silent_node_ends_attaching_after_ten_seconds() {
    let lab = Lab::new();
    let before = lab.census();
    lab.agent().set(Mode::Stall {
        on: "confirm",
        after: false,
    });
    let start = Instant::now();
    lab.call("ADD", &lab.config(VERSION)).fails_with(11);
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(10), "{took:?}");
    assert_eq!(lab.census(), before);
    wait_for("it is taken back", || lab.agent().state().leases.is_empty());
}

pub(crate) fn killed_at_each_point_a_retry_succeeds_and_nothing_is_left() {
    let points = [
        (
            "ADD",
            Mode::Stall {
                on: "claim",
                after: false,
            },
        ),
        (
            "ADD",
            Mode::Stall {
                on: "claim",
                after: true,
            },
        ),
        (
            "ADD",
            Mode::Stall {
                on: "confirm",
                after: false,
            },
        ),
        (
            "DEL",
            Mode::Stall {
                on: "release",
                after: false,
            },
        ),
        (
            "DEL",
            Mode::Stall {
                on: "release",
                after: true,
            },
        ),
    ];
    for (verb, mode) in points {
        let lab = Lab::new();
        let before = lab.census();
        let config = lab.config(VERSION);
        if verb == "DEL" {
            lab.call("ADD", &config).succeeds();
        }
        lab.agent().set(mode.clone());
        let mut child = spawn(lab.command(verb), config.to_string().as_bytes());
        lab.agent().wait_for("stalled");
        kill(&mut child);
        lab.agent().set(Mode::Serve);
        lab.agent().wait_for("hung up");
        if verb == "ADD" {
            assert_eq!(lab.census(), before, "{mode:?}: the node has undone it");
            lab.call("ADD", &config).succeeds();
        }
        lab.call("DEL", &config).says_nothing();
        assert_eq!(lab.census(), before, "{verb} {mode:?}");
        lab.wait_until_released();
    }
}

pub(crate) fn killed_at_random_a_retry_succeeds_and_nothing_is_left() {
    let lab = Lab::new();
    let before = lab.census();
    let config = lab.config(VERSION);
    for round in 0..60_u64 {
        let verb = if round % 2 == 0 { "ADD" } else { "DEL" };
        if verb == "DEL" {
            lab.call("ADD", &config).succeeds();
        }
        let mut child = spawn(lab.command(verb), config.to_string().as_bytes());
        // Not a wait for anything: the point of the kill is what varies.
        thread::sleep(Duration::from_micros(150 * round));
        kill(&mut child);
        if verb == "ADD" {
            // The kill may have come after the end: then the retry is a second ADD, which is refused.
            let answer = lab.call("ADD", &config);
            assert!(matches!(answer.code, 0 | 101), "{round}: {}", answer.stderr);
        }
        lab.call("DEL", &config).says_nothing();
        assert_eq!(lab.census(), before, "{round}");
        lab.wait_until_released();
    }
    let orphans = fs::read_dir(lab.state_dir().join("del")).map_or(0, Iterator::count);
    assert_eq!(orphans, 0);
}

fn kill(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

pub(crate) fn leftovers_of_a_killed_attempt_are_replaced() {
    let mut lab = Lab::new();
    let before = lab.census();
    lab.call("ADD", &lab.config(VERSION)).succeeds();
    // A node that has forgotten all gives the same interface name again.
    lab.restart_agent();
    lab.call("ADD", &lab.config(VERSION)).succeeds();
    lab.call("DEL", &lab.config(VERSION)).says_nothing();
    assert_eq!(lab.census(), before);
    // The same name without our mark is somebody else's.
    lab.restart_agent();
    ip(
        &lab.forwarder,
        "link add app000000000002 type veth peer name peer0",
    );
    lab.call("ADD", &lab.config(VERSION)).fails_with(101);
    assert!(ip(&lab.forwarder, "-o link").contains("app000000000002@"));
}

pub(crate) fn attaches_and_detaches_many_pods_at_once() {
    let mut lab = Lab::new();
    let pods: Vec<_> = (0..30)
        .map(|number| lab.add_pod(&format!("m{number}")))
        .collect();
    let before = lab.census();
    for verb in ["ADD", "DEL"] {
        let (lab, config) = (&lab, lab.config(VERSION).to_string());
        let commands = pods.iter().map(|pod| {
            let mut command = lab.command(verb);
            let netns = dataplane::netns::path(pod);
            command.env("CNI_CONTAINERID", pod).env("CNI_NETNS", netns);
            command
        });
        let commands: Vec<_> = commands.collect();
        thread::scope(|scope| {
            for command in commands {
                let config = &config;
                scope.spawn(move || run(command, config.as_bytes()).succeeds());
            }
        });
    }
    assert_eq!(lab.census(), before);
    lab.wait_until_released();
}
