//! `-f`: what every verb makes of good and of bad input.

use crate::common::{beemesh, root, run, stderr, text};
use std::fs;
use std::io::Write;

const VERBS: [&str; 4] = ["lint", "graph", "routes", "plan"];

#[test]
fn lint_says_ok_and_counts() {
    let expected = "examples/worked.yaml: worked is ok: 5 forwarders, 7 links, 2 apps\n";
    run("lint -f examples/worked.yaml")
        .code(0)
        .stdout(expected)
        .stderr("");
    run("lint -f examples/ -f examples/worked.yaml")
        .code(0)
        .stderr("");
    let report = crate::common::json("lint -f examples/worked.yaml -o json");
    assert_eq!(report["ok"], true);
    assert_eq!(report["problems"], serde_json::json!([]));
    assert_eq!(report["topologies"][0]["name"], "worked");
}

#[test]
fn everything_wrong_is_said_at_once_with_file_and_field() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("bad.yaml");
    let worked = fs::read_to_string(root().join("examples/worked.yaml")).expect("the example");
    let bad = worked
        .replace("{a: F1, b: F2, weight: 1}", "{a: F1, b: F1, weight: 1}")
        .replace("{a: F3, b: F5, weight: 3}", "{a: F3, b: F7, weight: 3}")
        .replace("name: App2", "name: App1");
    fs::write(&file, bad).expect("the file can be written");
    let name = file.display().to_string();
    for verb in VERBS {
        let message = stderr(&format!("{verb} -f {name}"), 2);
        assert!(message.lines().count() >= 3, "{verb}: {message}");
        for path in ["spec.links[0]", "spec.links[6].b", "spec.apps[1].name"] {
            assert!(
                message.contains(&format!("error: {name}: {path}")),
                "{verb}: {message}"
            );
        }
    }
    let output = run(&format!("lint -f {name} -o json")).code(2);
    let report: serde_json::Value =
        serde_json::from_slice(&output.get_output().stdout).expect("it is JSON");
    assert_eq!(report["ok"], false);
    assert_eq!(report["problems"][0]["file"], name);
    assert!(report["problems"].as_array().expect("a list").len() >= 3);
}

#[test]
fn what_is_no_readable_file_exits_2_and_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let there = directory.path().display().to_string();
    for verb in VERBS {
        let message = stderr(&format!("{verb} -f {there}/absent.yaml"), 2);
        assert!(message.contains("failed to read"), "{verb}: {message}");
        assert!(message.contains("absent.yaml"), "{verb}: {message}");
    }
    for verb in &VERBS[1..] {
        let message = stderr(&format!("{verb} -f {there}"), 2);
        assert!(
            message.contains("is a directory, expected a file"),
            "{verb}: {message}"
        );
    }
    let message = stderr(&format!("lint -f {there}"), 2);
    assert!(
        message.contains("expected a directory with YAML files"),
        "{message}"
    );
}

#[test]
fn stdin_is_read_and_named() {
    let worked = fs::read(root().join("examples/worked.yaml")).expect("the example");
    beemesh()
        .args(["lint", "-f", "-"])
        .write_stdin(worked.clone())
        .assert()
        .code(0);
    let empty = beemesh()
        .args(["lint", "-f", "-"])
        .write_stdin("")
        .assert()
        .code(2);
    let message = text(&empty.get_output().stderr);
    assert!(message.starts_with("error: stdin: "), "{message}");
    let other = text(&worked)
        .replace("name: worked", "name: other")
        .into_bytes();
    let twice = [worked, b"\n---\n".to_vec(), other].concat();
    let two = beemesh()
        .args(["routes", "-f", "-"])
        .write_stdin(twice)
        .assert()
        .code(2);
    let message = text(&two.get_output().stderr);
    assert!(
        message.contains("expected one MicroServiceTopology, found 2"),
        "{message}"
    );
}

#[test]
fn a_hundred_megabytes_of_nonsense_are_refused_quickly_in_little_memory() {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, block) in [
        ("zeros", vec![0_u8; 1 << 20]),
        ("text", b"a: [b, ".repeat(150_000)),
    ] {
        let path = directory.path().join(name);
        let mut file = fs::File::create(&path).expect("a file");
        (0..100).for_each(|_| file.write_all(&block).expect("room for it"));
        let started = std::time::Instant::now();
        let script = format!(
            "ulimit -v 400000; exec {} lint -f {}",
            env!("CARGO_BIN_EXE_beemesh"),
            path.display()
        );
        let output = assert_cmd::Command::new("sh")
            .args(["-c", &script])
            .assert()
            .code(2);
        let message = text(&output.get_output().stderr);
        assert!(message.contains(name), "{message}");
        assert!(
            started.elapsed().as_secs() < 20,
            "{name} took {:?}",
            started.elapsed()
        );
    }
}

#[test]
fn a_yaml_bomb_is_refused_quickly() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let below = format!("*a{}", level - 1);
        let list = vec![below; 9].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{list}]\n"));
    }
    let started = std::time::Instant::now();
    beemesh()
        .args(["lint", "-f", "-"])
        .write_stdin(bomb)
        .assert()
        .code(2);
    assert!(
        started.elapsed().as_secs() < 20,
        "took {:?}",
        started.elapsed()
    );
}

#[test]
fn usage_errors_exit_2() {
    for line in [
        "",
        "nonsense",
        "lint",
        "routes -f x --nonsense",
        "generate ball --forwarders 3",
    ] {
        run(line).code(2);
    }
    run("generate ring --forwarders 0").code(2);
    run("routes -f examples/worked.yaml -o nonsense").code(2);
}

#[test]
fn lint_warns_of_paths_that_packets_do_not_survive() {
    for (forwarders, warns) in [(63, false), (64, true)] {
        let line = crate::common::stdout(&format!("generate line --forwarders {forwarders}"));
        let lint = |words: &[&str]| {
            let mut lint = crate::common::beemesh();
            let output = lint
                .args(["lint", "-f", "-"])
                .args(words)
                .write_stdin(line.clone());
            output.assert().code(0).get_output().clone()
        };
        let told = crate::common::text(&lint(&[]).stderr);
        assert_eq!(
            told.contains(&format!("has {forwarders} Forwarders")),
            warns,
            "{told}"
        );
        let report: serde_json::Value =
            serde_json::from_slice(&lint(&["-o", "json"]).stdout).expect("JSON");
        assert_eq!(
            report["warnings"].as_array().expect("a list").len(),
            usize::from(warns)
        );
        assert_eq!(report["ok"], true);
    }
}
