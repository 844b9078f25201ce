//! What dies does not leave anything behind, nor lose what went through.

use std::process::Stdio;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::world::Lab;

const TRIANGLE: &str = "
  addressing: {cidrs: [10.92.0.0/16, \"fd00:92::/48\"]}
  forwarders: [{name: a, node: n1}, {name: b, node: n2}, {name: c, node: n1}]
  shape: Ring
  apps:
    - {name: left, podSelector: {matchLabels: {app: left}}, forwarder: a}
    - {name: right, podSelector: {matchLabels: {app: right}}, forwarder: b}";

pub(crate) fn up_killed_at_any_point_is_cleaned_up_by_down() {
    let lab = Lab::new(TRIANGLE);
    // How long all of it takes here and now, to hit every part of it.
    let started = Instant::now();
    lab.run("up", &["-q"]);
    let whole = started.elapsed();
    lab.run("down", &[]);
    const ROUNDS: u32 = 16;
    for round in 0..ROUNDS {
        let mut up = lab
            .command("up", &["-q"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(whole * round / (ROUNDS - 1));
        up.kill().unwrap();
        up.wait().unwrap();
        if round % 2 == 0 {
            lab.run("down", &[]);
            assert_eq!(lab.remains(), Vec::<String>::new(), "round {round}");
        } else {
            // Or by the next one.
            lab.run("up", &["-q"]);
            lab.run("ping", &["left", "right", "-c", "1"]);
            lab.run("down", &[]);
            assert_eq!(lab.remains(), Vec::<String>::new(), "round {round}");
        }
    }
}

pub(crate) fn killed_daemons_are_started_again_and_no_ping_is_lost() {
    let lab = Lab::new(TRIANGLE);
    lab.run("up", &["-q"]);
    let before = lab.json("status", &[]);
    let ping = ["left", "right", "-c", "2000", "-i", "1ms", "-o", "json"];
    let ping = lab
        .command("ping", &ping)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let daemons = lab.processes();
    assert_eq!(daemons.len(), 2);
    for id in daemons {
        kill(Pid::from_raw(id), Signal::SIGKILL).unwrap();
    }
    lab.run("up", &["-q"]);
    assert_eq!(lab.processes().len(), 2);
    let output = ping.wait_with_output().unwrap();
    let pinged: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(pinged["lost"], 0, "{pinged}");
    assert_eq!(lab.json("status", &[]), before);
    // The new ones do their work.
    lab.run("cut", &["a/b"]);
    lab.run("ping", &["left", "right", "-c", "2"]);
}

pub(crate) fn down_ends_a_lab_whose_daemons_are_dead() {
    let lab = Lab::new(TRIANGLE);
    lab.run("up", &["-q"]);
    for id in lab.processes() {
        kill(Pid::from_raw(id), Signal::SIGKILL).unwrap();
    }
    lab.run("down", &[]);
    assert_eq!(lab.remains(), Vec::<String>::new());
}
