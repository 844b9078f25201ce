//! `beemesh path`: all shortest paths, as a graph.

use crate::common::{beemesh, json, stdout, text};
use serde_json::json;

#[test]
fn each_forwarder_on_the_way_is_shown_once_with_all_its_next_hops() {
    let report = json("path -f examples/worked.yaml App1 App2 -o json");
    let way = &report["ways"][0];
    assert_eq!(
        (&way["from"], &way["distance"], &way["paths"]),
        (&json!("F4"), &json!(3), &json!(2))
    );
    let steps = way["forwarders"].as_array().expect("steps");
    let names: Vec<&str> = steps
        .iter()
        .filter_map(|step| step["name"].as_str())
        .collect();
    assert_eq!(names, ["F4", "F3", "F2", "F1"]);
    let hops = json!([
        {"via": "F2", "link": "F2/F4", "weight": 1},
        {"via": "F3", "link": "F3/F4", "weight": 1},
    ]);
    assert_eq!(steps[0]["nextHops"], hops);
    assert_eq!(steps[3]["arrives"], true);
}

#[test]
fn paths_are_counted_and_not_enumerated() {
    let grid = stdout("generate grid --forwarders 400");
    let output = beemesh()
        .args(["path", "-f", "-", "f001", "f400", "-o", "json"])
        .write_stdin(grid)
        .assert()
        .code(0);
    let report: serde_json::Value =
        serde_json::from_slice(&output.get_output().stdout).expect("JSON");
    let way = &report["ways"][0];
    // 38 steps, of which 19 go down: binomial(38, 19).
    assert_eq!(way["paths"], 35_345_263_800_u64, "{}", way["distance"]);
    assert_eq!(way["forwarders"].as_array().map(Vec::len), Some(400));
}

#[test]
fn what_is_taken_out_is_no_way() {
    let report = json("path -f examples/worked.yaml F4 F1 --without F2 -o json");
    assert_eq!(report["ways"][0]["paths"], 1);
    let line = "path -f examples/worked.yaml F4 F1 --without F2 --without F3 --without F1/F4";
    let output = beemesh().args(line.split(' ')).assert().code(1);
    assert!(text(&output.get_output().stdout).contains("there is no path"));
}

#[test]
fn a_name_of_nothing_is_not_found() {
    let output = beemesh()
        .args("path -f examples/worked.yaml App1 F99".split(' '))
        .assert()
        .code(3);
    assert!(
        text(&output.get_output().stderr).contains("no forwarder, App or attached pod \"F99\"")
    );
}
