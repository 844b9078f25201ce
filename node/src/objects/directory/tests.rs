use crds::ForwarderSpec;

use super::*;

fn forwarder(name: &str) -> Forwarder {
    let spec = ForwarderSpec {
        topology: "t".into(),
        name: name.into(),
        node: "n1".into(),
        ..ForwarderSpec::default()
    };
    Forwarder::new("default", spec)
}

fn write(root: &Path, name: &str, text: &str) {
    fs::write(root.join("forwarders").join(name), text).unwrap();
}

fn yaml(name: &str) -> String {
    serde_saphyr::to_string(&forwarder(name)).unwrap()
}

fn names(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.forwarders.keys().map(String::as_str).collect()
}

#[test]
fn bad_file_stops_no_good_one_and_keeps_its_last_good_version() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let mut source = Directory::open(root).unwrap();
    assert!(source.load().is_complete, "empty is a state too");

    write(root, "a.yaml", &yaml("a"));
    write(root, "b.yaml", &yaml("b"));
    assert_eq!(names(&source.load()), ["t.a", "t.b"]);

    let torn = yaml("a");
    write(root, "a.yaml", &torn[..torn.len() / 2]);
    write(root, "c.yaml", &yaml("c"));
    let snapshot = source.load();
    assert_eq!(names(&snapshot), ["t.a", "t.b", "t.c"]);
    assert_eq!(snapshot.problems.len(), 1, "{:?}", snapshot.problems);
    assert!(snapshot.is_complete, "its last good version is known");

    fs::remove_file(root.join("forwarders/a.yaml")).unwrap();
    let snapshot = source.load();
    assert_eq!(names(&snapshot), ["t.b", "t.c"]);
    assert!(snapshot.problems.is_empty() && snapshot.is_complete);
}

#[test]
fn is_not_complete_while_a_file_was_never_readable_or_the_directory_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let mut source = Directory::open(root).unwrap();
    for garbage in [
        "",
        "\0\u{1}",
        "kind: Forwarder",
        "[[[[[[",
        "a: &a [*a, *a]",
        "- 1",
    ] {
        write(root, "a.yaml", garbage);
        let snapshot = source.load();
        assert!(!snapshot.is_complete, "{garbage:?}");
        assert_eq!(snapshot.problems.len(), 1, "{garbage:?}");
    }
    fs::remove_dir_all(root.join("forwarders")).unwrap();
    assert!(!source.load().is_complete);
}

#[test]
fn names_that_would_leave_their_directory_are_refused() {
    for bad in ["../x", "a/b", "", "."] {
        assert!(check_forwarder(&forwarder(bad)).is_err(), "{bad:?}");
    }
    assert_eq!(check_forwarder(&forwarder("edge-a")), Ok(()));
}

#[test]
fn hidden_and_foreign_files_are_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let mut source = Directory::open(directory.path()).unwrap();
    for name in [".a.yaml.1.tmp", ".b.yaml", "README.md", "c.yaml~"] {
        write(directory.path(), name, "garbage: [");
    }
    let snapshot = source.load();
    assert!(snapshot.problems.is_empty() && snapshot.is_complete);
}

#[test]
fn status_is_written_only_when_it_changes_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut source = Directory::open(directory.path()).unwrap();
    let mut status = ForwarderStatus {
        netns: "bm-t-a".into(),
        ..ForwarderStatus::default()
    };
    assert!(source.report("t.a", &status).unwrap());
    assert!(!source.report("t.a", &status).unwrap());
    let mut source = Directory::open(directory.path()).unwrap();
    assert!(!source.report("t.a", &status).unwrap());
    status.links.total = 1;
    assert!(source.report("t.a", &status).unwrap());
    let text = fs::read_to_string(directory.path().join("status/t.a.yaml")).unwrap();
    assert_eq!(
        serde_saphyr::from_str::<ForwarderStatus>(&text).unwrap(),
        status
    );
    source.forget("t.a");
    assert!(!directory.path().join("status/t.a.yaml").exists());
}
