//! `beemesh plan` end to end.

use crate::common::{beemesh, json, root, run, stdout, text};
use serde_json::json;

#[test]
fn tells_what_the_loss_of_a_link_changes() {
    let plan = json("plan -f examples/worked.yaml --without F2/F4 -o json");
    assert_eq!(plan["links"], json!({"added": [], "removed": ["F2/F4"]}));
    assert_eq!(plan["forwarders"], json!({"added": [], "removed": []}));
    let hop = |via: &str, link: &str| json!({"via": via, "link": link});
    let route = |distance: u32, hops: &[serde_json::Value]| json!({"distance": distance, "attached": false, "nextHops": hops});
    let both = [hop("F2", "F1/F2"), hop("F3", "F1/F3")];
    let change = json!({"before": route(3, &both), "after": route(3, &both[1..])});
    assert_eq!(plan["routes"]["F1"]["App1"], change);
    let change = json!({
        "before": route(2, &[hop("F4", "F2/F4")]),
        "after": route(4, &[hop("F1", "F1/F2")]),
    });
    assert_eq!(plan["routes"]["F2"]["App1"], change);
    assert_eq!(
        plan["routes"]["F5"]["App2"],
        json!(null),
        "what does not change is absent"
    );
}

#[test]
fn the_table_shows_before_and_after() {
    let text = stdout("plan -f examples/worked.yaml --without F2/F4");
    assert!(text.contains("links removed: F2/F4\n"), "{text}");
    let row = |from: &str, to: &str| -> String {
        let is_row = |line: &&str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.starts_with(&[from, to])
        };
        let line = text.lines().find(is_row).expect("the row is there");
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row("F1", "App1"), "F1 App1 3 via F2, F3 3 via F3");
    assert_eq!(row("F2", "App1"), "F2 App1 2 via F4 4 via F1");
}

#[test]
fn without_another_side_it_asks_a_cluster() {
    let mut command = beemesh();
    command.env_remove("KUBECONFIG").env("HOME", "/nonexistent");
    command.env_remove("KUBERNETES_SERVICE_HOST");
    command.args(["plan", "-f", "examples/worked.yaml"]);
    let output = command.assert().code(1);
    let said = text(&output.get_output().stderr);
    assert!(said.starts_with("error: no kubeconfig: "), "{said}");
}

#[test]
fn nothing_changes_against_itself() {
    let line = "plan -f examples/worked.yaml --against examples/worked.yaml";
    let text = stdout(line);
    assert!(text.ends_with("no route changes\n"), "{text}");
    assert_eq!(json(&format!("{line} -o json"))["routes"], json!({}));
}

#[test]
fn compares_a_file_with_stdin() {
    let worked = std::fs::read_to_string(root().join("examples/worked.yaml")).expect("the example");
    let heavier = worked.replace("{a: F1, b: F4, weight: 5}", "{a: F1, b: F4, weight: 1}");
    let mut command = beemesh();
    command.args([
        "plan",
        "-f",
        "-",
        "--against",
        "examples/worked.yaml",
        "-o",
        "json",
    ]);
    let output = command.write_stdin(heavier).assert().code(0);
    let plan: serde_json::Value =
        serde_json::from_slice(&output.get_output().stdout).expect("it is JSON");
    assert_eq!(plan["links"]["changed"], json!(["F1/F4"]));
    assert_eq!(plan["routes"]["F1"]["F4"]["after"]["distance"], 1);
    run("plan -f - --against -").code(2);
}

#[test]
fn lists_next_hops_as_routes_does() {
    // Canonical order is that of names, `a` before `a-x`; as text `a-x/b` comes before `a/b`.
    let file = "
apiVersion: beemesh.io/v1alpha1
kind: MicroServiceTopology
metadata: {name: text}
spec:
  forwarders: [{name: a}, {name: a-x}, {name: b}, {name: c}]
  links: [{a: a, b: b}, {a: a-x, b: b}, {a: a, b: c}, {a: a-x, b: c}]
";
    let before = tempfile::NamedTempFile::new().expect("a file");
    let (unlinked, _) = file.split_once("  links:").expect("it has links");
    std::fs::write(before.path(), unlinked).expect("it can be written");
    let answer = |line: &str| -> serde_json::Value {
        let mut command = beemesh();
        command.args(line.split_whitespace()).write_stdin(file);
        serde_json::from_slice(&command.assert().code(0).get_output().stdout).expect("it is JSON")
    };
    let routes = answer("routes -f - -o json");
    let against = before.path().display();
    let plan = answer(&format!("plan -f - -o json --against {against}"));
    let hops = &routes["tables"]["b"]["c"]["nextHops"];
    assert_eq!(hops[0]["link"], "a-x/b");
    assert_eq!(&plan["routes"]["b"]["c"]["after"]["nextHops"], hops);
}
