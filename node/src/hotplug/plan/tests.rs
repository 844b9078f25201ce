use crds::topology::AppEntry;
use crds::{
    Forwarder, ForwarderSpec, LabelSelector, MicroServiceTopology, MicroServiceTopologySpec,
};

use super::*;
use crate::attach::admission::LocalForwarder;
use crate::attach::key;
use crate::attach::leases::tests::{lease, share};
use crds::attach::MIRROR;

/// The topologies `iot` (Apps a and b by label) and `lab` (App a by label; b joined by name), each
/// with the Forwarder f here; of `far` the Forwarder is elsewhere, of `slow` it is being made.
fn catalog() -> Catalog {
    catalog_without("", false)
}

/// The same, without one; its Forwarder may be there still.
fn catalog_without(gone: &str, has_forwarder: bool) -> Catalog {
    let app = |name: &str, label: Option<&str>| {
        let mut app = AppEntry::new(name);
        app.pod_selector = label.map(|label| LabelSelector {
            match_labels: BTreeMap::from([(label.to_owned(), name.to_owned())]),
            ..LabelSelector::default()
        });
        app
    };
    let declared = [
        ("iot", vec![app("a", Some("iot")), app("b", Some("iot"))]),
        ("lab", vec![app("a", Some("lab")), app("b", None)]),
        ("far", vec![app("a", Some("far"))]),
        ("slow", vec![app("a", Some("slow"))]),
    ];
    let forwarder = |topology: &str| {
        let spec = ForwarderSpec {
            topology: topology.into(),
            name: "f".into(),
            node: if topology == "far" { "n2" } else { "n1" }.into(),
            ..ForwarderSpec::default()
        };
        Forwarder::new("default", spec)
    };
    let names = declared.iter().map(|(name, _)| *name);
    let names: Vec<&str> = names
        .filter(|name| *name != gone || has_forwarder)
        .collect();
    let forwarders: Vec<Forwarder> = names.iter().map(|name| forwarder(name)).collect();
    let here = forwarders
        .iter()
        .filter(|forwarder| forwarder.spec.node == "n1");
    let places = here.map(|forwarder| LocalForwarder {
        netns: forwarder.spec.topology.clone(),
        mtu: 1500,
        is_ready: forwarder.spec.topology != "slow",
        forwarder: Arc::new(forwarder.clone()),
    });
    let places = places.collect();
    let topologies = declared.into_iter().filter(|(name, _)| *name != gone);
    let topologies = topologies.map(|(name, apps)| {
        let spec = MicroServiceTopologySpec {
            apps,
            ..MicroServiceTopologySpec::default()
        };
        Arc::new(MicroServiceTopology::new(name, spec))
    });
    let topologies: Vec<_> = topologies.collect();
    Catalog::new("n1", &forwarders, &topologies, places, true)
}

/// A pod with the uid `u1` and these labels, `key=value key=value`.
fn pod(labels: &str) -> NodePod {
    let pairs = labels
        .split_whitespace()
        .filter_map(|pair| pair.split_once('='));
    NodePod {
        pod: Pod {
            namespace: "default".into(),
            name: "p".into(),
            uid: "u1".into(),
            node: "n1".into(),
            labels: pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
            annotations: BTreeMap::new(),
        },
        is_running: true,
        ..NodePod::default()
    }
}

/// A confirmed lease in these topologies, by the runtime or by the daemon, `topology/app`.
fn leased(number: u32, is_live: bool, joined: &str) -> Lease {
    let mut lease = lease(number, "iot", &[]);
    lease.phase = Phase::Confirmed;
    lease.uid = "u1".into();
    lease.pod = "default/p".into();
    if is_live {
        lease.key = key::hotplug("u1", &format!("bm-{number}"));
    }
    let shares = joined.split_whitespace().map(|joined| {
        let (topology, app) = joined.split_once('/').expect("topology/app");
        let mut share = share(topology, "10.0.0.2");
        share.attachment.app = app.to_owned();
        share
    });
    lease.shares = shares.collect();
    lease
}

/// The steps in short, `attach iot`, `leave eth0 iot`.
fn told(steps: &[Step]) -> String {
    let told = steps.iter().map(|step| match step {
        Step::Attach { network, .. } => format!("attach {}", network.topology),
        Step::Await { network, .. } => format!("await {}", network.topology),
        Step::Leave { key, network, .. } => format!("leave {} {}", key.ifname, network.topology),
        Step::Forget { key } => format!("forget {}", key.ifname),
        Step::Refuse { .. } => "refuse".to_owned(),
    });
    told.collect::<Vec<_>>().join(", ")
}

fn planned(pods: Vec<NodePod>, leases: &[Lease], catalog: &Catalog) -> String {
    let here: Vec<_> = pods.into_iter().map(Arc::new).collect();
    told(&plan(&here, leases, &BTreeSet::new(), catalog))
}

#[test]
fn pods_are_brought_to_where_they_belong() {
    let catalog = catalog();
    #[rustfmt::skip]
    let cases = [
        // labels                 by runtime     by daemon  steps
        ("",                      "",            "",        ""),
        ("iot=a",                 "",            "",        "attach iot"),
        ("iot=a lab=a",           "",            "",        "attach iot, attach lab"),
        ("iot=a lab=a",           "iot/a",       "",        "attach lab"),
        ("iot=a lab=a",           "",            "lab/a",   "attach iot"),
        ("iot=a",                 "iot/a",       "",        ""),
        ("iot=a",                 "",            "iot/a",   ""),
        ("lab=a",                 "iot/a lab/a", "",        "leave eth0 iot"),
        ("",                      "iot/a",       "lab/a",   "leave eth0 iot, leave bm-2 lab"),
        ("iot=b",                 "iot/a",       "",        "leave eth0 iot"), // Attached anew when that is done.
        ("iot=a",                 "iot/a",       "iot/a",   "leave bm-2 iot"),
        ("far=a",                 "",            "",        "refuse"),
        ("far=a",                 "far/a",       "",        "leave eth0 far"),
        ("slow=a",                "",            "",        "await slow"),
        ("slow=a",                "slow/a",      "",        ""),
        ("iot=other",             "",            "",        ""),
        ("beemesh.io/topologies=lab", "",        "",        "attach lab"),
        ("beemesh.io/topologies=lab", "lab/b",   "",        ""),
    ];
    for (labels, runtime, daemon, expected) in cases {
        let runtime = (!runtime.is_empty()).then(|| leased(1, false, runtime));
        let daemon = (!daemon.is_empty()).then(|| leased(2, true, daemon));
        let leases: Vec<Lease> = daemon.into_iter().chain(runtime).collect();
        let steps = planned(vec![pod(labels)], &leases, &catalog);
        assert_eq!(steps, expected, "{labels}");
    }
}

#[test]
fn nothing_is_detached_on_a_guess() {
    let lease = [leased(1, false, "iot/a"), leased(2, true, "lab/a")];
    let mut incomplete = catalog();
    incomplete.is_complete = false;
    #[rustfmt::skip]
    let cases = [
        // catalog                        steps
        (catalog(),                       "leave eth0 iot, leave bm-2 lab"),
        (catalog_without("iot", true),    "leave bm-2 lab"), // It cannot be read, and its Forwarder is there.
        (catalog_without("iot", false),   "leave eth0 iot, leave bm-2 lab"),
        (incomplete,                      ""),
    ];
    for (number, (catalog, expected)) in cases.into_iter().enumerate() {
        assert_eq!(
            planned(vec![pod("")], &lease, &catalog),
            expected,
            "{number}"
        );
    }
    let under_way = Lease {
        phase: Phase::Pending,
        ..leased(1, false, "iot/a")
    };
    assert_eq!(planned(vec![pod("iot=b")], &[under_way], &catalog()), "");
}

#[test]
fn pods_that_start_end_or_leave_are_let_do_so() {
    let catalog = catalog();
    let lease = [leased(1, false, "iot/a"), leased(2, true, "lab/a")];
    let leaving = NodePod {
        is_leaving: true,
        ..pod("iot=b")
    };
    assert_eq!(
        planned(vec![leaving.clone()], &lease, &catalog),
        "",
        "it may say good-bye"
    );
    assert_eq!(planned(vec![leaving], &[], &catalog), "");
    let ended = NodePod {
        is_running: false,
        ..pod("iot=a lab=a")
    };
    assert_eq!(
        planned(vec![ended.clone()], &lease, &catalog),
        "leave bm-2 lab"
    );
    assert_eq!(planned(vec![ended], &[], &catalog), "");
    let host = NodePod {
        is_host_network: true,
        ..pod("iot=a")
    };
    assert_eq!(planned(vec![host], &[], &catalog), "");
    assert_eq!(
        planned(vec![], &lease, &catalog),
        "forget bm-2",
        "the runtime's is the runtime's"
    );
}

#[test]
fn a_static_pod_is_known_by_either_of_its_uids() {
    let mut mirror = pod("iot=a");
    mirror.pod.annotations = [(MIRROR.to_owned(), "kubelet".to_owned())].into();
    for uid in ["u1", "kubelet"] {
        let lease = Lease {
            uid: uid.into(),
            ..leased(1, true, "iot/a")
        };
        let steps = planned(vec![mirror.clone()], &[lease], &catalog());
        assert_eq!(steps, "", "{uid}");
    }
}

#[test]
fn a_pod_that_lost_its_interface_gets_another() {
    let lease = leased(1, false, "iot/a lab/a");
    let iot = lease.shares[0].network();
    let lost = BTreeSet::from([(lease.key.clone(), iot)]);
    let here = [Arc::new(pod("iot=a lab=a"))];
    let steps = plan(&here, std::slice::from_ref(&lease), &lost, &catalog());
    assert_eq!(told(&steps), "leave eth0 iot");
    let left = leased(1, false, "lab/a");
    assert_eq!(
        planned(vec![pod("iot=a lab=a")], &[left], &catalog()),
        "attach iot"
    );
    let leaving = NodePod {
        is_leaving: true,
        ..pod("iot=a lab=a")
    };
    assert!(plan(&[Arc::new(leaving)], &[lease], &lost, &catalog()).is_empty());
}

#[test]
fn who_joined_by_a_configuration_of_its_own_stays() {
    let catalog = catalog();
    let asked = Lease {
        is_asked_for: true,
        ..leased(1, false, "lab/b")
    };
    assert_eq!(
        planned(vec![pod("")], std::slice::from_ref(&asked), &catalog),
        ""
    );
    assert_eq!(
        planned(vec![pod("iot=a")], std::slice::from_ref(&asked), &catalog),
        "attach iot"
    );
    let gone = catalog_without("lab", false);
    assert_eq!(planned(vec![pod("")], &[asked], &gone), "leave eth0 lab");
}

#[test]
fn leases_of_daemons_that_kept_no_uid_are_known_by_name() {
    let old = Lease {
        uid: String::new(),
        ..leased(1, false, "iot/a")
    };
    assert_eq!(
        planned(vec![pod("iot=a")], std::slice::from_ref(&old), &catalog()),
        ""
    );
    let other = NodePod {
        pod: Pod {
            uid: "u2".into(),
            ..pod("iot=a").pod
        },
        ..pod("")
    };
    let known = leased(1, false, "iot/a");
    let steps = planned(vec![other], &[known], &catalog());
    assert_eq!(steps, "attach iot", "a later pod of the same name");
}

mod whole {
    use proptest::prelude::*;

    use super::*;

    /// Does a step as the kernel and the service would, of which all go well.
    fn take(
        step: &Step,
        leases: &mut Vec<Lease>,
        wishes: &BTreeMap<TopologyKey, (String, String)>,
    ) {
        match step {
            Step::Attach { network, .. } => {
                let number = 10 + u32::try_from(leases.len()).unwrap();
                let (app, _) = &wishes[network];
                leases.push(leased(number, true, &format!("{}/{app}", network.topology)));
            }
            Step::Leave { key, network, .. } => {
                for lease in leases.iter_mut().filter(|lease| lease.key == *key) {
                    lease.shares.retain(|share| share.network() != *network);
                }
                leases.retain(|lease| !lease.shares.is_empty());
            }
            Step::Forget { key } => leases.retain(|lease| lease.key != *key),
            Step::Await { .. } | Step::Refuse { .. } => {}
        }
    }

    proptest! {
        #[test]
        fn two_rounds_are_enough_whatever_was_there(
            labels in proptest::sample::subsequence(vec!["iot=a", "lab=a", "far=a"], 0..=3),
            runtime in proptest::sample::subsequence(vec!["iot/a", "iot/b", "lab/a", "far/a"], 0..=2),
            daemon in proptest::sample::subsequence(vec!["iot/b", "lab/a", "lab/b"], 0..=2),
        ) {
            let catalog = catalog();
            let mut leases = Vec::new();
            if !runtime.is_empty() {
                leases.push(leased(1, false, &runtime.join(" ")));
            }
            for (number, joined) in (2..).zip(&daemon) {
                leases.push(leased(number, true, joined));
            }
            let here = [Arc::new(pod(&labels.join(" ")))];
            let pods = [&here[0].pod];
            let wishes: BTreeMap<TopologyKey, (String, String)> = catalog
                .assign(&pods)
                .into_iter()
                .flat_map(|(network, assigned)| assigned.instances.into_iter().map(move |instance| {
                    (network.clone(), (instance.app, instance.forwarder))
                }))
                .collect();
            for _ in 0..2 {
                for step in plan(&here, &leases, &BTreeSet::new(), &catalog) {
                    take(&step, &mut leases, &wishes);
                }
            }
            let rest = plan(&here, &leases, &BTreeSet::new(), &catalog);
            let is_rest = |step: &Step| !matches!(step, Step::Refuse { .. });
            prop_assert!(!rest.iter().any(is_rest), "{rest:?}");
            let held: Vec<String> = leases.iter().flat_map(|lease| &lease.shares)
                .map(|share| format!("{}/{}", share.attachment.topology, share.attachment.app))
                .collect();
            let held_once: BTreeSet<&String> = held.iter().collect();
            let wanted = wishes.iter().map(|(network, (app, _))| format!("{}/{app}", network.topology));
            let wanted: BTreeSet<String> = wanted.collect();
            prop_assert_eq!(held_once, wanted.iter().collect::<BTreeSet<_>>());
        }
    }
}
