//! A lab from `up` to `down`.

use serde_json::Value;

use crate::world::Lab;

/// Two ways of equal weight between the Apps.
const SQUARE: &str = "
  addressing: {cidrs: [10.90.0.0/16]}
  forwarders: [{name: a}, {name: b}, {name: c}, {name: d}]
  shape: Ring
  apps:
    - {name: left, podSelector: {matchLabels: {app: left}}, forwarder: a}
    - {name: right, podSelector: {matchLabels: {app: right}}, forwarder: c}";

fn strings(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|each| each.as_str().unwrap())
        .collect()
}

pub(crate) fn the_worked_example_is_routed_as_computed_and_leaves_nothing() {
    let lab = Lab::of_example("worked.yaml");
    lab.run("up", &["--instances", "App1=2"]);
    let status = lab.json("status", &[]);
    assert_eq!(status["topology"], lab.name.as_str());
    assert_eq!(status["epoch"].as_str().unwrap().len(), 16);
    assert_eq!(status["forwarders"]["F4"]["links"]["up"], 4);
    assert_eq!(status["forwarders"]["F4"]["links"]["total"], 4);
    assert_eq!(status["apps"].as_object().unwrap().len(), 3);
    let app = &status["apps"]["App1-1"];
    assert_eq!(app["forwarder"], "F4");
    assert_eq!(strings(&app["addresses"]).len(), 2, "dual stack");
    let netns = app["netns"].as_str().unwrap();
    assert!(
        dataplane::netns::list()
            .unwrap()
            .iter()
            .any(|name| name == netns)
    );
    for family in ["-4", "-6"] {
        lab.run("ping", &["App2", "App1-1", "-c", "2", family]);
        let traced = lab.json("trace", &["App2-0", "App1", family]);
        assert_eq!(traced["onComputedPath"], 64, "{traced}");
        assert_eq!(
            traced["paths"].as_array().unwrap().len(),
            2,
            "by F2 and by F3: {traced}"
        );
    }
    // Nothing changes, nothing is disturbed.
    lab.run("up", &[]);
    assert_eq!(lab.json("status", &[]), status);
}

pub(crate) fn three_nodes_are_linked_by_vxlan_in_both_families() {
    let lab = Lab::of_example("iot.yaml");
    lab.run("up", &["-q"]);
    let link = lab.run(
        "exec",
        &["plant-a", "--", "ip", "-d", "link", "show", "l-north"],
    );
    assert!(link.contains("vxlan id"), "{link}");
    let link = lab.run(
        "exec",
        &["plant-a", "--", "ip", "-d", "link", "show", "l-plant-b"],
    );
    assert!(link.contains("veth"), "{link}");
    let report = lab.json("test", &["--no-cuts"]);
    assert_eq!(report["pairs"], 6, "{report}");
    assert_eq!(report["reached"], 6, "{report}");
    assert_eq!(report["onComputedPath"], 6, "{report}");
}

pub(crate) fn one_family_alone_is_enough() {
    for (cidr, other) in [("10.93.0.0/16", "-6"), ("fd00:93::/48", "-4")] {
        let lab = Lab::new(&format!(
            "
  addressing: {{cidrs: [\"{cidr}\"]}}
  forwarders: [{{name: a, node: n1}}, {{name: b, node: n2}}, {{name: c, node: n2}}]
  shape: Ring
  routing: {{resilient: true}}
  apps:
    - {{name: left, podSelector: {{matchLabels: {{app: left}}}}, forwarder: a}}
    - {{name: right, podSelector: {{matchLabels: {{app: right}}}}, forwarder: b}}"
        ));
        lab.run("up", &["-q"]);
        let report = lab.json("test", &["--cuts", "1"]);
        assert_eq!(report["ok"], true, "{cidr}: {report}");
        assert_eq!(report["onComputedPath"], 2, "{cidr}: {report}");
        let hops = lab.run("exec", &["a", "--", "ip", "nexthop"]);
        assert!(hops.contains("type resilient"), "{cidr}: {hops}");
        let output = lab.command("ping", &["left", "right", other]).output();
        assert!(!output.unwrap().status.success(), "{cidr} with {other}");
    }
}

pub(crate) fn an_external_network_is_reached_through_its_stand_in() {
    let lab = Lab::of_example("external.yaml");
    lab.run("up", &["-q"]);
    let status = lab.json("status", &[]);
    assert_eq!(
        status["apps"]["plc-0"]["addresses"][0], "192.168.7.1",
        "{status}"
    );
    lab.run("ping", &["scada", "192.168.7.1", "-c", "2"]);
    lab.run("ping", &["plc", "scada", "-c", "2"]);
}

pub(crate) fn a_changed_file_changes_the_running_lab() {
    let lab = Lab::new(SQUARE);
    lab.run("up", &["-q"]);
    let before = lab.json("status", &[]);
    // One more Forwarder, one more App, one link less.
    lab.declare(
        "
  addressing: {cidrs: [10.90.0.0/16]}
  forwarders: [{name: a}, {name: b}, {name: c}, {name: e}]
  shape: Line
  apps:
    - {name: left, podSelector: {matchLabels: {app: left}}, forwarder: a}
    - {name: right, podSelector: {matchLabels: {app: right}}, forwarder: c}
    - {name: far, podSelector: {matchLabels: {app: far}}, forwarder: e}",
    );
    lab.run("up", &["-q"]);
    let after = lab.json("status", &[]);
    assert_eq!(
        before["apps"]["left-0"], after["apps"]["left-0"],
        "untouched"
    );
    assert!(after["forwarders"].get("d").is_none(), "{after}");
    lab.run("ping", &["left", "far", "-c", "2"]);
    let report = lab.json("test", &["--no-cuts"]);
    assert_eq!(report["reached"], 6, "{report}");
    lab.declare(SQUARE);
    lab.run("up", &["-q"]);
    let again = lab.json("status", &[]);
    assert_eq!(again["epoch"], before["epoch"]);
    assert!(again["apps"].get("far-0").is_none(), "{again}");
    lab.run("ping", &["right", "left", "-c", "2"]);
}

pub(crate) fn every_link_may_be_cut_and_healed() {
    let lab = Lab::new(SQUARE);
    lab.run("up", &["-q"]);
    let whole = lab.json("status", &[]);
    // Either order of the ends.
    lab.run("cut", &["b/a"]);
    let cut = lab.json("status", &[]);
    assert_eq!(cut["forwarders"]["a"]["links"]["up"], 1, "{cut}");
    assert_eq!(cut["forwarders"]["a"]["links"]["total"], 2, "{cut}");
    assert_ne!(cut["epoch"], whole["epoch"]);
    let traced = lab.json("trace", &["left", "right"]);
    assert_eq!(traced["paths"].as_array().unwrap().len(), 1, "{traced}");
    // What was cut stays cut when the lab is brought up to date.
    lab.run("up", &["-q"]);
    assert_eq!(lab.json("status", &[]), cut);
    lab.run("heal", &[]);
    assert_eq!(lab.json("status", &[]), whole);
    let report = lab.json("test", &[]);
    assert_eq!(report["ok"], true, "{report}");
    assert_eq!(report["cuts"].as_array().unwrap().len(), 12, "{report}");
    for cut in report["cuts"].as_array().unwrap() {
        assert_eq!(cut["rerouted"], true, "{cut}");
    }
    assert_eq!(
        lab.json("status", &[]),
        whole,
        "the test leaves it as it was"
    );
}

pub(crate) fn a_killed_forwarder_is_routed_around_and_healed() {
    let lab = Lab::new(SQUARE);
    lab.run("up", &["-q"]);
    let whole = lab.json("status", &[]);
    lab.run("kill", &["b"]);
    assert_eq!(lab.json("status", &[])["forwarders"]["b"]["links"]["up"], 0);
    lab.run("ping", &["left", "right", "-c", "2"]);
    lab.run("kill", &["c"]);
    lab.expect(1, "ping", &["left", "right", "-c", "1", "-W", "200ms"]);
    lab.run("heal", &["b"]);
    lab.run("heal", &["c"]);
    assert_eq!(lab.json("status", &[]), whole);
    lab.run("ping", &["left", "right", "-c", "2"]);
}

pub(crate) fn a_silent_cut_of_the_only_way_drops_while_the_link_looks_up() {
    let lab = Lab::new(
        "
  addressing: {cidrs: [10.90.0.0/16]}
  forwarders: [{name: a}, {name: b}]
  shape: Line
  apps:
    - {name: left, podSelector: {matchLabels: {app: left}}, forwarder: a}
    - {name: right, podSelector: {matchLabels: {app: right}}, forwarder: b}",
    );
    lab.run("up", &["-q"]);
    lab.run("cut", &["a/b", "--silent"]);
    let cut = lab.json("status", &[]);
    assert_eq!(cut["forwarders"]["a"]["links"]["up"], 0, "it is suspect");
    lab.expect(1, "ping", &["left", "right", "-c", "1", "-W", "200ms"]);
    lab.expect(1, "trace", &["left", "right", "--flows", "2"]);
    // A link whose loss partitions: lost, not rerouted, and rightly so.
    lab.run("heal", &["a/b"]);
    let report = lab.json("test", &[]);
    for (number, kind) in ["cut", "silent", "one-way"].into_iter().enumerate() {
        let cut = &report["cuts"][number];
        assert_eq!(cut["kind"], kind, "{report}");
        assert_eq!(cut["rerouted"], false, "{report}");
        assert_eq!(cut["partitions"], true, "{report}");
    }
    assert_eq!(report["ok"], true, "{report}");
}

pub(crate) fn jumbo_frames_pass_where_the_network_is_made_for_them() {
    let spec = |mtu: u32| {
        format!(
            "
  addressing: {{cidrs: [10.95.0.0/16]}}
  forwarders: [{{name: a, node: n1}}, {{name: b, node: n1}}, {{name: c, node: n2}}]
  links: [{{a: a, b: b, mtu: 9000}}, {{a: b, b: c, mtu: {mtu}}}]"
        )
    };
    let lab = Lab::new(&spec(8950));
    let refused = lab.expect(2, "up", &["-q"]);
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(
        text.contains("b/c") && text.contains("--mtu 9000"),
        "{text}"
    );
    assert_eq!(lab.remains(), Vec::<String>::new());
    lab.run("up", &["-q", "--mtu", "9000"]);
    let to = lab.run("exec", &["c", "--", "ip", "-4", "-o", "addr", "show", "lo"]);
    let to = to
        .split_whitespace()
        .find(|word| word.starts_with("10.95."));
    let (to, _) = to.unwrap().split_once('/').unwrap();
    // 28 bytes of headers; not to be fragmented.
    let ping = |size: &str| {
        ["a", "--", "ping", "-c2", "-W2", "-M", "do", "-s", size, to].map(str::to_owned)
    };
    let words = ping("8922");
    lab.run("exec", &words.each_ref().map(String::as_str));
    let words = ping("8923");
    lab.expect(1, "exec", &words.each_ref().map(String::as_str));
    // As before, until another is asked for.
    lab.run("up", &["-q"]);
    lab.declare(&spec(1450));
    lab.run("up", &["-q", "--mtu", "1500"]);
    let words = ping("1422");
    lab.run("exec", &words.each_ref().map(String::as_str));
    lab.declare(&spec(1451));
    lab.expect(2, "up", &["-q"]);
}

pub(crate) fn a_conflist_names_the_running_lab() {
    let lab = Lab::new(SQUARE);
    lab.run("up", &["-q"]);
    let list: Value = serde_json::from_str(&lab.run("conflist", &["--app", "left"])).unwrap();
    assert_eq!(list["cniVersion"], "0.4.0");
    assert_eq!(
        list["cniVersions"].as_array().unwrap().last().unwrap(),
        "1.1.0"
    );
    let old = lab.run("conflist", &["--app", "left", "--cni-version", "0.3.1"]);
    let old: Value = serde_json::from_str(&old).unwrap();
    assert_eq!(
        (&old["cniVersion"], &old["cniVersions"]),
        (&"0.3.1".into(), &Value::Null)
    );
    lab.expect(2, "conflist", &["--app", "left", "--cni-version", "2.0.0"]);
    let plugin = &list["plugins"][0];
    assert_eq!(plugin["type"], "beemesh-cni");
    assert!(
        std::path::Path::new(plugin["socket"].as_str().unwrap()).exists(),
        "{list}"
    );
    let labels = plugin["args"]["cni"]["labels"].as_array().unwrap();
    assert!(
        labels
            .iter()
            .any(|l| l["key"] == "app" && l["value"] == "left"),
        "{list}"
    );
    lab.expect(3, "conflist", &["--app", "nobody"]);
    lab.expect(3, "conflist", &["--app", "left", "--node", "nowhere"]);
}

pub(crate) fn what_is_not_there_is_told_by_its_exit_code() {
    let lab = Lab::new(SQUARE);
    lab.expect(3, "status", &[]);
    lab.run("down", &[]);
    lab.expect(3, "up", &["--instances", "nobody=2"]);
    assert_eq!(lab.remains(), Vec::<String>::new());
    lab.run("up", &["-q"]);
    lab.expect(3, "ping", &["left", "nobody"]);
    lab.expect(3, "cut", &["a/c"]);
    lab.expect(3, "kill", &["nobody"]);
    lab.expect(7, "exec", &["left", "--", "sh", "-c", "exit 7"]);
    lab.expect(127, "exec", &["left", "--", "no-such-program"]);
    lab.expect(2, "ping", &["left"]);
    lab.run("down", &[]);
    lab.run("down", &[]);
    lab.declare("\n  forwarders: [{name: a}, {name: a}]");
    lab.expect(2, "up", &[]);
    assert_eq!(lab.remains(), Vec::<String>::new());
    // Down reads the file as well.
    lab.declare(SQUARE);
}
