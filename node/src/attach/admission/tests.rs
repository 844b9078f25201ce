use crds::attach::{APP, TOPOLOGIES};
use crds::forwarder::ForwarderApp;
use crds::topology::{AppEntry, External};
use crds::{ForwarderSpec, LabelSelector, MicroServiceTopologySpec};

use super::*;

fn app(name: &str, selector: Option<&str>, insist: bool) -> ForwarderApp {
    let match_labels = |value: &str| LabelSelector {
        match_labels: BTreeMap::from([("app".to_owned(), value.to_owned())]),
        ..LabelSelector::default()
    };
    ForwarderApp {
        name: name.into(),
        selector: selector.map(match_labels),
        weight: 1,
        insist,
        attached: false,
        external: vec![],
    }
}

fn forwarder(namespace: &str, topology: &str, name: &str, apps: Vec<ForwarderApp>) -> Forwarder {
    let spec = ForwarderSpec {
        topology: topology.into(),
        name: name.into(),
        node: if name == "f3" { "n2" } else { "n1" }.into(),
        apps: apps.into_iter().map(Arc::new).collect(),
        ..ForwarderSpec::default()
    };
    Forwarder::new(namespace, spec)
}

fn admitting_all(mut forwarder: Forwarder) -> Forwarder {
    forwarder.spec.allowed_namespaces = vec!["*".to_owned()].into();
    forwarder
}

/// `iot` in `plant` with f1, f2 here and f3 elsewhere; `open` in `office` that admits all.
fn catalog() -> Catalog {
    let sensors = || app("sensors", Some("sensor"), false);
    let all = [
        forwarder(
            "plant",
            "iot",
            "f1",
            vec![app("join", None, false), sensors()],
        ),
        forwarder(
            "plant",
            "iot",
            "f2",
            vec![app("pinned", Some("pin"), true), sensors()],
        ),
        forwarder(
            "plant",
            "iot",
            "f3",
            vec![app("far", Some("far"), true), sensors()],
        ),
        admitting_all(forwarder(
            "office",
            "open",
            "o1",
            vec![app("guests", Some("guest"), false)],
        )),
        admitting_all(forwarder(
            "office",
            "slow",
            "s1",
            vec![app("slow", Some("slow"), false)],
        )),
    ];
    let here = ["f1", "f2", "o1", "s1"];
    let places = all
        .iter()
        .filter(|forwarder| here.contains(&forwarder.spec.name.as_str()));
    let places = places.map(|forwarder| LocalForwarder {
        forwarder: Arc::new(forwarder.clone()),
        netns: forwarder.spec.name.clone(),
        mtu: 1500,
        is_ready: forwarder.spec.name != "s1",
    });
    Catalog::new("n1", &all, [], places.collect(), true)
}

fn guest(namespace: &str, wishes: &str) -> AttachRequest {
    let pairs = wishes
        .split_whitespace()
        .filter_map(|pair| pair.split_once('='));
    let labels = pairs.map(|(key, value)| match key {
        "app" => ("app".to_owned(), value.to_owned()),
        _ => (format!("beemesh.io/{key}"), value.to_owned()),
    });
    AttachRequest {
        pod: Pod {
            namespace: namespace.to_owned(),
            uid: "pod".to_owned(),
            node: "n1".to_owned(),
            labels: labels.collect(),
            ..Pod::default()
        },
        ..AttachRequest::default()
    }
}

fn told(catalog: &Catalog, admission: Admission) -> String {
    match admission {
        Admission::Ours(choices) => {
            let name = |place: usize| catalog.places()[place].forwarder.spec.name.clone();
            let told = choices
                .iter()
                .map(|choice| format!("{}@{}", choice.app, name(choice.place)));
            told.collect::<Vec<_>>().join(" ")
        }
        Admission::NotOurs => "not ours".into(),
        Admission::TryLater(_) => "later".into(),
        Admission::Unsure(_) => "unsure".into(),
        Admission::Refused(code, _) => format!("{code}"),
    }
}

#[test]
fn pods_go_where_selectors_names_and_namespaces_say() {
    let catalog = catalog();
    #[rustfmt::skip]
    let cases = [
        // namespace  labels                                 answer
        ("plant",  "app=sensor",                             "sensors@f1"),   // by hash
        ("plant",  "app=sensor forwarder=f2",                "sensors@f2"),
        ("plant",  "app=sensor forwarder=f3",                "103"),          // on another node
        ("plant",  "app=pin",                                "pinned@f2"),
        ("plant",  "app=pin forwarder=f1",                   "103"),          // pinned to f2
        ("plant",  "app=far",                                "103"),          // ours, but not here
        ("plant",  "app=other",                              "not ours"),
        ("plant",  "",                                       "not ours"),
        ("office", "app=sensor",                             "not ours"),     // namespace not admitted
        ("office", "app=sensor topologies=plant/iot",        "103"),
        ("plant",  "topologies=iot",                         "join@f1"),
        ("plant",  "topologies=iot app=sensor",              "sensors@f1"),
        ("plant",  "topologies=iot,office/open",             "103"),          // open: none joins by name
        ("plant",  "topologies=iot,office/open app=guest",   "guests@o1 join@f1"),
        ("plant",  "topologies=iot,open",                    "103"),          // none of this namespace
        ("plant",  "topologies=nowhere",                     "103"),
        ("shop",   "app=guest",                              "not ours"),     // `*`, and not asked for
        ("shop",   "app=guest topologies=office/open",       "guests@o1"),    // `*`
        ("shop",   "app=slow topologies=office/slow",        "later"),        // being made
        ("",       "app=pin",                                "pinned@f2"),    // no Kubernetes
        ("plant",  "topologies=iot app=meter",               "join@f1"),
        ("plant",  "app=sensor topologies=iot forwarder=f1", "sensors@f1"),
    ];
    for (namespace, wishes, expected) in cases {
        let admission = catalog.admit(&guest(namespace, wishes));
        assert_eq!(told(&catalog, admission), expected, "{namespace}: {wishes}");
    }
    let mut named = guest("plant", "");
    named.pod.labels.insert(APP.into(), "sensors".into());
    assert_eq!(told(&catalog, catalog.admit(&named)), "sensors@f1");
}

#[test]
fn instances_of_what_is_outside_are_asked_for_by_name() {
    let mut meter = app("meter", None, true);
    meter.external = vec!["192.0.2.0/24".parse().unwrap()];
    let forwarder = forwarder("plant", "iot", "f1", vec![meter, app("join", None, false)]);
    let place = LocalForwarder {
        forwarder: Arc::new(forwarder.clone()),
        netns: "f1".into(),
        mtu: 1500,
        is_ready: true,
    };
    let catalog = Catalog::new("n1", [&forwarder], [], vec![place], true);
    let mut asked = guest("plant", "topologies=iot");
    assert_eq!(told(&catalog, catalog.admit(&asked)), "join@f1");
    asked.pod.labels.insert(APP.into(), "meter".into());
    assert_eq!(told(&catalog, catalog.admit(&asked)), "meter@f1");
}

#[test]
fn what_is_no_pod_joins_the_external_app_that_it_names_and_pods_do_not() {
    let mut meter = AppEntry::new("meter");
    meter.external = Some(External {
        forwarder: "f1".into(),
        cidrs: vec!["192.0.2.0/24".parse().unwrap()],
    });
    let spec = MicroServiceTopologySpec {
        apps: vec![meter],
        ..MicroServiceTopologySpec::default()
    };
    let mut topology = MicroServiceTopology::new("iot", spec);
    topology.metadata.namespace = "plant".into();
    let forwarder = forwarder("plant", "iot", "f1", vec![]);
    let place = LocalForwarder {
        forwarder: Arc::new(forwarder.clone()),
        netns: "f1".into(),
        mtu: 1500,
        is_ready: true,
    };
    let catalog = Catalog::new("n1", [&forwarder], [&Arc::new(topology)], vec![place], true);
    let told_of = |namespace| {
        let mut asked = guest(namespace, "topologies=plant/iot");
        asked.pod.labels.insert(APP.into(), "meter".into());
        told(&catalog, catalog.admit(&asked))
    };
    assert_eq!(told_of(""), "meter@f1");
    assert_eq!(told_of("plant"), "103");
}

#[test]
fn a_declared_topology_goes_before_what_its_forwarders_say() {
    let mut entry = AppEntry::new("declared");
    entry.pod_selector = Some(LabelSelector::default());
    let spec = MicroServiceTopologySpec {
        apps: vec![entry],
        allowed_namespaces: vec!["office".to_owned()],
        ..MicroServiceTopologySpec::default()
    };
    let mut topology = MicroServiceTopology::new("iot", spec);
    topology.metadata.namespace = "plant".to_owned();
    let forwarder = forwarder("plant", "iot", "f1", vec![app("old", Some("x"), false)]);
    let place = LocalForwarder {
        forwarder: Arc::new(forwarder.clone()),
        netns: "f1".into(),
        mtu: 1500,
        is_ready: true,
    };
    let catalog = Catalog::new("n1", [&forwarder], [&Arc::new(topology)], vec![place], true);
    for (namespace, wishes, expected) in [
        ("plant", "", "declared@f1"),
        ("office", "", "not ours"),
        ("office", "topologies=plant/iot", "declared@f1"),
        ("shop", "topologies=plant/iot", "103"),
    ] {
        let admission = catalog.admit(&guest(namespace, wishes));
        assert_eq!(told(&catalog, admission), expected, "{namespace}: {wishes}");
    }
    let taken = ["office".to_owned(), "plant".to_owned()];
    assert_eq!(catalog.namespaces(), taken.into());
    assert!(catalog.takes_from("office") && !catalog.takes_from("shop"));
}

#[test]
fn who_asks_for_one_topology_joins_no_other() {
    let catalog = catalog();
    let asked = |namespace: &str, wishes: &str, only: (&str, &str), is_asked_for| AttachRequest {
        only: Some(TopologyKey {
            namespace: only.0.to_owned(),
            topology: only.1.to_owned(),
        }),
        is_asked_for,
        ..guest(namespace, wishes)
    };
    let (iot, open, none) = (("plant", "iot"), ("office", "open"), ("plant", "none"));
    #[rustfmt::skip]
    let cases = [
        // namespace  labels                        only  asked  answer
        ("plant",  "app=sensor topologies=iot,x",  iot,  true,  "sensors@f1"),
        ("plant",  "app=guest",                    iot,  true,  "join@f1"),
        ("plant",  "app=guest",                    iot,  false, "not ours"),
        ("plant",  "app=guest",                    open, false, "not ours"),
        ("plant",  "app=guest",                    open, true,  "guests@o1"),
        ("shop",   "app=sensor",                   iot,  true,  "103"),
        ("plant",  "app=sensor",                   none, true,  "103"),
    ];
    for (namespace, wishes, only, is_asked_for, expected) in cases {
        let admission = catalog.admit(&asked(namespace, wishes, only, is_asked_for));
        assert_eq!(
            told(&catalog, admission),
            expected,
            "{namespace}: {wishes} {only:?}"
        );
    }
}

#[test]
fn an_annotation_is_as_good_as_a_label() {
    let catalog = catalog();
    let mut guest = guest("plant", "");
    guest
        .pod
        .annotations
        .insert(TOPOLOGIES.into(), "iot".into());
    assert_eq!(told(&catalog, catalog.admit(&guest)), "join@f1");
}

#[test]
fn while_something_may_be_missing_no_pod_is_told_that_it_is_not_ours() {
    let catalog = Catalog {
        is_complete: false,
        ..catalog()
    };
    for (wishes, expected) in [
        ("app=sensor", "sensors@f1"),
        ("app=other", "unsure"),
        ("topologies=nowhere", "unsure"),
    ] {
        let admission = catalog.admit(&guest("plant", wishes));
        assert_eq!(told(&catalog, admission), expected, "{wishes}");
    }
}
