//! `beemesh graph` end to end: one small topology as golden files, every shape as well-formed SVG.

use crate::common::{beemesh, golden, json, stderr, stdout};

#[test]
fn draws_the_worked_example_as_it_always_did() {
    for stage in ["global", "mwt", "spt"] {
        for format in ["dot", "svg", "mermaid", "json"] {
            let line =
                format!("graph -f examples/worked.yaml --stage {stage} --from F1 -o {format}");
            golden(&format!("worked-{stage}.{format}"), &stdout(&line));
        }
    }
    let line = "graph -f examples/worked.yaml --stage spt --without F2/F4 --without F5 -o svg";
    golden("worked-without.svg", &stdout(line));
}

#[test]
fn json_tells_nodes_links_distances_and_tree() {
    let graph = json("graph -f examples/worked.yaml --stage spt --from F1 -o json");
    let distances = serde_json::json!(
        {"F1": 0, "F2": 1, "F3": 1, "F4": 2, "F5": 4, "App1": 3, "App2": 1});
    assert_eq!(graph["distances"], distances);
    assert_eq!(graph["root"], "F1");
    assert_eq!(graph["nodes"].as_array().expect("a list").len(), 7);
    assert_eq!(graph["links"].as_array().expect("a list").len(), 7);
    let tree = graph["tree"].as_array().expect("a list");
    let into = |name: &str| -> Vec<&str> {
        let edges = tree.iter().filter(|edge| edge["to"] == name);
        edges
            .map(|edge| edge["from"].as_str().expect("a name"))
            .collect()
    };
    assert_eq!(into("F4"), ["F2", "F3"]);
    assert_eq!(into("F5"), ["F3", "F4"]);
    assert_eq!(into("App1"), ["F4"]);
    assert_eq!(into("F1"), [""; 0]);
}

#[test]
fn the_epoch_is_that_of_routes_also_without_a_link() {
    for without in ["", "--without F2/F4", "--without F5"] {
        let graph = json(&format!("graph -f examples/worked.yaml {without} -o json"));
        let routes = json(&format!("routes -f examples/worked.yaml {without} -o json"));
        assert_eq!(graph["epoch"], routes["epoch"], "{without}");
    }
}

#[test]
fn every_shape_is_drawn_at_every_size() {
    let shapes = [
        "mesh", "ring", "line", "star", "tree", "grid", "fabric", "random",
    ];
    for shape in shapes {
        for forwarders in [1, 2, 5, 30, 90, 450] {
            // Unoptimised, the largest of each would take a minute.
            if forwarders > 30 && !["grid", "random"].contains(&shape) {
                continue;
            }
            let yaml = stdout(&format!(
                "generate {shape} --forwarders {forwarders} --nodes 3"
            ));
            let mut command = beemesh();
            command.args(["graph", "-f", "-", "--stage", "spt", "-o", "svg"]);
            let svg = command.write_stdin(yaml).assert().code(0);
            let svg = crate::common::text(&svg.get_output().stdout);
            assert_eq!(
                svg.matches("class=\"fwd").count(),
                forwarders,
                "{shape} {forwarders}"
            );
            assert!(svg.trim_end().ends_with("</svg>"), "{shape} {forwarders}");
            assert!(
                !svg.contains("NaN") && !svg.contains("inf"),
                "{shape} {forwarders}"
            );
        }
    }
}

#[test]
fn unknown_roots_exit_3() {
    let message = stderr("graph -f examples/worked.yaml --stage spt --from F9", 3);
    assert_eq!(
        message,
        "error: no forwarder \"F9\" in the topology; did you mean \"F1\"?\n"
    );
}
