use super::*;

const GOOD: &str = "apiVersion: beemesh.io/v1alpha1\nkind: MicroServiceTopology\n\
    metadata: {name: iot}\nspec: {forwarders: [{name: a}]}\n";

fn problem(body: &str) -> Problem {
    match declared("plant", "iot", body.as_bytes()) {
        Ok(_) => panic!("{body}"),
        Err(problem) => problem,
    }
}

#[test]
fn what_is_sent_is_what_was_written_without_defaults() {
    let (topology, object) = declared("plant", "iot", GOOD.as_bytes()).expect("good");
    assert_eq!(topology.metadata.namespace, "plant");
    assert_eq!(object["metadata"]["namespace"], "plant");
    assert_eq!(
        object["spec"],
        serde_json::json!({"forwarders": [{"name": "a"}]})
    );
}

#[test]
fn an_answer_to_a_read_can_be_sent_back() {
    let text = GOOD.replace(
        "{name: iot}",
        "{name: iot, namespace: plant, uid: u, resourceVersion: \"7\", generation: 3}",
    ) + "status: {epoch: e}\n";
    let (_, object) = declared("plant", "iot", text.as_bytes()).expect("good");
    let expected = serde_json::json!({"name": "iot", "namespace": "plant", "resourceVersion": "7"});
    assert_eq!(object["metadata"], expected);
    assert_eq!(object.get("status"), None);
}

#[test]
fn what_is_wrong_has_its_path() {
    let unknown = problem(&GOOD.replace("forwarders:", "forwarderz:"));
    assert_eq!(
        (unknown.status, unknown.errors[0].path.as_str()),
        (422, "spec.forwarderz")
    );
    let linted = problem(&GOOD.replace("[{name: a}]", "[{name: a}, {name: a}]"));
    assert_eq!(
        (linted.status, linted.errors[0].path.as_str()),
        (422, "spec.forwarders[1].name")
    );
    let other = problem(&GOOD.replace("name: iot", "name: other"));
    assert_eq!(other.errors[0].path, "metadata.name");
    assert_eq!(
        other.detail,
        "metadata.name: expected \"iot\" as in the path, found \"other\""
    );
    let elsewhere = problem(&GOOD.replace("name: iot", "name: iot, namespace: other"));
    assert_eq!(elsewhere.errors[0].path, "metadata.namespace");
    let two = problem(&format!(
        "{GOOD}---\n{}",
        GOOD.replace("name: iot", "name: b")
    ));
    assert_eq!(
        two.errors[0].message,
        "expected one MicroServiceTopology, found several"
    );
}

#[test]
fn names_cannot_leave_their_place_in_the_path() {
    for (namespace, name) in [
        ("..", "iot"),
        ("a/b", "iot"),
        ("plant", "a?b"),
        ("plant", ""),
    ] {
        assert!(url_path(namespace, name).is_err(), "{namespace} {name}");
    }
    let path = url_path("plant", "iot").expect("both are names");
    assert_eq!(
        path,
        "/apis/beemesh.io/v1alpha1/namespaces/plant/microservicetopologies"
    );
}
