use std::collections::BTreeMap;

use super::*;

const DECLARED: &str = "
apiVersion: beemesh.io/v1alpha1
kind: MicroServiceTopology
metadata: {name: iot, namespace: plant}
spec:
  forwarders: [{name: a, node: n1}, {name: b, node: n2}, {name: c, node: n2}]
  allowedNamespaces: [office]
  apps:
    - {name: web, podSelector: {matchLabels: {app: web}}}
    - {name: db, podSelector: {matchLabels: {app: db}}, forwarder: b}
    - {name: joined}
    - {name: plc, external: {forwarder: a, cidrs: [192.168.7.0/24]}}
";

fn topology(declared: &str) -> MicroServiceTopology {
    let read = crate::load("t.yaml", declared.as_bytes());
    read.unwrap_or_else(|problems| panic!("{problems:#?}"))
        .remove(0)
}

fn places() -> [Place<'static>; 3] {
    [("b", "n2"), ("a", "n1"), ("c", "n2")].map(|(name, node)| Place { name, node })
}

fn words(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split_whitespace().filter_map(|p| p.split_once('='));
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// `NAMESPACE@NODE`, labels and annotations (those of `beemesh.io/`).
fn pod(place: &str, labels: &str, annotations: &str) -> Pod {
    let (namespace, node) = place.split_once('@').expect("NAMESPACE@NODE");
    let annotations = words(annotations).into_iter();
    Pod {
        namespace: namespace.to_owned(),
        name: "pod".to_owned(),
        uid: "0".to_owned(),
        node: node.to_owned(),
        labels: words(labels),
        annotations: annotations
            .map(|(key, value)| (format!("beemesh.io/{key}"), value))
            .collect(),
    }
}

/// `APP@FORWARDER`, `REASON: message`, or nothing.
fn told(topology: &MicroServiceTopology, pod: Pod) -> String {
    let attachments = assign(topology, &places(), &[pod]);
    let joined = attachments.instances.iter();
    let joined = joined.map(|instance| format!("{}@{}", instance.app, instance.forwarder));
    let left = attachments.unattached.iter();
    let left = left.map(|pod| format!("{}: {}", pod.reason.as_str(), pod.message));
    joined.chain(left).collect::<Vec<_>>().join(" ")
}

#[test]
fn pods_join_by_selector_or_by_name_on_their_own_node() {
    let topology = topology(DECLARED);
    #[rustfmt::skip]
    let cases = [
        // namespace, node  labels        annotations                            expected
        ("plant@n1",  "app=web", "",                                   "web@a"),
        ("plant@n2",  "app=db",  "",                                   "db@b"),
        ("plant@n1",  "app=db",  "", "NoForwarder: forwarder b of topology plant/iot is on node n2, the pod on n1"),
        ("plant@n1",  "app=x",   "",                                   ""),
        ("plant@n3",  "app=web", "", "NoForwarder: topology plant/iot has no forwarder on node n3 of the pod"),
        // Of another namespace: allowed is who names it.
        ("office@n1", "app=web", "",                                   ""),
        ("office@n1", "app=web", "app=web",                            ""),
        ("office@n1", "app=web", "topologies=plant/iot",               "web@a"),
        ("office@n1", "",        "topologies=plant/iot app=web",       "web@a"),
        ("office@n1", "app=web", "topologies=office/iot",              ""),
        ("lab@n1",    "app=web", "",                                   ""),
        ("plant@n1",  "",        "topologies=iot",                     "joined@a"),
        ("plant@n1",  "",        "topologies=other,iot",               "joined@a"),
        ("plant@n1",  "app=web", "topologies=other",                   ""),
        ("plant@n1",  "app=web", "topologies=iot",                     "web@a"),
        ("office@n1", "",        "topologies=plant/iot",               "joined@a"),
        ("office@n1", "",        "topologies=iot",                     ""),
        ("lab@n1",    "",        "topologies=plant/iot",
            "NamespaceNotAllowed: topology plant/iot does not take pods of namespace lab: see its spec.allowedNamespaces"),
        ("plant@n1",  "",        "topologies=iot app=web",             "web@a"),
        ("plant@n1",  "app=web", "app=joined",                         "joined@a"),
        ("plant@n1",  "app=web", "app=elsewhere",                      ""),
        ("plant@n1",  "",        "topologies=iot app=plc",
            "NoApp: topology plant/iot has no App \"plc\" that pods can join"),
        ("plant@n2",  "app=web", "forwarder=c",                        "web@c"),
        ("plant@n2",  "app=web", "forwarder=b",                        "web@b"),
        ("plant@n2",  "app=web", "forwarder=a", "NoForwarder: forwarder a of topology plant/iot is on node n1, the pod on n2"),
        ("plant@n2",  "app=web", "forwarder=z", "WrongForwarder: topology plant/iot has no forwarder z"),
        ("plant@n2",  "app=db",  "forwarder=c",
            "WrongForwarder: App db is pinned to b, and annotation beemesh.io/forwarder of the pod asks for c"),
    ];
    for (place, labels, annotations, expected) in cases {
        let pod = pod(place, labels, annotations);
        let is_allowed = !expected.starts_with("NamespaceNotAllowed");
        // Too many are those that name an App, of whichever topology.
        let is_too_many = concerns(&topology, &pod) && expected.is_empty();
        assert!(
            !is_too_many || annotations.contains("app="),
            "{place} {labels} {annotations}"
        );
        let is_due = is_allowed && !expected.is_empty();
        assert!(
            !is_due || concerns(&topology, &pod),
            "{place} {labels} {annotations}"
        );
        assert_eq!(
            told(&topology, pod),
            expected,
            "{place} {labels} {annotations}"
        );
    }
}

#[test]
fn no_declaration_takes_pods_of_others_unasked() {
    let declared = DECLARED
        .replace("[office]", "[\"*\"]")
        .replace("podSelector: {matchLabels: {app: web}}", "podSelector: {}");
    let greedy = topology(&declared);
    assert_eq!(told(&greedy, pod("plant@n1", "", "")), "web@a", "its own");
    for annotations in ["", "app=web", "topologies=iot", "forwarder=a"] {
        let theirs = pod("kube-system@n1", "app=db", annotations);
        assert!(!concerns(&greedy, &theirs), "{annotations}");
        assert_eq!(told(&greedy, theirs), "", "{annotations}");
    }
    let asking = pod("kube-system@n1", "", "topologies=plant/iot");
    assert_eq!(told(&greedy, asking), "web@a");
}

#[test]
fn a_pod_that_names_a_topology_must_leave_no_doubt_about_the_app() {
    let two = topology(&DECLARED.replace("- {name: joined}", "- {name: x}\n    - {name: y}"));
    let named = |annotations| told(&two, pod("plant@n1", "", annotations));
    let expected = "AmbiguousApp: topology plant/iot has several Apps (x, y): \
                    expected annotation beemesh.io/app to name one";
    assert_eq!(named("topologies=iot"), expected);
    assert_eq!(named("topologies=iot app=y"), "y@a");
    let none = topology(&DECLARED.replace("- {name: joined}", ""));
    let expected =
        "NoApp: no App of topology plant/iot selects the pod, and none is without selector";
    assert_eq!(told(&none, pod("plant@n1", "", "topologies=iot")), expected);
}

#[test]
fn several_forwarders_of_one_node_share_the_pods_and_each_stays_where_it_is() {
    let topology = topology(DECLARED);
    let pods: Vec<Pod> = (0..200)
        .map(|number| Pod {
            uid: format!("uid-{number}"),
            ..pod("plant@n2", "app=web", "")
        })
        .collect();
    let all = assign(&topology, &places(), &pods);
    assert_eq!(all.instances.len(), 200);
    let on_b = all
        .instances
        .iter()
        .filter(|it| it.forwarder == "b")
        .count();
    assert!((60..140).contains(&on_b), "{on_b} of 200");
    let few = assign(&topology, &places(), &pods[50..60]);
    for (one, other) in few.instances.iter().zip(&all.instances[50..]) {
        assert_eq!(one.forwarder, other.forwarder, "depends on no other pod");
    }
    let mut reversed = places();
    reversed.reverse();
    assert_eq!(assign(&topology, &reversed, &pods), all);
}

#[test]
fn the_graph_has_the_edges_where_pods_are() {
    let topology = topology(DECLARED);
    let pods = [
        pod("plant@n1", "app=web", ""),
        pod("office@n2", "app=db", "topologies=plant/iot"),
        pod("plant@n3", "app=db", ""),
    ];
    let nodes = ["n1", "n2"].map(crate::Node::from);
    let layout = crate::Layout::new(&topology, &nodes, &crate::expand::Settled::new());
    let layout = layout.expect("a layout");
    let attachments = assign(&topology, layout.places(), &pods);
    assert_eq!(attachments.unattached.len(), 1);
    let forwarders = layout.forwarders(&crate::Grants::default(), &attachments);
    let derived = crate::topology_of(&forwarders).expect("a graph");
    let declared = crate::to_topology_with(&topology, &nodes, &attachments).expect("a graph");
    assert_eq!(declared, derived);
    assert_eq!(declared.epoch(), derived.epoch());
    let edges: Vec<String> = forwarders
        .iter()
        .flat_map(|f| f.spec.apps.iter().map(move |app| (f, app)))
        .filter(|(_, app)| app.attached)
        .map(|(f, app)| format!("{}@{}", app.name, f.spec.name))
        .collect();
    assert_eq!(edges, ["plc@a", "web@a", "db@b"]);
}

/// The Forwarder of each pod among `count` Forwarders on one node.
fn spread(count: usize, pods: &[Pod]) -> Vec<String> {
    let declared = "{apiVersion: beemesh.io/v1alpha1, kind: MicroServiceTopology, metadata: {name: iot, namespace: plant}, \
        spec: {forwarders: [{name: f0}], apps: [{name: web, podSelector: {}}]}}";
    let names: Vec<String> = (0..count).map(|index| format!("f{index}")).collect();
    let places = names.iter().map(|name| Place { name, node: "n1" });
    let places: Vec<Place<'_>> = places.collect();
    let instances = assign(&topology(declared), &places, pods).instances;
    instances.into_iter().map(|found| found.forwarder).collect()
}

#[test]
fn one_more_forwarder_moves_its_share_of_pods_only() {
    let pods: Vec<Pod> = (0..10_000)
        .map(|index| Pod {
            uid: format!("7d3b0c1e-0000-4000-8000-{index:012x}"),
            ..pod("plant@n1", "", "")
        })
        .collect();
    let mut before = spread(1, &pods);
    for count in 2..=8 {
        let after = spread(count, &pods);
        let added = format!("f{}", count - 1);
        let moved: Vec<&String> = before
            .iter()
            .zip(&after)
            .filter_map(|(old, new)| (old != new).then_some(new))
            .collect();
        assert!(
            moved.iter().all(|new| **new == added),
            "{count}: only to the new one"
        );
        let share = pods.len() / count;
        assert!(
            moved.len().abs_diff(share) < share / 5,
            "{count}: {} moved, expected about {share}",
            moved.len()
        );
        before = after;
    }
}

#[test]
fn a_static_pod_keeps_its_forwarder_when_its_mirror_is_created_anew() {
    let mirror = |uid: String| {
        let mut pod = pod("plant@n1", "", "");
        pod.uid = uid;
        let annotation = (MIRROR.to_owned(), "5a1f".to_owned());
        pod.annotations.extend([annotation]);
        pod
    };
    let mirrors: Vec<Pod> = (0..100).map(|index| mirror(format!("{index}"))).collect();
    let found: BTreeSet<String> = spread(4, &mirrors).into_iter().collect();
    assert_eq!(found.len(), 1, "{found:?}");
}
