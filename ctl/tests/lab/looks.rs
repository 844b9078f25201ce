//! The verbs of a cluster, against a running lab.

use std::process::{Command, Output};

use serde_json::Value;

use crate::world::{Lab, program};

/// Two ways of equal weight between the Apps, over three nodes.
const SQUARE: &str = "
  addressing: {cidrs: [10.98.0.0/16, \"fd00:98::/48\"]}
  forwarders: [{name: a, node: n1}, {name: b, node: n2}, {name: c, node: n3}, {name: d, node: n3}]
  shape: Ring
  apps:
    - {name: left, podSelector: {matchLabels: {app: left}}, forwarder: a}
    - {name: right, podSelector: {matchLabels: {app: right}}, forwarder: c}";

fn beemesh(lab: &Lab, verb: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program());
    command
        .arg(verb)
        .arg("-f")
        .arg(lab.file())
        .args(arguments)
        .args(["-o", "json"]);
    command.output().unwrap()
}

/// What a verb prints, with the exit code that it must end with.
fn told(lab: &Lab, code: i32, verb: &str, arguments: &[&str]) -> Value {
    let output = beemesh(lab, verb, arguments);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{verb} {arguments:?}: {output:?}"
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

pub(crate) fn a_lab_is_validated_traced_and_checked_as_a_cluster_is() {
    let lab = Lab::new(SQUARE);
    lab.run("up", &["-q", "--instances", "left=2"]);

    let report = told(&lab, 0, "validate", &["--traffic"]);
    let layers = report["topologies"][0]["layers"].as_array().unwrap();
    let states: Vec<(&str, &str, u64)> = layers
        .iter()
        .map(|it| {
            let word = |field: &str| it[field].as_str().unwrap();
            (
                word("against"),
                word("state"),
                it["checked"].as_u64().unwrap(),
            )
        })
        .collect();
    // Three instances, six pairs, two families.
    assert_eq!(
        states,
        [
            ("reported", "ok", 4),
            ("kernel", "ok", 4),
            ("traffic", "ok", 12)
        ]
    );

    for family in ["-4", "-6"] {
        let traced = told(&lab, 0, "trace", &["left-1", "right", family]);
        assert_eq!(traced["onComputedPath"], 16, "{traced}");
        let hops = |way: &Value| way["hops"].as_array().unwrap().len();
        assert!(
            traced["paths"]
                .as_array()
                .unwrap()
                .iter()
                .all(|way| hops(way) == 3),
            "{traced}"
        );
    }
    let clean = told(&lab, 0, "check", &[]);
    assert_eq!(clean["counts"]["namespaces"], 4, "{clean}");
    assert_eq!(clean["counts"]["leases"], 3, "{clean}");
    assert_eq!(told(&lab, 0, "gc", &[])["removed"], serde_json::json!([]));

    // Nobody reports a silent cut: only the traffic knows.
    let silent = lab.command("cut", &["a/b", "--silent"]).status().unwrap();
    assert!(silent.success());
    let silent = lab.command("cut", &["a/d", "--silent"]).status().unwrap();
    assert!(silent.success());
    let report = told(&lab, 1, "validate", &["--traffic"]);
    let layers = &report["topologies"][0]["layers"];
    assert_eq!(
        (&layers[1]["state"], &layers[2]["state"]),
        (&"ok".into(), &"differs".into()),
        "{report}"
    );
    assert_eq!(
        layers[2]["differences"].as_array().unwrap().len(),
        8,
        "{report}"
    );
    let traced = told(&lab, 1, "trace", &["left-0", "right", "--flows", "2"]);
    assert_eq!(traced["paths"][0]["departsAfter"], "a", "{traced}");
}

pub(crate) fn verbs_without_their_lab_say_how_to_start_it() {
    let lab = Lab::new(SQUARE);
    for verb in ["validate", "check", "gc"] {
        let output = beemesh(&lab, verb, &[]);
        assert_eq!(output.status.code(), Some(3), "{verb}");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("beemesh lab up"),
            "{verb}"
        );
    }
}
