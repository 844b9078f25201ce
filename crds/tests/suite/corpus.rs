//! The corpus: every file in `bad/` is refused for exactly the reasons in its first lines
//! (`# expect: PATH: part of the message`, one for each problem), every file in `good/` is taken.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crds::{Instances, Node, Problem};

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(folder);
    let entries = fs::read_dir(folder).expect("the corpus");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files
}

/// The expected problems: path (empty for the whole document) and a part of the message.
fn expected(text: &str) -> Vec<(&str, &str)> {
    let lines = text
        .lines()
        .map_while(|line| line.strip_prefix("# expect: "));
    lines
        .map(|line| line.split_once(": ").unwrap_or(("", line)))
        .collect()
}

#[test]
fn bad_files_are_refused_for_exactly_the_reasons_they_state() {
    let mut wrong = Vec::new();
    for file in files("bad") {
        let text = fs::read_to_string(&file).expect("a file of text");
        let expected = expected(&text);
        assert!(!expected.is_empty(), "{}: states no reason", file.display());
        let name = file
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name");
        let found = crds::load(name, text.as_bytes()).err().unwrap_or_default();
        let is_found = |(path, part): &(&str, &str)| {
            found
                .iter()
                .any(|problem| problem.path == *path && problem.message.contains(part))
        };
        if found.len() != expected.len() || !expected.iter().all(is_found) {
            let found: Vec<String> = found.iter().map(Problem::to_string).collect();
            wrong.push(format!("{name}: expected {expected:?}\n  found {found:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn good_files_are_taken_expanded_and_the_same_graph_afterwards() {
    let labels = [("zone", "b"), ("kubernetes.io/os", "linux"), ("edge", "")];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let nodes: Vec<Node> = ["n1", "n2"]
        .map(|name| Node {
            labels: labels.clone().into(),
            ..Node::from(name)
        })
        .into();
    for file in files("good") {
        let name = file.display().to_string();
        let text = fs::read(&file).expect("a file");
        let topologies = crds::load("f", text.as_slice());
        let topologies = topologies.unwrap_or_else(|problems| panic!("{name}: {problems:#?}"));
        for topology in topologies {
            let none = Instances::new();
            // A veth needs one node, and nobody says which.
            let nodes = if name.contains("veth-nodes-unknown") {
                &nodes[..1]
            } else {
                &nodes[..]
            };
            let forwarders = crds::expand(&topology, nodes, &[], &none);
            let forwarders = forwarders.unwrap_or_else(|problems| panic!("{name}: {problems:#?}"));
            let declared = crds::to_topology_on(&topology, nodes, &none).expect(&name);
            let derived = crds::topology_of(&forwarders).expect(&name);
            assert_eq!(declared, derived, "{name}");
            assert_eq!(declared.epoch(), derived.epoch(), "{name}");
        }
    }
}

#[test]
fn the_corpus_is_large_enough_to_mean_something() {
    assert!(files("bad").len() >= 200);
    assert!(files("good").len() >= 50);
}
