//! `--help` and completions: every example shown was run.

use crate::common::{root, run, stdout};
use std::os::unix::fs::symlink;
use std::path::Path;

#[test]
fn every_example_of_the_offline_verbs_works() {
    let directory = tempfile::tempdir().expect("a directory");
    symlink(root().join("examples"), directory.path().join("examples")).expect("a link");
    let bin = Path::new(env!("CARGO_BIN_EXE_beemesh"))
        .parent()
        .expect("it is in a directory");
    let path = format!(
        "{}:{}",
        bin.display(),
        std::env::var("PATH").expect("there is a PATH")
    );
    for verb in ["lint", "generate", "graph", "routes", "plan"] {
        let help = stdout(&format!("{verb} --help"));
        let (_, examples) = help.split_once("Examples:\n").expect(verb);
        let examples: Vec<&str> = examples
            .lines()
            .filter(|line| line.starts_with("  "))
            .collect();
        assert!(examples.len() >= 2, "{verb}: {help}");
        for example in examples {
            let script = format!("set -euo pipefail; {example} >/dev/null");
            let script = if example.contains('>') {
                example.to_owned()
            } else {
                script
            };
            let mut bash = assert_cmd::Command::new("bash");
            bash.args(["-c", &script])
                .current_dir(&directory)
                .env("PATH", &path);
            bash.assert().code(0).stderr("");
        }
    }
}

#[test]
fn help_names_the_exit_codes() {
    let help = stdout("--help");
    assert!(
        help.contains("0 done   1 failed   2 usage or invalid input   3 not found   4 timed out")
    );
    assert!(
        !help.contains(" node "),
        "the engine's verb is hidden: {help}"
    );
}

#[test]
fn completions_know_verbs_and_options() {
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&format!("completion {shell}"));
        for word in [
            "lint", "generate", "graph", "routes", "plan", "status", "validate", "drain", "lab",
            "without",
        ] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    let script = stdout("completion bash");
    assert_cmd::Command::new("bash")
        .arg("-n")
        .write_stdin(script)
        .assert()
        .code(0)
        .stderr("");
    run("completion tcsh").code(2);
}

#[test]
fn kubectl_finds_the_same_program_as_its_plugin() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = |name: &str| {
        let path = directory.path().join(name);
        symlink(env!("CARGO_BIN_EXE_beemesh"), &path).expect("a link");
        assert_cmd::Command::new(path)
    };
    let help = program("kubectl-beemesh")
        .args(["routes", "--help"])
        .assert()
        .code(0);
    let help = crate::common::text(&help.get_output().stdout);
    assert!(help.contains("Usage: kubectl beemesh routes"), "{help}");
    assert!(
        help.contains("\n  kubectl beemesh routes -f examples/worked.yaml"),
        "{help}"
    );
    let mut completion = program("kubectl_complete-beemesh");
    let words = completion.args(["routes", "--wi"]).assert().code(0);
    let words = crate::common::text(&words.get_output().stdout);
    assert!(
        words.starts_with("--without\t") && words.ends_with("\n:4\n"),
        "{words}"
    );
}

#[test]
fn every_verb_prints_json_on_request() {
    let offline = ["lint", "generate", "graph", "routes", "plan"];
    // `exec` prints what its command prints.
    let lab = [
        "up",
        "down",
        "status",
        "list",
        "ping",
        "trace",
        "cut",
        "one-way",
        "slow",
        "flap",
        "kill",
        "freeze",
        "partition",
        "burn",
        "heal",
        "test",
        "conflist",
    ];
    let lab = lab.map(|verb| format!("lab {verb}"));
    let cluster = ["status", "validate", "drain", "undrain"];
    for verb in offline
        .into_iter()
        .chain(cluster)
        .chain(lab.iter().map(String::as_str))
    {
        let help = stdout(&format!("{verb} --help"));
        assert!(help.contains("--output"), "{verb}");
    }
}
