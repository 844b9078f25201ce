use crds::ForwarderSpec;
use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::*;
use crate::{observe::read, plan::plan};

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).expect("it has kind and metadata")
}

fn topology(uid: &str, spec: &Value) -> Cached {
    let value = json!({
        "apiVersion": crds::API_VERSION,
        "kind": "MicroServiceTopology",
        "metadata": {"name": "iot", "namespace": "plant", "uid": uid, "generation": 1},
        "spec": spec,
    });
    Cached::Topology(Arc::new(read::topology(object(value))))
}

fn forwarder(owner: &str, node: &str, version: u64) -> Cached {
    let value = json!({
        "apiVersion": crds::API_VERSION,
        "kind": "Forwarder",
        "metadata": {
            "name": "iot.a",
            "namespace": "plant",
            "uid": "f1",
            "resourceVersion": version.to_string(),
            "ownerReferences": [{
                "apiVersion": crds::API_VERSION,
                "kind": "MicroServiceTopology",
                "name": "iot",
                "uid": owner,
                "controller": true,
            }],
        },
        "spec": {"topology": "iot", "name": "a", "node": node},
    });
    Cached::Forwarder(Arc::new(read::forwarder(object(value))))
}

/// The same with another name and a block, and what its node reports of the pod `plant/p`.
fn reporting(name: &str, node: &str, address: &str) -> Cached {
    let Cached::Forwarder(held) = forwarder("t1", node, 1) else {
        unreachable!("made above")
    };
    let reported = json!([{
        "app": "web", "key": "container eth1", "pod": "plant/p", "addresses": [address],
    }]);
    let reported = serde_json::from_value(reported).expect("attachments");
    let mut held = held.as_ref().clone();
    held.key = Key::new("plant", name);
    let spec = Arc::make_mut(&mut held.spec);
    spec.name = name.trim_start_matches("iot.").to_owned();
    spec.blocks = vec!["10.80.0.0/16".parse().expect("a block")];
    held.attached = read::attached(reported, node);
    Cached::Forwarder(Arc::new(held))
}

fn pod(app: &str, node: &str) -> Cached {
    Cached::Pod(Arc::new(Pod {
        namespace: "plant".to_owned(),
        name: "p".to_owned(),
        node: node.to_owned(),
        labels: BTreeMap::from([("app".to_owned(), app.to_owned())]),
        ..Pod::default()
    }))
}

fn node(name: &str, zone: &str) -> Cached {
    Cached::Node(CachedNode {
        node: Node {
            name: name.to_owned(),
            labels: BTreeMap::from([("zone".to_owned(), zone.to_owned())]),
        },
        unfit: None,
    })
}

fn iot() -> Key {
    Key::new("plant", "iot")
}

fn fwd() -> Key {
    Key::new("plant", "iot.a")
}

/// One topology with an App, and its Forwarder.
fn state() -> State {
    let mut state = State::new(Vec::new());
    let spec = json!({
        "forwarders": [{"name": "a", "nodeSelector": {"zone": "b"}}],
        "apps": [{"name": "web", "podSelector": {"matchLabels": {"app": "web"}}}],
    });
    state.put(&iot(), topology("t1", &spec), 1);
    state.put(&fwd(), forwarder("t1", "n1", 2), 2);
    let entry = Arc::make_mut(state.topologies.get_mut(&iot()).expect("put above"));
    entry.computed = Some(Arc::new(computed()));
    state
}

fn computed() -> crate::plan::Computed {
    let forwarder = crds::Forwarder::new(
        "plant",
        ForwarderSpec {
            topology: "iot".to_owned(),
            name: "a".to_owned(),
            ..ForwarderSpec::default()
        },
    );
    let mut memo = crate::plan::Memo::default();
    crate::plan::Computed::new(&[forwarder], &mut memo).expect("one Forwarder is a graph")
}

fn is_concerned(concerned: &Concerned) -> bool {
    concerned.topologies.contains(&iot())
}

#[test]
fn an_older_answer_never_replaces_a_newer_one() {
    let mut state = state();
    let node_of = |state: &State| state.forwarder(&fwd()).map(|held| held.spec.node.clone());
    state.learn(&fwd(), forwarder("t1", "n3", 5), 5);
    assert_eq!(node_of(&state).as_deref(), Some("n3"));
    state.put(&fwd(), forwarder("t1", "n2", 4), 4);
    assert_eq!(
        node_of(&state).as_deref(),
        Some("n3"),
        "the watch lags behind"
    );
    state.remove(Kind::Forwarder, &fwd(), 6);
    state.learn(&fwd(), forwarder("t1", "n3", 5), 5);
    assert_eq!(node_of(&state), None, "it was deleted since");
}

#[test]
fn what_changes_nothing_concerns_nobody() {
    let mut state = state();
    let again = state.put(&fwd(), forwarder("t1", "n1", 9), 9);
    assert_eq!(again, Concerned::default());
    let held = state
        .forwarder(&fwd())
        .map(|held| held.resource_version.clone());
    assert_eq!(held.as_deref(), Some("9"), "writes need the newest version");
    assert!(is_concerned(&state.put(
        &fwd(),
        forwarder("t1", "n2", 10),
        10
    )));
}

#[test]
fn pods_concern_topologies_that_they_join_or_joined() {
    let mut state = state();
    let key = Key::new("plant", "p");
    assert!(!is_concerned(&state.put(&key, pod("db", "n1"), 1)));
    assert!(is_concerned(&state.put(&key, pod("web", "n1"), 2)));
    assert!(
        !is_concerned(&state.put(&key, pod("web", "n1"), 3)),
        "a heartbeat"
    );
    assert!(
        is_concerned(&state.put(&key, pod("web", "n2"), 4)),
        "it moved"
    );
    assert!(
        is_concerned(&state.put(&key, pod("db", "n2"), 5)),
        "it left"
    );
    assert!(!is_concerned(&state.remove(Kind::Pod, &key, 6)));
}

#[test]
fn of_a_pod_that_came_back_elsewhere_the_old_address_is_no_name() {
    let all = Source {
        kind: Kind::Pod,
        namespace: None,
    };
    let mut state = State {
        readiness: Watches::new(vec![all]),
        ..state()
    };
    let key = Key::new("plant", "p");
    state.put(&key, pod("web", "n1"), 1);
    state.put(&fwd(), reporting("iot.a", "n1", "10.80.0.2/32"), 3);
    let addresses = |state: &State| -> Vec<String> {
        let pods = state.names(&iot()).expect("it is there").pods.into_iter();
        let addresses = pods.flat_map(|pod| pod.addresses);
        addresses.map(|address| address.to_string()).collect()
    };
    assert_eq!(addresses(&state), ["10.80.0.2"]);
    // Its node is dead: nobody takes back what was reported there.
    let concerned = state.put(&key, pod("web", "n2"), 4);
    assert!(concerned.names.contains(&iot()));
    assert_eq!(addresses(&state), Vec::<String>::new());
    let other = Key::new("plant", "iot.b");
    state.put(&other, reporting("iot.b", "n2", "10.80.1.2/32"), 5);
    assert_eq!(addresses(&state), ["10.80.1.2"]);
}

#[test]
fn nodes_concern_topologies_that_could_be_on_them_or_are() {
    let mut state = state();
    let put = |state: &mut State, name: &str, zone: &str, version| {
        is_concerned(&state.put(&Key::new("", name), node(name, zone), version))
    };
    assert!(!put(&mut state, "n9", "a", 1));
    assert!(put(&mut state, "n9", "b", 2), "it is selected now");
    assert!(!put(&mut state, "n9", "b", 3), "a heartbeat");
    assert!(put(&mut state, "n9", "a", 4), "it was selected");
    assert!(put(&mut state, "n1", "a", 5), "a Forwarder is on it");
    assert_eq!(state.nodes().0.len(), 2);
}

#[test]
fn orphans_are_those_whose_topology_has_another_uid() {
    let mut state = state();
    assert_eq!(state.orphans(), []);
    let lost = state.put(
        &iot(),
        topology("t2", &json!({"forwarders": [{"name": "a"}]})),
        7,
    );
    assert!(lost.sweep);
    let orphans = state.orphans();
    assert_eq!(orphans.len(), 1);
    assert_eq!(
        (orphans[0].kind, orphans[0].owner.as_str()),
        (Kind::Forwarder, "t1")
    );
    let observed = state.observed(&iot()).expect("it can be read");
    assert!(!observed.forwarders[0].is_owned);
}

#[test]
fn a_topology_that_cannot_be_read_is_held_with_its_problems() {
    let mut state = State::new(Vec::new());
    state.put(&iot(), topology("t1", &json!({"forwarders": "three"})), 1);
    let entry = state.topology(&iot()).expect("put above");
    assert!(entry.topology.is_none());
    assert_eq!(entry.problems[0].path, "spec.forwarders");
    assert!(state.observed(&iot()).is_none());
}

#[test]
fn only_changes_that_concern_a_topology_are_its_basis() {
    let mut state = State::new(Vec::new());
    let spec = json!({
        "forwarders": [{"name": "a", "node": "n1"}],
        "apps": [{"name": "web", "podSelector": {"matchLabels": {"app": "web"}}}],
    });
    state.put(&iot(), topology("t1", &spec), 1);
    let key = Key::new("plant", "p");
    state.put(&key, pod("web", "n1"), 5);
    state.put(&Key::new("plant", "q"), pod("other", "n1"), 7);
    let observed = state.observed(&iot()).expect("it can be read");
    assert_eq!((observed.basis.pods, observed.heard.pods), (5, 7));
    state.remove(Kind::Pod, &key, 9);
    let observed = state.observed(&iot()).expect("it can be read");
    assert_eq!((observed.basis.pods, observed.heard.pods), (9, 9));

    state.put(&iot(), topology("t2", &spec), 10);
    let observed = state.observed(&iot()).expect("it can be read");
    assert_eq!(
        observed.basis,
        Versions::default(),
        "another one of that name"
    );
}

#[test]
fn an_allocation_is_put_together_from_its_shards() {
    let allocation = |name: &str, owner: &str, spec: Value| {
        let value = json!({
            "apiVersion": crds::API_VERSION,
            "kind": "Allocation",
            "metadata": {
                "name": name,
                "namespace": "plant",
                "uid": format!("uid-{name}"),
                "labels": {"beemesh.io/topology": "iot"},
                "ownerReferences": [{
                    "apiVersion": crds::API_VERSION,
                    "kind": "MicroServiceTopology",
                    "name": "iot",
                    "uid": owner,
                    "controller": true,
                }],
            },
            "spec": spec,
        });
        let object = object(value);
        (
            read::key(&object.metadata),
            Cached::Allocation(read::allocation(object)),
        )
    };
    let shard =
        |revision: u64, link: &str| json!({"revision": revision, "vnis": {link: 8_388_608}});
    let mut state = State::new(Vec::new());
    state.put(&iot(), topology("t1", &json!({"forwarders": []})), 1);
    let mut put = |name: &str, owner: &str, spec: Value| {
        let (key, held) = allocation(name, owner, spec);
        state.put(&key, held, 2).topologies
    };
    put(
        "iot",
        "t1",
        json!({"revision": 3, "shards": ["iot.2-0-a", "iot.3-1-b"]}),
    );
    put("iot.2-0-a", "t1", shard(2, "a/b"));
    put("iot.3-0-c", "t1", shard(3, "a/c"));
    put("iot.4-0-d", "t1", shard(4, "a/d"));
    put("iot.3-1-e", "t0", shard(3, "a/e"));
    let observed = state.observed(&iot()).expect("it can be read");
    let incomplete = observed.allocation.expect("there is one");
    assert!(incomplete.spec.is_none(), "a shard is missing");

    let (key, held) = allocation("iot.3-1-b", "t1", shard(3, "b/c"));
    let concerned = state.put(&key, held, 2);
    assert!(concerned.topologies.contains(&iot()));
    let observed = state.observed(&iot()).expect("it can be read");
    let whole = observed.allocation.expect("there is one");
    let links = whole.spec.expect("complete").vnis.clone().into_keys();
    assert_eq!(links.collect::<Vec<_>>(), ["a/b", "b/c"]);
    // One of a later revision may still be named, one of another owner is not ours.
    let garbage = whole.garbage.into_iter().map(|it| it.object);
    assert_eq!(garbage.collect::<Vec<_>>(), ["iot.3-0-c"]);
}

/// A state that watches each kind in the namespaces `plant` and `office` alone.
fn scoped() -> State {
    let scope = crate::observe::Scope {
        namespaces: vec!["plant".to_owned(), "office".to_owned()],
        ..crate::observe::Scope::default()
    };
    State::new(scope.sources())
}

fn source(kind: Kind, namespace: &str) -> Source {
    Source {
        kind,
        namespace: Some(namespace.to_owned()),
    }
}

#[test]
fn an_answer_of_one_namespace_counts_whatever_another_one_has_told() {
    let mut state = scoped();
    let other = Key::new("office", "iot.a");
    state.put(&other, forwarder("t2", "n1", 90), 90);
    state.learn(&fwd(), forwarder("t1", "n1", 50), 50);
    assert!(state.forwarder(&fwd()).is_some(), "no watch has told of it");
}

#[test]
fn a_list_of_one_namespace_may_have_lower_versions_and_leaves_the_others() {
    let mut state = scoped();
    let other = Key::new("office", "iot.a");
    state.put(&fwd(), forwarder("t1", "n1", 90), 90);
    state.put(&other, forwarder("t2", "n1", 90), 90);
    // The store was restored.
    state.relist(&source(Kind::Forwarder, "plant"));
    state.put(&fwd(), forwarder("t1", "n2", 40), 40);
    state.put(&other, forwarder("t2", "n2", 40), 40);
    let node = |key: &Key| state.forwarder(key).map(|held| held.spec.node.clone());
    assert_eq!(node(&fwd()).as_deref(), Some("n2"));
    assert_eq!(node(&other).as_deref(), Some("n1"), "not listed again yet");
}

#[test]
fn ranges_of_namespaces_that_are_not_watched_are_no_orphans() {
    let mut state = scoped();
    let range = |namespace: &str| CachedRange {
        first: 1_000,
        topology: Key::new(namespace, "iot"),
        owner: "gone".to_owned(),
        uid: format!("of {namespace}"),
        resource_version: "1".to_owned(),
    };
    let key = |namespace: &str| Key::new("", format!("vni-{namespace}"));
    let foreign = state.put(&key("elsewhere"), Cached::Range(range("elsewhere")), 1);
    assert!(!foreign.sweep, "it is for others to look after");
    let own = state.put(&key("plant"), Cached::Range(range("plant")), 2);
    assert!(own.sweep);
    let orphans = state.orphans();
    let uids: Vec<&str> = orphans.iter().map(|orphan| orphan.uid.as_str()).collect();
    assert_eq!(uids, ["of plant"]);
}

/// A proposal meets the nodes, the bounds and the objects that the same declaration meets once it is applied.
#[test]
fn a_proposal_is_planned_as_if_it_were_applied() {
    let spec = |node: &str| json!({"forwarders": [{"name": "f", "node": node}, {"name": "g"}]});
    let mut state = State::new(Vec::new());
    state.limits.forwarders_per_node = 2;
    state.put(&Key::new("", "ready"), node("ready", "a"), 1);
    state.put(&Key::new("", "cordoned"), node("cordoned", "a"), 2);
    state
        .nodes
        .values_mut()
        .filter(|it| it.node.name == "cordoned")
        .for_each(|it| {
            it.unfit = Some(Unfit::Unschedulable);
        });
    for number in 0..2 {
        let key = Key::new("plant", format!("other.f{number}"));
        let Cached::Forwarder(mut held) = forwarder("t0", "full", 3) else {
            panic!("it is one");
        };
        Arc::make_mut(&mut held).topology = Key::new("plant", "other");
        state.put(&key, Cached::Forwarder(held), 3 + number);
    }
    for (node, reason) in [
        ("ready", ""),
        ("cordoned", ""),
        ("full", "TooManyForwarders"),
    ] {
        let Cached::Topology(entry) = topology("t1", &spec(node)) else {
            panic!("it is one");
        };
        let declared = entry.topology.clone().expect("it is sound");
        let proposed = plan(&state.proposed(&iot(), &declared));
        state.put(&iot(), Cached::Topology(entry), 10);
        let applied = plan(&state.observed(&iot()).expect("it is there"));
        state.forget(Kind::Topology, &iot());
        assert_eq!(proposed.facts.rejected, reason, "{node}");
        assert_eq!(proposed.problems, applied.problems, "{node}");
        assert_eq!(proposed.forwarders, applied.forwarders, "{node}");
        // A Forwarder that may be anywhere is on no cordoned node.
        let mut anywhere = proposed.forwarders.iter().filter(|it| it.spec.name == "g");
        assert!(anywhere.all(|it| it.spec.node == "ready"), "{node}");
    }
}
