//! Requests that pass or fail while no daemon answers.

use std::fs;
use std::process::Command;

use cni::known;
use cni::node_protocol::{Reply, Request};
use serde_json::{Value, json};

use crate::agent::Mode;
use crate::lab::{Answer, Lab, run};

const VERSION: &str = "1.1.0";

/// ADD of a pod of `namespace` with this uid.
fn add(lab: &Lab, config: &Value, namespace: &str, uid: &str) -> Answer {
    run(
        command(lab, "ADD", namespace, uid),
        config.to_string().as_bytes(),
    )
}

fn command(lab: &Lab, verb: &str, namespace: &str, uid: &str) -> Command {
    let mut command = lab.command(verb);
    let pod = format!("K8S_POD_NAMESPACE={namespace};K8S_POD_NAME=p;K8S_POD_UID={uid}");
    command.env("CNI_ARGS", format!("IgnoreUnknown=1;{pod}"));
    command
}

fn keep(lab: &Lab, content: &str) {
    fs::create_dir_all(lab.state_dir()).unwrap();
    fs::write(known::path(&lab.state_dir()), content).unwrap();
}

pub(crate) fn who_is_known_not_to_be_ours_passes_and_nobody_else() {
    let mut lab = Lab::new();
    lab.agent = None;
    let before = lab.census();
    let previous = json!({"cniVersion": VERSION, "ips": [{"address": "10.1.1.1/24"}], "more": [1]});
    let chained = lab.config_with(VERSION, "prevResult", previous.clone());
    let whole = r#"{"namespaces":["plant"],"notOurs":["u1"]}"#;
    let all = r#"{"namespaces":["*"],"notOurs":["u1"]}"#;
    #[rustfmt::skip]
    let cases = [
        // file                  namespace  uid   passes
        (whole,                  "office",  "u2", true),
        (whole,                  "plant",   "u2", false),
        (whole,                  "plant",   "u1", true),
        (all,                    "office",  "u2", false),
        (all,                    "office",  "u1", true),
        (&whole[..20],           "office",  "u2", false),
        ("",                     "office",  "u2", false),
        (r#"{"namespaces":[]}"#, "office",  "u2", false),
    ];
    for (file, namespace, uid, passes) in cases {
        keep(&lab, file);
        let answer = add(&lab, &chained, namespace, uid);
        match passes {
            true => assert_eq!(
                answer.succeeds().json(),
                previous,
                "{file} {namespace} {uid}"
            ),
            false => drop(answer.fails_with(11)),
        }
        // Alone there is no result to pass on.
        add(&lab, &lab.config(VERSION), namespace, uid).fails_with(11);
    }
    fs::remove_file(known::path(&lab.state_dir())).unwrap();
    add(&lab, &chained, "office", "u2").fails_with(11);
    keep(&lab, whole);
    let mut nobody = lab.command("ADD");
    nobody.env_remove("CNI_ARGS");
    run(nobody, chained.to_string().as_bytes()).fails_with(11);
    assert_eq!(lab.census(), before);
}

pub(crate) fn a_node_that_says_nothing_is_no_better_than_none() {
    let lab = Lab::new();
    let before = lab.census();
    keep(&lab, r#"{"namespaces":["plant"],"notOurs":[]}"#);
    let previous = json!({"cniVersion": VERSION, "more": [1]});
    let chained = lab.config_with(VERSION, "prevResult", previous.clone());
    let passes = |mode| {
        lab.agent().set(mode);
        let answer = add(&lab, &chained, "office", "u2");
        assert_eq!(answer.succeeds().json(), previous);
    };
    passes(Mode::HangUp("claim"));
    add(&lab, &chained, "plant", "u2").fails_with(11);
    lab.agent().set(Mode::HangUp("release"));
    lab.call("DEL", &chained).says_nothing();
    passes(Mode::HangUp("release"));
    assert_eq!(lab.queued(), 1, "the node is still to be told");
    // The longest that it can take; what was claimed meanwhile goes with the plugin.
    passes(Mode::Stall {
        on: "claim",
        after: true,
    });
    lab.agent().wait_for("stalled");
    while !lab.agent().state().leases.is_empty() {
        lab.agent().wait_for("hung up");
    }
    assert_eq!(lab.census(), before);
    // A word of the node is newer than what was known before.
    let reason = "its forwarder is being made".to_owned();
    let later = Reply::TryLater { reason };
    lab.agent().set(Mode::Answer("claim", later));
    add(&lab, &chained, "office", "u2").fails_with(11);
}

pub(crate) fn a_delegate_of_one_topology_never_passes() {
    let mut lab = Lab::new();
    let mut config = lab.config_with(VERSION, "topology", json!("plant/iot"));
    lab.call("ADD", &config).succeeds();
    let asked = lab.agent().state().requests.clone();
    let claimed = asked.iter().find_map(|request| match request {
        Request::Claim(claim) => claim.topology.clone(),
        _ => None,
    });
    assert_eq!(claimed.as_deref(), Some("plant/iot"));
    for wrong in [json!("iot"), json!("/iot"), json!(7), json!("a/b/c")] {
        let config = lab.config_with(VERSION, "topology", wrong);
        lab.call("ADD", &config).fails_with(7);
    }
    lab.agent = None;
    keep(&lab, r#"{"namespaces":[],"notOurs":[]}"#);
    config["prevResult"] = json!({"cniVersion": VERSION});
    lab.call("ADD", &config).fails_with(11);
    config["topology"] = Value::Null;
    lab.call("ADD", &config).succeeds();
}

pub(crate) fn detaching_tells_the_node_the_pod_also_later() {
    let mut lab = Lab::new();
    let config = lab.config(VERSION);
    let delete = |lab: &Lab| {
        run(
            command(lab, "DEL", "plant", "u1"),
            config.to_string().as_bytes(),
        )
    };
    delete(&lab).says_nothing();
    let asked = lab.agent().state().requests.clone();
    let told = asked.iter().find_map(|request| match request {
        Request::Release { pod, .. } => pod.clone(),
        _ => None,
    });
    assert_eq!(told.and_then(|pod| pod.uid).as_deref(), Some("u1"));
    lab.agent = None;
    delete(&lab).says_nothing();
    let (queued, _) = cni::queue::list(&lab.state_dir()).unwrap();
    let uids: Vec<_> = queued
        .iter()
        .map(|(_, record)| record.pod.as_ref()?.uid.as_deref())
        .collect();
    assert_eq!(uids, [Some("u1")]);
}
