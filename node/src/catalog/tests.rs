use cni::agent::{Key, NetnsId, Pod};
use crds::ForwarderSpec;
use crds::forwarder::ForwarderApp;

use super::*;

fn app(name: &str, selector: Option<&str>, insist: bool, allowed: &[&str]) -> ForwarderApp {
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
        allowed_namespaces: allowed.iter().map(ToString::to_string).collect(),
    }
}

fn forwarder(namespace: &str, topology: &str, name: &str, apps: Vec<ForwarderApp>) -> Forwarder {
    let spec = ForwarderSpec {
        topology: topology.into(),
        name: name.into(),
        apps,
        ..ForwarderSpec::default()
    };
    Forwarder::new(namespace, spec)
}

/// `iot` in `plant` with f1, f2 here and f3 elsewhere; `open` in `office` that admits all.
fn catalog() -> Catalog {
    let sensors = || app("sensors", Some("sensor"), false, &[]);
    let all = [
        forwarder(
            "plant",
            "iot",
            "f1",
            vec![app("join", None, false, &[]), sensors()],
        ),
        forwarder(
            "plant",
            "iot",
            "f2",
            vec![app("pinned", Some("pin"), true, &[]), sensors()],
        ),
        forwarder(
            "plant",
            "iot",
            "f3",
            vec![app("far", Some("far"), true, &[]), sensors()],
        ),
        forwarder(
            "office",
            "open",
            "o1",
            vec![app("guests", Some("guest"), false, &["*"])],
        ),
        forwarder(
            "office",
            "slow",
            "s1",
            vec![app("slow", Some("slow"), false, &["*"])],
        ),
    ];
    let here = ["f1", "f2", "o1", "s1"];
    let places = all
        .iter()
        .filter(|forwarder| here.contains(&forwarder.spec.name.as_str()));
    let places = places.map(|forwarder| Place {
        forwarder: Arc::new(forwarder.clone()),
        netns: forwarder.spec.name.clone(),
        mtu: 1500,
        is_ready: forwarder.spec.name != "s1",
    });
    Catalog::new(all.iter(), places.collect(), true)
}

fn claim(namespace: &str, wishes: &str) -> Claim {
    let pairs = wishes
        .split_whitespace()
        .filter_map(|pair| pair.split_once('='));
    let labels = pairs.map(|(key, value)| match key {
        "app" => ("app".to_owned(), value.to_owned()),
        _ => (format!("beemesh.io/{key}"), value.to_owned()),
    });
    Claim {
        key: Key {
            container_id: "c".into(),
            ifname: "eth0".into(),
            network: "mesh".into(),
        },
        netns: String::new(),
        netns_id: NetnsId {
            device: 0,
            inode: 0,
        },
        labels: labels.collect(),
        annotations: BTreeMap::new(),
        pod: (!namespace.is_empty()).then(|| Pod {
            namespace: namespace.into(),
            ..Pod::default()
        }),
        chained: false,
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
        Admission::Refused(code, _) => format!("{code}"),
    }
}

#[test]
fn pods_go_where_selectors_names_and_namespaces_say() {
    let catalog = catalog();
    #[rustfmt::skip]
    let cases = [
        // namespace  labels                                 answer
        ("plant",  "app=sensor",                             "sensors@f2"),   // f1 has one already
        ("plant",  "app=sensor forwarder=f1",                "sensors@f1"),
        ("plant",  "app=sensor forwarder=f3",                "103"),          // on another node
        ("plant",  "app=pin",                                "pinned@f2"),
        ("plant",  "app=pin forwarder=f1",                   "103"),          // pinned to f2
        ("plant",  "app=far",                                "103"),          // ours, but not here
        ("plant",  "app=other",                              "not ours"),
        ("plant",  "",                                       "not ours"),
        ("office", "app=sensor",                             "not ours"),     // namespace not admitted
        ("office", "app=sensor topologies=plant/iot",        "103"),
        ("plant",  "topologies=iot",                         "join@f1"),
        ("plant",  "topologies=iot app=sensor",              "sensors@f2"),
        ("plant",  "topologies=iot,open",                    "103"),          // open: nothing to join by name
        ("plant",  "topologies=iot,open app=guest",          "join@f1 guests@o1"),
        ("plant",  "topologies=nowhere",                     "103"),
        ("shop",   "app=guest",                              "guests@o1"),    // `*`
        ("shop",   "app=slow",                               "later"),        // being made
        ("",       "app=pin",                                "pinned@f2"),    // no Kubernetes
        ("plant",  "app=sensor topologies=iot forwarder=f1", "sensors@f1"),
    ];
    let loads = HashMap::from([("/run/netns/f1", 1)]);
    for (namespace, wishes, expected) in cases {
        let admission = catalog.admit(&claim(namespace, wishes), &loads);
        assert_eq!(told(&catalog, admission), expected, "{namespace}: {wishes}");
    }
    let mut named = claim("plant", "");
    named.labels.insert(APP.into(), "sensors".into());
    assert_eq!(told(&catalog, catalog.admit(&named, &loads)), "sensors@f2");
}

#[test]
fn an_annotation_is_as_good_as_a_label() {
    let catalog = catalog();
    let mut claim = claim("plant", "");
    claim.annotations.insert(TOPOLOGIES.into(), "iot".into());
    assert_eq!(
        told(&catalog, catalog.admit(&claim, &HashMap::new())),
        "join@f1"
    );
}

#[test]
fn while_something_may_be_missing_no_pod_is_told_that_it_is_not_ours() {
    let catalog = Catalog {
        is_complete: false,
        ..catalog()
    };
    for (wishes, expected) in [
        ("app=sensor", "sensors@f1"),
        ("app=other", "later"),
        ("topologies=nowhere", "later"),
    ] {
        let admission = catalog.admit(&claim("plant", wishes), &HashMap::new());
        assert_eq!(told(&catalog, admission), expected, "{wishes}");
    }
}
