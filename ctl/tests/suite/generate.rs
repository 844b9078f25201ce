//! `beemesh generate` end to end: every shape and size passes our own lint.

use crate::common::{beemesh, json, stderr, stdout};

const SHAPES: [&str; 8] = [
    "mesh", "ring", "line", "star", "tree", "grid", "fabric", "random",
];

#[test]
fn every_shape_and_size_passes_lint() {
    for shape in SHAPES {
        for forwarders in [1, 2, 3, 10, 200] {
            let line = format!("generate {shape} --forwarders {forwarders} --nodes 3");
            let yaml = stdout(&line);
            beemesh()
                .args(["lint", "-f", "-"])
                .write_stdin(yaml)
                .assert()
                .code(0);
        }
    }
}

#[test]
fn ten_thousand_forwarders_pass_lint() {
    for shape in ["grid", "ring"] {
        let yaml = stdout(&format!(
            "generate {shape} --forwarders 10000 --nodes 50 --apps 100"
        ));
        let lint = beemesh()
            .args(["lint", "-f", "-"])
            .write_stdin(yaml)
            .assert()
            .code(0);
        let line = crate::common::text(&lint.get_output().stdout);
        assert!(
            line.contains("10000 forwarders") && line.contains("100 apps"),
            "{line}"
        );
    }
}

#[test]
fn a_topology_that_etcd_cannot_hold_is_refused_with_its_size() {
    // A random graph lists each of its links.
    let lint = beemesh()
        .args(["lint", "-f", "-"])
        .write_stdin(stdout("generate random --forwarders 10000"))
        .assert()
        .code(2);
    let why = crate::common::text(&lint.get_output().stderr);
    assert!(why.contains("kB, expected at most"), "{why}");
}

#[test]
fn the_same_seed_gives_the_same_and_another_another() {
    let random = |seed: u32| stdout(&format!("generate random --forwarders 50 --seed {seed}"));
    assert_eq!(random(7), random(7));
    assert_ne!(random(7), random(8));
}

#[test]
fn yaml_and_json_are_the_same_topology() {
    for shape in SHAPES {
        let line = format!("generate {shape} --forwarders 7 --nodes 2 --apps 3 --name yes");
        let routes = |input: String| {
            let mut command = beemesh();
            command
                .args(["routes", "-f", "-", "-o", "json"])
                .write_stdin(input);
            crate::common::text(&command.assert().code(0).get_output().stdout)
        };
        assert_eq!(
            routes(stdout(&line)),
            routes(stdout(&format!("{line} -o json"))),
            "{shape}"
        );
    }
}

#[test]
fn forwarders_are_spread_over_nodes_and_apps_over_forwarders() {
    let ring = json("generate ring --forwarders 4 --nodes 2 --apps 2 --name plant -o json");
    let spec = &ring["spec"];
    let nodes: Vec<_> = (0..4)
        .map(|at| spec["forwarders"][at]["node"].clone())
        .collect();
    assert_eq!(nodes, ["n1", "n1", "n2", "n2"]);
    assert_eq!(spec["apps"][0]["forwarder"], "f1");
    assert_eq!(spec["apps"][1]["forwarder"], "f3");
    assert_eq!(spec["apps"][1]["podSelector"]["matchLabels"]["app"], "app2");
    assert_eq!(spec["shape"], "Ring");
    assert_eq!(ring["metadata"]["name"], "plant");
}

#[test]
fn a_name_that_is_none_is_refused() {
    let message = stderr("generate ring --forwarders 3 --name Not_A_Name", 2);
    assert!(message.contains("metadata.name"), "{message}");
}

#[test]
fn a_shape_may_be_written_as_in_the_file() {
    let lower = stdout("generate ring --forwarders 3");
    assert!(lower.contains("shape: Ring"), "{lower}");
    assert_eq!(stdout("generate Ring --forwarders 3"), lower);
}
