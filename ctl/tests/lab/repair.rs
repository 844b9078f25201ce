//! `up` repairs what is not as declared, and says that a lab is up when it has seen it.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::world::Lab;

const PAIR: &str = "
  addressing: {cidrs: [10.94.0.0/16, \"fd00:94::/48\"]}
  forwarders: [{name: a, node: n1}, {name: b, node: n2}]
  shape: Line
  apps:
    - {name: left, podSelector: {matchLabels: {app: left}}, forwarder: a}
    - {name: right, podSelector: {matchLabels: {app: right}}, forwarder: b}";

fn netns(status: &Value, kind: &str, name: &str) -> String {
    status[kind][name]["netns"].as_str().unwrap().to_owned()
}

pub(crate) fn an_instance_without_its_interface_is_attached_again() {
    let lab = Lab::new(PAIR);
    lab.run("up", &["-q"]);
    let pings = || {
        for family in ["-4", "-6"] {
            lab.run("ping", &["left", "right", "-c", "2", family]);
        }
    };
    pings();
    #[rustfmt::skip]
    let broken: [&[&str]; 2] = [
        &["left-0", "--", "ip", "link", "del", "eth0"],
        &["left-0", "--", "ip", "address", "flush", "dev", "eth0"],
    ];
    for words in broken {
        lab.run("exec", words);
        let status = lab.expect(1, "status", &[]);
        let text = String::from_utf8_lossy(&status.stdout).into_owned();
        assert!(
            text.contains("problem: ") && text.contains("left-0"),
            "{words:?}: {text}"
        );
        lab.run("up", &["-q"]);
        pings();
        let status = lab.json("status", &[]);
        assert_eq!(status["problems"], serde_json::json!([]), "{words:?}");
    }
    // The daemon sees the interface come up, and puts back by itself what went with it.
    let down = "ip link set eth0 down; ip -6 route flush dev eth0; ip link set eth0 up";
    lab.run("exec", &["left-0", "--", "sh", "-c", down]);
    let deadline = Instant::now() + Duration::from_secs(60);
    while lab.json("status", &[])["problems"] != serde_json::json!([]) {
        assert!(Instant::now() < deadline, "it is not put back");
    }
    pings();
}

pub(crate) fn instances_of_a_rebuilt_forwarder_are_attached_again() {
    let lab = Lab::new(PAIR);
    lab.run("up", &["-q"]);
    let status = lab.json("status", &[]);
    dataplane::netns::delete(&netns(&status, "forwarders", "a")).unwrap();
    lab.run("up", &["-q"]);
    lab.run("ping", &["left", "right", "-c", "2"]);
}

pub(crate) fn pods_routes_that_went_are_there_after_up() {
    let lab = Lab::new(PAIR);
    lab.run("up", &["-q"]);
    let status = lab.json("status", &[]);
    let addresses = status["apps"]["left-0"]["addresses"].as_array().unwrap();
    for address in addresses.iter().map(|it| it.as_str().unwrap()) {
        lab.run("exec", &["a", "--", "ip", "route", "del", address]);
    }
    lab.run("up", &["-q"]);
    for family in ["-4", "-6"] {
        lab.run("ping", &["right", "left", "-c", "2", family]);
    }
}

pub(crate) fn logs_in_files_have_no_colours() {
    let lab = Lab::new(PAIR);
    lab.run("up", &["-q"]);
    let mut lines = 0;
    for node in fs::read_dir(lab.state().join("nodes")).unwrap().flatten() {
        let log = fs::read_to_string(node.path().join("log")).unwrap();
        assert!(!log.contains('\u{1b}'), "{log}");
        lines += log.lines().count();
    }
    assert!(lines > 0, "the daemons say something");
}
