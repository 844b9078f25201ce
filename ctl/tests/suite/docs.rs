//! What the documents show is what the programs say.

use crate::common::{beemesh, root, stdout, text};

fn document(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).expect(path)
}

#[test]
fn the_picture_of_the_readme_is_current() {
    let drawn = stdout("graph -f examples/iot.yaml --stage spt --from plant-a -o svg");
    assert_eq!(drawn, document("docs/iot.svg"), "run `make generate`");
}

#[test]
fn the_topology_of_the_readme_is_valid() {
    let readme = document("README.md");
    let (_, rest) = readme.split_once("```yaml\n").expect("a YAML block");
    let (file, _) = rest.split_once("```").expect("the end of the block");
    let output = beemesh()
        .args(["lint", "-f", "-"])
        .write_stdin(file)
        .assert()
        .code(0);
    assert!(text(&output.get_output().stdout).contains("small is ok"));
}

#[test]
fn every_verb_of_the_readme_is_there() {
    let readme = document("README.md");
    let commands = readme.lines().filter(|line| line.starts_with("beemesh "));
    let mut seen = 0;
    for command in commands {
        let words = command
            .split_whitespace()
            .skip(1)
            .take_while(|word| !word.starts_with(['-', '#']));
        beemesh().args(words).arg("--help").assert().code(0);
        seen += 1;
    }
    assert!(seen > 10, "the README shows the verbs");
}

#[test]
fn every_verb_of_the_plugins_page_is_there() {
    let page = document("docs/kubectl-plugin.md");
    let (_, table) = page.split_once("| verb |").expect("a table");
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let mut seen = 0;
    for cell in rows.filter_map(|row| row.split('|').nth(1)) {
        for verb in cell.split('`').skip(1).step_by(2) {
            let is_word = |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase());
            let words: Vec<&str> = verb.split_whitespace().take_while(is_word).collect();
            let verb = words.join(" ");
            assert!(
                stdout(&format!("{verb} --help")).contains("--kubeconfig"),
                "{verb}"
            );
            seen += 1;
        }
    }
    assert_eq!(seen, 13);
}

#[test]
fn krew_installs_what_kubectl_looks_for() {
    let manifest = document("ctl/krew.yaml");
    let short = manifest
        .lines()
        .find_map(|line| line.trim().strip_prefix("shortDescription: "));
    assert!(short.is_some_and(|text| text.len() <= 50), "krew's limit");
    assert_eq!(manifest.matches("bin: kubectl-beemesh\n").count(), 2);
    assert_eq!(manifest.matches("to: kubectl-beemesh}").count(), 2);
}
