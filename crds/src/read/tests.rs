use std::io::{self, Read};

use serde_json::json;

use super::*;
use crate::topology::*;

const GOOD: &str = "apiVersion: beemesh.io/v1alpha1\nkind: MicroServiceTopology\n\
    metadata: {name: t}\nspec: {}\n";

fn problems(text: &str) -> Vec<String> {
    match read("f", text.as_bytes()) {
        Ok(topologies) => panic!("read {topologies:?}"),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn what_is_absent_has_the_documented_defaults() {
    let topology = &read("f", GOOD.as_bytes()).expect("a good document")[0];
    assert_eq!(topology.metadata.namespace, "default");
    assert_eq!(topology.spec, MicroServiceTopologySpec::default());
    assert_eq!(
        topology.spec.routing,
        Routing {
            max_paths: 64,
            resilient: true
        }
    );
    assert_eq!(topology.spec.liveness.interval.as_millis(), 100);
}

#[test]
fn all_problems_are_found_at_their_place_in_the_document_as_written() {
    let text = GOOD.replace("spec: {}", "")
        + "spec:\n  shap: Ring\n  addressing: {cidrs: [x, 10.0.0.0/8, y]}\n  links:\n  \
           - {a: 1, b: q}\n  - {a: p, b: q, weight: -1, wieght: 1}\n  - {a: p}\n  \
           - {a: p, b: q, type: vxlan}\n";
    let expected = [
        "f: spec.addressing.cidrs[0]: expected a CIDR such as \"10.80.0.0/16\", found \"x\"",
        "f: spec.addressing.cidrs[2]: expected a CIDR such as \"10.80.0.0/16\", found \"y\"",
        "f: spec.links[0].a: expected a string, found integer 1: put it into quotes",
        "f: spec.links[1].weight: expected a whole number of 1 or more, at most 4294967295, \
         found -1",
        "f: spec.links[1].wieght: unknown field, expected one of a, b, weight, weightBack, type, \
         mtu (did you mean \"weight\"?)",
        "f: spec.links[2].b: required field is missing",
        "f: spec.links[3].type: expected one of Auto, Veth, Vxlan, Encrypted, found \"vxlan\" \
         (did you mean \"Vxlan\"?)",
        "f: spec.shap: unknown field, expected one of addressing, forwarders, forwarderPerNode, \
         shape, links, routing, liveness, apps, allowedNamespaces, drain (did you mean \"shape\"?)",
    ];
    assert_eq!(problems(&text), expected);
}

#[test]
fn a_field_given_twice_is_named_with_its_path_and_line() {
    let text = GOOD.replace("spec: {}", "spec:\n  routing: {maxPaths: 1, maxPaths: 2}\n");
    let expected = "f: spec.routing.maxPaths: duplicate field (given again in line 5)";
    assert_eq!(problems(&text), [expected]);
}

#[test]
fn several_documents_are_told_apart() {
    let second = GOOD.replace("name: t", "name: u, colour: red");
    let found = problems(&format!("{GOOD}---\n{second}---\n"));
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("f (document 2): metadata.colour: unknown field"),
        "{found:?}"
    );
    let found = problems(&format!("{GOOD}---\n{GOOD}"));
    assert_eq!(
        found,
        ["f: metadata.name: duplicate topology \"default/t\""]
    );
    let other = GOOD.replace("name: t", "name: t, namespace: u");
    assert_eq!(
        read("f", format!("{GOOD}---\n{other}").as_bytes()).map(|t| t.len()),
        Ok(2)
    );
}

#[test]
fn what_the_api_server_adds_is_passed_over() {
    let text = GOOD.replace(
        "name: t",
        "name: t, uid: x, generation: 3, managedFields: [{a: b}]",
    ) + "status: {conditions: []}\n";
    assert!(read("f", text.as_bytes()).is_ok());
}

#[test]
fn too_much_input_is_refused_after_the_limit_and_before_parsing() {
    let mut nonsense = io::repeat(b'[').take(100 << 20);
    let found = read_limited("-", &mut nonsense).expect_err("nonsense");
    assert_eq!(found[0].to_string(), "-: too large: expected at most 8 MiB");
    assert_eq!(nonsense.limit(), (100 << 20) - MAX_INPUT_BYTES as u64 - 1);
}

#[test]
fn a_failing_reader_is_a_problem_of_the_file() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("gone"))
        }
    }
    assert_eq!(
        read_limited("f", Broken).expect_err("broken")[0].to_string(),
        "f: failed to read: gone"
    );
}

#[test]
fn bombs_are_refused() {
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        laughs += &format!("a{level}: &a{level} [{}]\n", vec![before; 10].join(", "));
    }
    let deep = "[".repeat(1 << 20);
    let wide = "[],".repeat(1_600_000);
    let nested: String = (0..2000)
        .map(|depth| format!("{}a:\n", " ".repeat(depth)))
        .collect();
    let documents = "--- 1\n".repeat(100_000);
    for bomb in [
        laughs,
        deep,
        format!("[{wide}]"),
        nested,
        documents,
        "&a ".repeat(1 << 20),
    ] {
        let found = read("f", bomb.as_bytes()).expect_err("a bomb");
        assert!(found.len() <= error::MAX_PROBLEMS + 1);
        assert!(found[0].to_string().len() < 500, "{}", found[0]);
    }
}

#[test]
fn an_object_of_the_api_server_is_read_as_its_user_wrote_it() {
    let object = serde_json::json!({
        "apiVersion": API_VERSION, "kind": "MicroServiceTopology",
        "metadata": {
            "name": "t", "namespace": "plant", "uid": "0-0", "generation": 3, "labels": {"a": "b"},
            "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}], "fieldOfLater": 1,
        },
        "spec": {"forwarders": [{"name": "f"}], "links": [{"a": "f"}], "shap": "Ring"},
        "status": {"conditions": [], "anything": 7},
    });
    let mut right = object.clone();
    right["spec"] = serde_json::json!({"forwarders": [{"name": "f"}]});
    let read = from_value(right).expect("a topology");
    assert_eq!(
        (&*read.metadata.namespace, read.metadata.labels.len()),
        ("plant", 1)
    );
    let found = from_value(object.clone()).expect_err("problems");
    let text = serde_json::to_vec(&object).expect("JSON");
    let in_file = super::read("", &text).expect_err("problems");
    let of_spec = |problem: &&Problem| problem.path.starts_with("spec");
    assert_eq!(
        found,
        in_file.iter().filter(of_spec).cloned().collect::<Vec<_>>()
    );
    let paths: Vec<&str> = found.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["spec.links[0].b", "spec.shap"]);
}

#[test]
fn the_table_of_fields_is_that_of_the_types() {
    let full = full();
    let written = serde_json::to_value(&full).expect("a topology is JSON");
    for (parent, fields) in fields::FIELDS
        .iter()
        .filter(|(_, fields)| !fields.is_empty())
    {
        let steps = parent.split('.').filter(|step| !step.is_empty());
        let object = steps.fold(&written, |value, step| match &value[step] {
            Value::Array(list) => &list[0],
            other => other,
        });
        let keys = object.as_object().expect("an object").keys();
        let found: BTreeSet<&str> = keys.map(String::as_str).collect();
        assert_eq!(found, fields.iter().copied().collect(), "{parent}");
    }
    let text = serde_json::to_vec(&full).expect("a topology is JSON");
    assert_eq!(
        read("f", &text),
        Ok(vec![full]),
        "what is written is read back"
    );
}

/// A topology with every field there is.
fn full() -> MicroServiceTopology {
    use crate::selector::{LabelSelector, Operator, Requirement};
    let labels = || [("a".to_owned(), "b".to_owned())].into();
    let requirement = Requirement {
        key: "a".into(),
        operator: Operator::In,
        values: vec!["b".into()],
    };
    let selector = LabelSelector {
        match_labels: labels(),
        match_expressions: vec![requirement],
    };
    let external = External {
        forwarder: "f1".into(),
        cidrs: Addressing::default().cidrs,
    };
    let link = LinkEntry {
        weight_back: Some(2),
        mtu: Some(1400),
        ..LinkEntry::new("f1", "f2", 3)
    };
    let app = AppEntry {
        pod_selector: Some(selector),
        external: Some(external),
        forwarder: "f1".into(),
        weight: 2,
        ..AppEntry::new("app")
    };
    let forwarder = ForwarderEntry {
        name: "f1".into(),
        node: Some("n".into()),
        node_selector: labels(),
    };
    let spec = MicroServiceTopologySpec {
        addressing: Addressing {
            block_prefixes: vec![24, 64],
            ..Addressing::default()
        },
        forwarders: vec![forwarder],
        forwarder_per_node: Some(ForwarderPerNode {
            node_selector: labels(),
        }),
        links: vec![link],
        apps: vec![app],
        allowed_namespaces: vec!["*".into()],
        drain: Some(Drain {
            forwarders: vec!["f1".into()],
            links: vec!["f1/f2".into()],
        }),
        ..MicroServiceTopologySpec::default()
    };
    let mut topology = MicroServiceTopology::new("t", spec);
    topology.metadata.labels = labels();
    topology.metadata.annotations = labels();
    topology
}

#[test]
fn stored_objects_may_have_fields_of_newer_versions() {
    let document = json!({
        "apiVersion": "beemesh.io/v1alpha1", "kind": "MicroServiceTopology", "metadata": {"name": "t"},
        "spec": {
            "addressing": {"cidrs": ["10.0.0.0/16"], "pools": []},
            "forwarders": [{"name": "a"}, {"name": "b", "zone": "z"}],
            "links": [{"a": "a", "b": "b", "color": "red"}],
            "apps": [{"name": "x", "podSelector": {"matchLabels": {"app": "x"}, "matchFields": []}}],
            "timers": {"hold": "1s"},
        },
        "status": {"unheard": 1},
    });
    let stored = super::stored(document.clone()).expect("a newer version stored it");
    let ignored = [
        "spec.addressing.pools",
        "spec.apps[0].podSelector.matchFields",
        "spec.forwarders[1].zone",
        "spec.links[0].color",
        "spec.timers",
    ];
    assert_eq!(stored.ignored, ignored);
    assert_eq!(stored.topology.spec.links.len(), 1);
    let refused = super::from_value(document).expect_err("whoever writes it is told");
    let paths: Vec<&str> = refused
        .iter()
        .map(|problem| problem.path.as_str())
        .collect();
    assert_eq!(paths, ignored);
}

#[test]
fn stored_objects_with_wrong_values_stay_refused() {
    let document = json!({
        "apiVersion": "beemesh.io/v1alpha1", "kind": "MicroServiceTopology", "metadata": {"name": "t"},
        "spec": {"forwarders": [{"name": "a", "zone": "z"}], "shape": "Torus"},
    });
    let problems = super::stored(document).expect_err("no such shape");
    let paths: Vec<&str> = problems
        .iter()
        .map(|problem| problem.path.as_str())
        .collect();
    assert_eq!(paths, ["spec.shape"]);
}
