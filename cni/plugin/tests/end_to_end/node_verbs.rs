//! GC and STATUS, the verbs of CNI 1.1 that concern the whole node.

use cni::node_protocol::Reply;
use serde_json::{Value, json};

use crate::agent::Mode;
use crate::lab::{Lab, ip, run};

pub(crate) fn collects_what_is_not_valid_and_nothing_else() {
    let mut lab = Lab::new();
    let before = lab.census();
    lab.call("ADD", &lab.config("1.1.0")).succeeds();
    let kept = lab.add_pod("kept");
    let mut command = lab.command("ADD");
    command
        .env("CNI_CONTAINERID", "kept")
        .env("CNI_NETNS", dataplane::netns::path(&kept));
    run(command, lab.config("1.1.0").to_string().as_bytes()).succeeds();
    let list = json!([{"containerID": "kept", "ifname": "eth0"}]);

    let missing = lab.config("1.1.0");
    for (config, code) in [
        (missing, 7),
        (
            lab.config_with("1.1.0", "cni.dev/valid-attachments", json!({})),
            7,
        ),
        (
            lab.config_with(
                "1.1.0",
                "cni.dev/valid-attachments",
                json!([{"ifname": "eth0"}]),
            ),
            7,
        ),
        (
            lab.config_with("1.0.0", "cni.dev/valid-attachments", list.clone()),
            1,
        ),
    ] {
        lab.call("GC", &config).fails_with(code);
    }
    let mut other = lab.config_with("1.1.0", "cni.dev/valid-attachments", json!([]));
    other["name"] = "another".into();
    lab.call("GC", &other).says_nothing();
    assert_eq!(
        lab.agent().state().leases.len(),
        2,
        "another network's GC frees nothing here"
    );

    lab.call(
        "GC",
        &lab.config_with("1.1.0", "cni.dev/valid-attachments", list),
    )
    .says_nothing();
    assert!(!lab.has_interface("eth0"));
    assert!(ip(&kept, "-o link").contains(" eth0@"));
    lab.call(
        "GC",
        &lab.config_with("1.1.0", "cni.dev/attachments", Value::Null),
    )
    .says_nothing();
    assert!(lab.agent().state().leases.is_empty());
    let forwarder = &before[..before.find(&lab.pod).unwrap()];
    assert!(lab.census().starts_with(forwarder));
}

pub(crate) fn status_fails_only_where_no_pod_could_start() {
    let mut lab = Lab::new();
    let config = lab.config("1.1.0");
    let delegate = lab.config_with("1.1.0", "topology", json!("plant/iot"));
    let answer = lab.call("STATUS", &config).says_nothing();
    assert_eq!(answer.stderr, "");
    let status = |ready, degraded: Option<&str>| {
        let degraded = degraded.map(str::to_owned);
        Mode::Answer("status", Reply::Status { ready, degraded })
    };
    let says = |lab: &Lab, reason: &str| {
        let answer = lab.call("STATUS", &config).says_nothing();
        assert!(answer.stderr.contains(reason), "{}", answer.stderr);
    };
    // Of some pods: the others of the node start.
    lab.agent().set(status(true, Some("no free address: f1")));
    says(&lab, "no free address: f1");

    lab.agent().set(status(false, Some("starting")));
    let error = lab.call("STATUS", &config).fails_with(50);
    assert_eq!(error["details"], "starting");
    std::fs::create_dir_all(lab.state_dir()).unwrap();
    std::fs::write(cni::known::path(&lab.state_dir()), "{").unwrap();
    lab.call("STATUS", &config).fails_with(50);
    let known = r#"{"namespaces":["plant"],"notOurs":[]}"#;
    std::fs::write(cni::known::path(&lab.state_dir()), known).unwrap();
    says(&lab, "starting");
    lab.call("STATUS", &delegate).fails_with(50);
    // Whoever cannot be understood lets nobody pass.
    for mode in [Mode::Garble, Mode::Answer("status", Reply::Done)] {
        lab.agent().set(mode.clone());
        let answer = lab.call("STATUS", &config);
        assert!([50, 106].contains(&answer.code), "{mode:?}");
    }
    lab.agent().set(Mode::HangUp("status"));
    says(&lab, "hung up");
    lab.agent = None;
    says(&lab, "node:");
    lab.call("STATUS", &delegate).fails_with(50);
    std::fs::remove_file(cni::known::path(&lab.state_dir())).unwrap();
    lab.call("STATUS", &config).fails_with(50);
}
