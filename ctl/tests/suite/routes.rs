//! `beemesh routes` end to end.

use crate::common::{beemesh, json, run, stderr, stdout};
use serde_json::json;

#[test]
fn prints_the_worked_example_to_the_letter() {
    let text = stdout("routes -f examples/worked.yaml --from F1 -o json");
    let epoch = json("routes -f examples/worked.yaml -o json")["epoch"].clone();
    let epoch = epoch.as_str().expect("the epoch is a string");
    assert_eq!(epoch.len(), 16);
    let expected = r#"{
  "epoch": "EPOCH",
  "tables": {
    "F1": {
      "F2": {"distance": 1, "attached": false, "nextHops": [{"via": "F2", "link": "F1/F2"}]},
      "F3": {"distance": 1, "attached": false, "nextHops": [{"via": "F3", "link": "F1/F3"}]},
      "F4": {"distance": 2, "attached": false, "nextHops": [{"via": "F2", "link": "F1/F2"}, {"via": "F3", "link": "F1/F3"}]},
      "F5": {"distance": 4, "attached": false, "nextHops": [{"via": "F2", "link": "F1/F2"}, {"via": "F3", "link": "F1/F3"}]},
      "App1": {"distance": 3, "attached": false, "nextHops": [{"via": "F2", "link": "F1/F2"}, {"via": "F3", "link": "F1/F3"}]},
      "App2": {"distance": 1, "attached": true, "nextHops": []}
    }
  }
}
"#;
    assert_eq!(text, expected.replace("EPOCH", epoch));
}

#[test]
fn answers_the_questions_of_the_worked_example() {
    let all = json("routes -f examples/worked.yaml -o json");
    assert_eq!(
        all["tables"].as_object().expect("tables are a map").len(),
        5
    );
    let hops = |route: &serde_json::Value| -> Vec<String> {
        let hops = route["nextHops"].as_array().expect("next hops are a list");
        hops.iter()
            .map(|hop| hop["via"].as_str().expect("via is a name").to_owned())
            .collect()
    };
    assert_eq!(hops(&all["tables"]["F5"]["App2"]), ["F3", "F4"]);
    assert_eq!(all["tables"]["F1"].get("F1"), None, "no route to oneself");
    let cut = json("routes -f examples/worked.yaml --without F2/F4 -o json");
    assert_eq!(hops(&cut["tables"]["F1"]["App1"]), ["F3"]);
    assert_eq!(hops(&cut["tables"]["F2"]["App1"]), ["F1"]);
    assert_ne!(cut["epoch"], all["epoch"]);
}

#[test]
fn yaml_and_json_say_the_same() {
    let yaml = stdout("routes -f examples/worked.yaml -o yaml");
    let from_yaml: serde_json::Value = serde_saphyr::from_str(&yaml).expect("it is YAML");
    assert_eq!(from_yaml, json("routes -f examples/worked.yaml -o json"));
}

#[test]
fn the_table_is_for_people() {
    let text = stdout("routes -f examples/worked.yaml --from F1");
    let lines: Vec<&str> = text.lines().skip(1).collect();
    let expected = [
        "",
        "from F1",
        "  TO     DISTANCE   NEXT HOPS",
        "  F2            1   F2",
        "  F3            1   F3",
        "  F4            2   F2, F3",
        "  F5            4   F2, F3",
        "  App1          3   F2, F3",
        "  App2          1   attached",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn takes_out_links_one_of_several_and_forwarders() {
    let two = "
apiVersion: beemesh.io/v1alpha1
kind: MicroServiceTopology
metadata: {name: two}
spec:
  forwarders: [{name: A}, {name: B}]
  links: [{a: A, b: B}, {a: B, b: A}]
";
    let tables = |without: &[&str]| -> serde_json::Value {
        let mut command = beemesh();
        command
            .args(["routes", "-f", "-", "-o", "json"])
            .write_stdin(two);
        for fault in without {
            command.args(["--without", fault]);
        }
        let output = command.assert().code(0);
        let json: serde_json::Value =
            serde_json::from_slice(&output.get_output().stdout).expect("it is JSON");
        json["tables"].clone()
    };
    let route = |links: &[&str]| {
        let hops: Vec<_> = links
            .iter()
            .map(|link| json!({"via": "B", "link": link}))
            .collect();
        json!({"B": {"distance": 1, "attached": false, "nextHops": hops}})
    };
    assert_eq!(tables(&[])["A"], route(&["A/B", "A/B#2"]));
    assert_eq!(tables(&["A/B#2"])["A"], route(&["A/B"]));
    assert_eq!(tables(&["A/B#1"])["A"], route(&["A/B#2"]));
    assert_eq!(tables(&["B/A"]), json!({"A": {}, "B": {}}));
    assert_eq!(tables(&["B"]), json!({"A": {}}));
}

#[test]
fn unknown_names_exit_3_and_suggest() {
    #[rustfmt::skip]
    let cases = [
        ("--from f1",            "no forwarder \"f1\" in the topology; did you mean \"F1\"?"),
        ("--from App1",          "no forwarder \"App1\" in the topology; it is an App"),
        ("--without F1/F9",      "no forwarder \"F9\" in the topology; did you mean \"F1\"?"),
        ("--without F1/F5",      "no link \"F1/F5\" in the topology; F1 is linked to F2, F3, F4"),
        ("--without F1/F2#2",    "no link \"F1/F2#2\" in the topology; between these two there are F1/F2"),
        ("--from F1 --without F1", "forwarder \"F1\" is removed by --without"),
    ];
    for (arguments, expected) in cases {
        let line = format!("routes -f examples/worked.yaml {arguments}");
        assert_eq!(
            stderr(&line, 3),
            format!("error: {expected}\n"),
            "{arguments}"
        );
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let script = "set -o pipefail; beemesh generate random --forwarders 300 \
                  | beemesh routes -f - -o json | head -c 100 >/dev/null";
    let bin = std::path::Path::new(env!("CARGO_BIN_EXE_beemesh"));
    let path = std::env::var("PATH").expect("there is a PATH");
    let path = format!(
        "{}:{path}",
        bin.parent().expect("it is in a directory").display()
    );
    let mut bash = assert_cmd::Command::new("bash");
    bash.args(["-c", script])
        .env("PATH", path)
        .assert()
        .code(0)
        .stderr("");
}

#[test]
fn one_table_of_ten_thousand_forwarders_is_quick() {
    let generated = run("generate random --forwarders 10000").code(0);
    let started = std::time::Instant::now();
    let mut command = beemesh();
    command.args(["routes", "-f", "-", "--from", "f00001", "-o", "json"]);
    let output = command
        .write_stdin(generated.get_output().stdout.clone())
        .assert()
        .code(0);
    let tables: serde_json::Value =
        serde_json::from_slice(&output.get_output().stdout).expect("it is JSON");
    assert_eq!(
        tables["tables"]["f00001"]
            .as_object()
            .expect("a table")
            .len(),
        9999 + 2
    );
    // Generous: unoptimised, and beside other tests.
    assert!(
        started.elapsed().as_secs() < 30,
        "took {:?}",
        started.elapsed()
    );
}

#[test]
fn sorts_next_hops_by_the_text_of_the_link() {
    let links: String = (1..=11).map(|_| "    - {a: a, b: b}\n").collect();
    let file = format!(
        "apiVersion: beemesh.io/v1alpha1\nkind: MicroServiceTopology\nmetadata: {{name: text}}\nspec:\n  \
         forwarders: [{{name: a}}, {{name: b}}, {{name: a-x}}]\n  links:\n{links}"
    );
    let output = beemesh()
        .args(["routes", "-f", "-", "-o", "json", "--from", "a"])
        .write_stdin(file)
        .assert()
        .code(0);
    let routes: serde_json::Value =
        serde_json::from_slice(&output.get_output().stdout).expect("it is JSON");
    let hops = &routes["tables"]["a"]["b"]["nextHops"];
    let seen: Vec<&str> = hops
        .as_array()
        .expect("next hops are a list")
        .iter()
        .map(|hop| hop["link"].as_str().expect("a link is a name"))
        .collect();
    let mut sorted = seen.clone();
    sorted.sort_unstable();
    assert_eq!(seen.len(), 11);
    assert_eq!(seen, sorted, "a/b#10 stands before a/b#2");
}

#[test]
fn prints_what_the_operator_serves() {
    let file = crate::common::root().join("examples/worked.yaml");
    let input = std::fs::File::open(file).expect("the example");
    let object = &crds::load("worked.yaml", input).expect("a sound example")[0];
    let topology = crds::to_topology(object, &crds::Instances::new()).expect("named forwarders");
    let graph = topology::Graph::new(&topology);
    let tables = topology.forwarders().iter().zip(0..).map(|(name, index)| {
        let spf = topology::Spf::compute(&graph, topology::ForwarderIndex(index));
        let table = topology::Table::new(&topology, &graph, &spf, 64);
        (name.clone(), crds::report::table(&topology, &table))
    });
    let report = crds::report::RoutesReport {
        epoch: topology.epoch().to_string(),
        tables: tables.collect(),
    };
    let printed = json("routes -f examples/worked.yaml -o json");
    assert_eq!(printed, serde_json::to_value(report).expect("plain data"));
}
