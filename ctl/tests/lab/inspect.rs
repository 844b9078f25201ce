//! What a node says of itself, beside its daemon.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::world::{Lab, program};

const LINE: &str = "
  addressing: {cidrs: [10.97.0.0/16]}
  forwarders: [{name: a, node: n1}, {name: b, node: n2}, {name: c, node: n2}]
  shape: Line
  apps:
    - {name: left, podSelector: {matchLabels: {app: left}}, forwarder: a}
    - {name: right, podSelector: {matchLabels: {app: right}}, forwarder: c}";

/// `beemesh inspect ARGUMENTS` on one node of a lab.
fn inspect(lab: &Lab, node: &str, arguments: &[&str]) -> Command {
    let (state, own) = (lab.state(), lab.state().join("nodes").join(node));
    let mut command = Command::new(program());
    command
        .arg("inspect")
        .args(arguments)
        .args(["--name", node])
        .arg(format!("--state-dir={}", own.join("state").display()))
        .arg(format!("--socket={}", own.join("cni.sock").display()))
        .arg(format!("--cache-dir={}", state.join("directory").display()))
        .arg(format!("--run-dir={}", own.join("run").display()));
    command
}

fn told(lab: &Lab, node: &str, arguments: &[&str]) -> Value {
    let output = inspect(lab, node, arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn netns(lab: &Lab, forwarder: &str) -> String {
    let status = lab.json("status", &[]);
    let netns = status["forwarders"][forwarder]["netns"].as_str();
    netns.unwrap().to_owned()
}

fn ip(netns: &str, line: &str) {
    let output = Command::new("ip")
        .args(["-n", netns])
        .args(line.split_whitespace())
        .output();
    let output = output.unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
}

/// Ends a node's daemon, so that nobody repairs what the test breaks.
fn stop(lab: &Lab, node: &str) {
    let words = format!("nodes/{node}/");
    for id in lab.processes() {
        let line = fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default();
        if line.contains(&words) {
            let id = nix::unistd::Pid::from_raw(id);
            nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGKILL).unwrap();
        }
    }
}

pub(crate) fn the_kernels_table_has_the_reported_digest_until_a_route_is_another() {
    let lab = Lab::new(LINE);
    lab.run("up", &["-q"]);
    let name = format!("{}.b", lab.name);
    let status = lab.state().join(format!("directory/status/{name}.yaml"));
    let status = fs::read_to_string(status).unwrap();
    let reported = status
        .lines()
        .find_map(|line| line.strip_prefix("digest: "))
        .unwrap();

    // The snapshot of link states that it reads is written a moment after they change.
    let deadline = Instant::now() + Duration::from_secs(60);
    let kernel = loop {
        let kernel = told(&lab, "n2", &["kernel"]);
        let differences = &kernel["namespaces"][0]["table"]["differences"];
        if differences == &serde_json::json!([]) || Instant::now() > deadline {
            break kernel;
        }
    };
    assert_eq!(
        kernel["namespaces"].as_array().unwrap().len(),
        2,
        "{kernel}"
    );
    let b = &kernel["namespaces"][0];
    assert_eq!(b["object"], name.as_str(), "{kernel}");
    assert_eq!(b["table"]["kernel"], reported.trim_matches('"'), "{kernel}");
    assert_eq!(
        b["table"]["differences"].as_array().unwrap().len(),
        0,
        "{kernel}"
    );
    assert_eq!(b["links"].as_array().unwrap().len(), 2, "{kernel}");

    stop(&lab, "n2");
    ip(
        &netns(&lab, "b"),
        "route replace 10.97.2.0/24 dev l-a proto 190",
    );
    ip(&netns(&lab, "b"), "route del 10.97.0.0/24");
    let only = netns(&lab, "b");
    let kernel = told(&lab, "n2", &["kernel", "--netns", &only]);
    let table = &kernel["namespaces"][0]["table"];
    assert_ne!(table["kernel"], table["computed"], "{kernel}");
    let differences = serde_json::json!([
        {"prefix": "10.97.0.0/24", "to": "a", "expected": ["a by a/b"], "found": []},
        {"prefix": "10.97.2.0/24", "to": "c", "expected": ["c by b/c"], "found": ["a by a/b"]},
    ]);
    assert_eq!(table["differences"], differences, "{kernel}");
}

pub(crate) fn what_nobody_needs_is_named_and_removed_and_nothing_else() {
    let lab = Lab::new(LINE);
    lab.run("up", &["-q", "--instances", "left=2"]);
    let clean = told(&lab, "n1", &["census"]);
    assert_eq!(clean["leaks"], serde_json::json!([]), "{clean}");
    assert_eq!(clean["unknown"], serde_json::json!([]), "{clean}");
    assert_eq!(clean["counts"]["leases"], 2, "{clean}");
    assert_eq!(
        told(&lab, "n1", &["leases"])["leases"]
            .as_array()
            .unwrap()
            .len(),
        2
    );

    // A daemon that runs would remove the tunnel by itself.
    stop(&lab, "n1");
    let a = netns(&lab, "a");
    for (name, is_up) in [("app0dead", false), ("app0live", true)] {
        ip(&a, &format!("link add {name} type veth peer name p{name}"));
        ip(
            &a,
            &format!(
                "link set {name} group 3054 alias beemesh:{}/left/x",
                lab.name
            ),
        );
        if is_up {
            ip(&a, &format!("link set {name} up"));
            ip(&a, &format!("link set p{name} up"));
        }
    }
    ip(&a, "link add l-nobody type veth peer name foreign");
    ip(&a, "link set l-nobody group 3054");
    let unwanted = format!("bm-{}-gone-0", lab.name);
    dataplane::netns::create(&unwanted).unwrap();
    let owned = lab.state().join("nodes/n1/state/namespaces.json");
    let text = fs::read_to_string(&owned).unwrap();
    fs::write(
        &owned,
        text.replacen('{', &format!("{{\"{unwanted}\":\"x.gone\","), 1),
    )
    .unwrap();

    let names = |told: &Value, list: &str| -> Vec<String> {
        let list = told[list].as_array().unwrap().iter();
        list.map(|leak| leak["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let removable = [unwanted.as_str(), "l-nobody", "app0dead"];
    let dry = told(&lab, "n1", &["gc", "--dry-run"]);
    assert_eq!(names(&dry, "removed"), removable, "{dry}");
    assert!(
        names(&dry, "kept").contains(&"app0live".to_owned()),
        "in use: {dry}"
    );
    let done = told(&lab, "n1", &["gc"]);
    assert_eq!(names(&done, "removed"), removable, "{done}");
    let after = told(&lab, "n1", &["census"]);
    assert!(
        !names(&after, "leaks")
            .iter()
            .any(|name| removable.contains(&name.as_str()))
    );
    assert_eq!(
        after["counts"]["links"], clean["counts"]["links"],
        "{after}"
    );
    ip(&a, "link del app0live");
    lab.run("up", &["-q"]);
    assert_eq!(told(&lab, "n1", &["census"])["counts"], clean["counts"]);
    lab.run("ping", &["left-1", "right", "-c", "1"]);
}

pub(crate) fn without_the_desired_state_nothing_is_a_leak() {
    let lab = Lab::new(LINE);
    lab.run("up", &["-q"]);
    let broken = lab.state().join("directory/forwarders/broken.yaml");
    stop(&lab, "n1");
    fs::write(&broken, "kind: [").unwrap();
    let census = told(&lab, "n1", &["census"]);
    assert_eq!(
        census["leaks"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|it| it["kind"] == "namespace")
            .count(),
        0
    );
    assert!(
        census["unknown"][0]
            .as_str()
            .unwrap()
            .contains("broken.yaml"),
        "{census}"
    );
    fs::remove_file(broken).unwrap();
}

pub(crate) fn a_pod_is_pinged_and_traced_from_where_it_is() {
    let lab = Lab::new(LINE);
    lab.run("up", &["-q"]);
    let status = lab.json("status", &[]);
    let to = status["apps"]["right-0"]["addresses"][0].as_str().unwrap();
    let pinged = told(
        &lab,
        "n1",
        &[
            "ping",
            "--pod",
            "default/left-0",
            to,
            "10.97.99.9",
            "--timeout-ms",
            "5000",
        ],
    );
    assert_eq!(pinged["to"][0]["received"], 3, "{pinged}");
    assert_eq!(pinged["to"][1]["received"], 0, "{pinged}");

    let mut echo = inspect(&lab, "n2", &["echo", "--pod", "default/right-0", to])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut said = std::io::BufReader::new(echo.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut said, &mut line).unwrap();
    let port = serde_json::from_str::<Value>(&line).unwrap()["port"].to_string();
    let traced = told(
        &lab,
        "n1",
        &[
            "trace",
            "--pod",
            "default/left-0",
            to,
            "--port",
            &port,
            "--flows",
            "4",
        ],
    );
    drop(echo.stdin.take());
    assert!(echo.wait().unwrap().success());
    let flows = traced["flows"].as_array().unwrap();
    assert_eq!(flows.len(), 4);
    for flow in flows {
        assert_eq!(
            flow["hops"],
            serde_json::json!(["10.97.0.1", "10.97.1.1", "10.97.2.1"]),
            "{traced}"
        );
        assert_eq!(flow["reached"], true, "{traced}");
    }
}
