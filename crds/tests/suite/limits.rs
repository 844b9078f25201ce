//! Large topologies are taken up to the documented bounds, and refused in time above them.

use std::io::{self, Read};

use crds::{
    Instances, MicroServiceTopology, MicroServiceTopologySpec, Node, Problem,
    lint::{MAX_APPS, MAX_FORWARDERS, MAX_LINKS},
    topology::{AppEntry, ForwarderEntry, LinkEntry, Shape},
};

/// Forwarders `f0`, `f1`, ... with a shape.
fn large(count: usize, shape: Shape) -> MicroServiceTopology {
    let entry = |index| ForwarderEntry {
        name: format!("f{index}"),
        ..ForwarderEntry::default()
    };
    let spec = MicroServiceTopologySpec {
        forwarders: (0..count).map(entry).collect(),
        shape,
        ..MicroServiceTopologySpec::default()
    };
    MicroServiceTopology::new("large", spec)
}

fn paths(problems: &[Problem]) -> Vec<&str> {
    problems
        .iter()
        .map(|problem| problem.path.as_str())
        .collect()
}

#[test]
fn ten_thousand_forwarders_with_forty_thousand_links_are_read_and_expanded() {
    let mut topology = large(10_000, Shape::Custom);
    for index in 0..40_000 {
        let (a, b) = (index % 10_000, (index * 7 + 1 + index / 10_000) % 10_000);
        if a != b {
            topology
                .spec
                .links
                .push(LinkEntry::new(format!("f{a}"), format!("f{b}"), 3));
        }
    }
    let text = serde_json::to_vec(&topology).expect("JSON is YAML");
    let read = crds::load("large", text.as_slice()).expect("a good topology");
    assert_eq!(read, [topology]);
    let nodes: Vec<Node> = ["n1", "n2", "n3"].map(Node::from).into();
    let forwarders = crds::expand(&read[0], &nodes, &[], &Instances::new()).expect("forwarders");
    let declared = crds::to_topology(&read[0], &Instances::new()).expect("a graph");
    assert_eq!(
        crds::topology_of(&forwarders).expect("a graph").epoch(),
        declared.epoch()
    );
}

#[test]
fn lists_have_bounds() {
    let bound = large(MAX_FORWARDERS + 1, Shape::Ring);
    assert_eq!(paths(&crds::lint(&bound)), ["spec.forwarders"]);
    let mut apps = large(1, Shape::Ring);
    apps.spec.apps = (0..=MAX_APPS)
        .map(|index| AppEntry::new(format!("a{index}")))
        .collect();
    assert_eq!(paths(&crds::lint(&apps)), ["spec.apps"]);
    let mut links = large(2, Shape::Custom);
    links.spec.links = vec![LinkEntry::new("f0", "f1", 1); MAX_LINKS + 1];
    assert_eq!(paths(&crds::lint(&links)), ["spec.links"]);
}

#[test]
fn a_mesh_may_not_explode() {
    // 724 * 723 / 2 = 261,726 links; one more forwarder makes 262,450.
    assert_eq!(crds::lint(&large(724, Shape::Mesh)), []);
    let found = crds::lint(&large(725, Shape::Mesh));
    let expected = "a Mesh of 725 forwarders has 262450 links: expected at most 262144";
    assert_eq!(found, [Problem::new("spec.shape", expected)]);
}

#[test]
fn more_forwarders_than_blocks_are_refused() {
    // 10.80.0.0/16 has 16,384 blocks of /30.
    assert_eq!(crds::lint(&large(16_384, Shape::Line)), []);
    let found = crds::lint(&large(16_385, Shape::Line));
    assert_eq!(paths(&found), ["spec.addressing.cidrs[0]"]);
    assert!(
        found[0].message.contains("only 16384 blocks of /30"),
        "{}",
        found[0]
    );
}

#[test]
fn thousands_of_problems_are_told_in_part() {
    let mut topology = large(10_000, Shape::Custom);
    topology
        .spec
        .forwarders
        .iter_mut()
        .for_each(|entry| entry.name.push('/'));
    let text = serde_json::to_vec(&topology).expect("JSON is YAML");
    let problems = crds::load("f", text.as_slice()).expect_err("bad names");
    assert_eq!(problems.len(), crds::error::MAX_PROBLEMS + 1);
    assert_eq!(
        problems.last().map(ToString::to_string).as_deref(),
        Some("f: and 9800 more problems")
    );
}

#[test]
fn large_files_full_of_errors_are_refused_in_time() {
    let mut topology = large(10_000, Shape::Custom);
    let nobody = |index| LinkEntry::new(format!("g{index}"), format!("h{index}"), 0);
    topology.spec.links = (0..50_000).map(nobody).collect();
    assert_eq!(crds::lint(&topology).len(), 150_000);
    let good = serde_json::to_string(&topology).expect("JSON is YAML");
    let unknown = good.replace("\"weight\"", "\"wieght\"");
    let wrong = good.replace("\"weight\":0", "\"weight\":0.5");
    for text in [unknown, wrong] {
        let problems = crds::load("f", text.as_bytes()).expect_err("errors");
        assert!(
            (5..=crds::error::MAX_PROBLEMS + 1).contains(&problems.len()),
            "{}",
            problems.len()
        );
    }
}

#[test]
fn a_hundred_megabytes_are_refused_by_size_alone() {
    for byte in [b'[', b'a', b' ', b'\n', 0, 0xff, b'&', b'-'] {
        let mut input = io::repeat(byte).take(100 << 20);
        let problems = crds::load("-", &mut input).expect_err("nonsense");
        assert_eq!(
            problems[0].to_string(),
            "-: too large: expected at most 8 MiB"
        );
        assert!(input.limit() > 90 << 20, "the rest is left unread");
    }
}
