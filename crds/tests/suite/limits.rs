//! Large topologies are taken up to the documented bounds, and refused in time above them.

use std::io::{self, Read};

use crds::{
    Instances, LabelSelector, Layout, MicroServiceTopology, MicroServiceTopologySpec, Node,
    Problem, Settled,
    lint::{MAX_APPS, MAX_FORWARDERS, MAX_LINKS, MAX_NODES},
    size::{self, ForwarderSizes},
    topology::{AppEntry, ForwarderEntry, ForwarderPerNode, LinkEntry, Shape},
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
    // 725 * 724 / 2 = 262,450 links.
    let found = crds::lint(&large(725, Shape::Mesh));
    let expected = "a Mesh of 725 forwarders has 262450 links: expected at most 262144";
    assert_eq!(found, [Problem::new("spec.shape", expected)]);
    let found = crds::lint(&large(700, Shape::Mesh));
    assert_eq!(paths(&found), ["spec.shape"]);
    assert!(
        found[0]
            .message
            .contains("MB of memory: expected at most 100 MB"),
        "{}",
        found[0]
    );
    assert_eq!(crds::lint(&large(450, Shape::Mesh)), []);
}

/// One Forwarder on each of `count` nodes.
fn per_node(count: usize, spec: MicroServiceTopologySpec) -> Result<ForwarderSizes, Vec<Problem>> {
    let nodes: Vec<Node> = (0..count)
        .map(|index| {
            Node::from(&*format!(
                "ip-10-0-{}-{}.ec2.internal",
                index / 256,
                index % 256
            ))
        })
        .collect();
    let spec = MicroServiceTopologySpec {
        forwarder_per_node: Some(ForwarderPerNode::default()),
        ..spec
    };
    let topology = MicroServiceTopology::new("large", spec);
    let layout = Layout::new(&topology, &nodes, &Settled::new())?;
    Ok(layout.sizes())
}

#[test]
fn links_are_counted_when_nodes_are_known() {
    let of = |shape| MicroServiceTopologySpec {
        shape,
        ..MicroServiceTopologySpec::default()
    };
    let found = per_node(2_000, of(Shape::Mesh)).expect_err("2 million links");
    let expected = "a Mesh of 2000 forwarders has 1999000 links: expected at most 262144";
    assert_eq!(found, [Problem::new("spec.shape", expected)]);
    let found = per_node(5_000, of(Shape::Star)).expect_err("a hub of 5,000 links");
    assert_eq!(paths(&found), ["spec.shape"]);
    assert!(
        found[0].message.contains("expected at most 1416 kB"),
        "{}",
        found[0]
    );
    for (count, shape) in [
        (2_000, Shape::Star),
        (5_000, Shape::Grid),
        (300, Shape::Mesh),
    ] {
        per_node(count, of(shape)).unwrap_or_else(|found| panic!("{shape:?}: {found:?}"));
    }
}

#[test]
fn a_topology_is_on_as_many_nodes_as_its_daemons_can_talk_to() {
    let found = per_node(MAX_NODES + 1, MicroServiceTopologySpec::default());
    let expected = "is on 5001 nodes: expected at most 5000";
    assert_eq!(
        found,
        Err(vec![Problem::new("spec.forwarderPerNode", expected)])
    );
}

/// 2,000 Apps and 4,096 namespaces: 240 kB.
fn wide() -> MicroServiceTopologySpec {
    let app = |index| AppEntry {
        pod_selector: Some(LabelSelector {
            match_labels: [("app".to_owned(), format!("a{index}"))].into(),
            ..LabelSelector::default()
        }),
        ..AppEntry::new(format!("a{index}"))
    };
    MicroServiceTopologySpec {
        apps: (0..2_000).map(app).collect(),
        allowed_namespaces: (0..4_096).map(|index| format!("team-{index}")).collect(),
        ..MicroServiceTopologySpec::default()
    }
}

/// Otherwise a topology that has all it asks for would seem to ask for more.
#[test]
fn the_memory_that_a_declaration_asks_for_is_what_its_forwarders_take() {
    let nodes = ["n1", "a-node-with-a-long-name"].map(Node::from);
    let mut pinned = large(3, Shape::Ring);
    pinned.spec.links = vec![LinkEntry::new("f0", "f1", 2), LinkEntry::new("f1", "f0", 3)];
    pinned.spec.apps = ["Auto", "f1", "f1"]
        .iter()
        .enumerate()
        .map(|(index, forwarder)| AppEntry {
            forwarder: (*forwarder).to_owned(),
            ..AppEntry::new(format!("a{index}"))
        })
        .collect();
    let mut on_nodes = large(0, Shape::Star);
    on_nodes.spec.forwarder_per_node = Some(ForwarderPerNode::default());
    // One end is on no node that is there.
    on_nodes.spec.links = vec![LinkEntry::new("n1", "n2", 1)];
    for topology in [large(30, Shape::Mesh), pinned, on_nodes] {
        let forwarders =
            crds::expand(&topology, &nodes, &[], &Instances::new()).expect("forwarders");
        let taken: usize = forwarders.iter().map(|it| size::memory(&it.spec)).sum();
        assert_eq!(crds::expand::memory(&topology, &nodes), taken);
    }
    assert_eq!(
        crds::expand::memory(&large(725, Shape::Mesh), &nodes),
        0,
        "it is rejected"
    );
}

#[test]
fn apps_do_not_multiply_with_namespaces() {
    let mut topology = large(4, Shape::Mesh);
    topology.spec = MicroServiceTopologySpec {
        forwarders: topology.spec.forwarders,
        ..wide()
    };
    let declared = serde_json::to_vec(&topology).expect("JSON").len();
    let nodes = ["n1"].map(Node::from);
    let expanded = crds::expand(&topology, &nodes, &[], &Instances::new()).expect("forwarders");
    for forwarder in &expanded {
        let bytes = serde_json::to_vec(forwarder).expect("JSON").len();
        assert!(bytes < 2 * declared, "{bytes} of {declared}");
    }
}

#[test]
fn what_many_forwarders_repeat_is_refused_with_field_and_number() {
    let found = per_node(1_000, wide()).expect_err("1,000 times 2,000 Apps");
    assert_eq!(paths(&found), ["spec.apps"]);
    assert!(
        found[0].message.starts_with("1000 forwarders"),
        "{}",
        found[0]
    );
    let namespaces = MicroServiceTopologySpec {
        apps: Vec::new(),
        ..wide()
    };
    let found = per_node(1_000, namespaces).expect_err("1,000 times 4,096 namespaces");
    assert_eq!(paths(&found), ["spec.allowedNamespaces"]);
    let mut pinned = large(2, Shape::Line);
    pinned.spec.apps = (0..MAX_APPS)
        .map(|index| AppEntry {
            forwarder: "f1".to_owned(),
            ..AppEntry::new(format!("an-app-with-quite-a-long-name-{index}"))
        })
        .collect();
    let found = crds::lint(&pinned);
    assert_eq!(paths(&found), ["spec.apps"]);
    assert!(
        found[0].message.contains("of forwarder \"f1\""),
        "{}",
        found[0]
    );
}

#[test]
fn a_declaration_that_etcd_refuses_is_known_before() {
    let mut topology = large(10_000, Shape::Line);
    assert_eq!(size::check_declared(&topology), None);
    topology.spec.links = (0..40_000)
        .map(|index| LinkEntry::new(format!("f{}", index % 10_000), "f1", 3))
        .collect();
    let problem = size::check_declared(&topology).expect("2.4 MB");
    assert_eq!(problem.path, "spec");
    assert!(
        problem.message.contains("expected at most 1416 kB"),
        "{problem}"
    );
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
