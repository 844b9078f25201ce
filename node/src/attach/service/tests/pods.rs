//! Claims of pods that Kubernetes knows, or does not know yet.

use std::sync::atomic::Ordering;

use cni::node_protocol::Pod as Asker;

use super::*;
use crate::objects::pods::Pods;
use crate::objects::pods::memory::MemoryPods;
use crds::attach::MIRROR;

fn service_of<'a>(
    directory: &Path,
    wires: &'a MemoryPodWiring,
    pods: &Arc<MemoryPods>,
) -> AttachService<&'a MemoryPodWiring> {
    let pods: Arc<dyn Pods> = Arc::<MemoryPods>::clone(pods);
    service(directory, wires, "1").with_pods(pods)
}

fn claim_of(number: u32, namespace: &str, name: &str) -> Claim {
    let Request::Claim(claim) = claim(number) else {
        unreachable!("a claim");
    };
    let pod = Some(Asker {
        namespace: namespace.into(),
        name: name.into(),
        uid: Some(format!("uid-{name}")),
    });
    Claim {
        pod,
        chained: true,
        ..claim
    }
}

fn ask(service: &AttachService<&MemoryPodWiring>, claim: &Claim, is_first: bool) -> Answer {
    service.ask(&Request::Claim(claim.clone()), Some(1), is_first)
}

#[test]
fn a_pod_is_what_kubernetes_says_not_what_the_plugin_says() {
    let (directory, wires) = (tempfile::tempdir().unwrap(), MemoryPodWiring::default());
    let pods = Arc::new(MemoryPods::default());
    let service = service_of(directory.path(), &wires, &pods);
    pods.put("p", &[(crds::attach::FORWARDER, "nowhere")]);
    let asked = claim_of(1, "default", "p");
    let refused = ask(&service, &asked, true);
    assert!(
        matches!(refused, Answer::Now(Reply::Refused { code: 103, .. })),
        "{refused:?}"
    );
    ask(&service, &asked, true);
    let events = pods.events();
    assert_eq!(events.len(), 1, "told once: {events:?}");
    assert_eq!(events[0].0, "FailedAttach");
    assert!(events[0].1.contains("nowhere"), "{events:?}");
    assert_eq!(service.failures(), 1);

    lock(&pods.here).clear();
    pods.put("p", &[]);
    let Answer::Now(Reply::Claimed(claimed)) = ask(&service, &asked, true) else {
        panic!("not claimed");
    };
    assert_eq!(claimed[0].pod_interface, "bm-t");
    for _ in 0..2 {
        service.answer(&Request::Confirm { key: key(1) }, None);
    }
    let events = pods.events();
    assert_eq!(events.len(), 2, "{events:?}");
    assert_eq!(events[1].0, "Attached");
    assert!(
        events[1]
            .1
            .contains("bm-t joins topology default/t as App a on forwarder f: 10.0.0.2")
    );
    assert_eq!(service.failures(), 0);
    assert_eq!(service.leases()[0].uid, "uid-p");
}

#[test]
fn a_pod_that_is_not_known_yet_is_awaited_unless_nobody_could_take_it() {
    let (directory, wires) = (tempfile::tempdir().unwrap(), MemoryPodWiring::default());
    let pods = Arc::new(MemoryPods::default());
    let service = service_of(directory.path(), &wires, &pods);
    pods.is_away.store(true, Ordering::Relaxed);
    let asked = claim_of(1, "default", "late");
    let awaited = "pod default/late is not known yet: the API server does not answer";
    assert_eq!(
        ask(&service, &asked, true),
        Answer::Awaited(awaited.to_owned())
    );
    assert!(matches!(ask(&service, &asked, false), Answer::Awaited(_)));
    assert_eq!(
        pods.asked.load(Ordering::Relaxed),
        1,
        "later on the watch tells"
    );
    let stranger = claim_of(2, "kube-system", "dns");
    assert_eq!(ask(&service, &stranger, true), Answer::Now(Reply::NotOurs));
    let mut delegate = claim_of(3, "kube-system", "dns");
    delegate.topology = Some("default/t".to_owned());
    assert!(matches!(ask(&service, &delegate, true), Answer::Awaited(_)));
    pods.is_away.store(false, Ordering::Relaxed);
    assert!(
        matches!(ask(&service, &asked, true), Answer::Awaited(_)),
        "ahead of our watch"
    );
    pods.put("late", &[]);
    assert!(matches!(
        ask(&service, &asked, false),
        Answer::Now(Reply::Claimed(_))
    ));
}

#[test]
fn who_was_known_not_to_be_ours_passes_while_it_cannot_be_told() {
    let (directory, wires) = (tempfile::tempdir().unwrap(), MemoryPodWiring::default());
    let pods = Arc::new(MemoryPods::default());
    let (book, _) = LeaseStore::open(directory.path(), "1").unwrap();
    let service = AttachService::new(book, &wires, Arc::default(), Duration::ZERO);
    let service = service.with_pods(Arc::<MemoryPods>::clone(&pods));
    let known = r#"{"namespaces":["default"],"notOurs":["uid-p"]}"#;
    std::fs::write(cni::known::path(directory.path()), known).unwrap();
    let answer = |claim: &Claim| service.answer(&Request::Claim(claim.clone()), None);
    let is_later = |claim: &Claim| matches!(answer(claim), Reply::TryLater { .. });
    let [theirs, other] = ["p", "q"].map(|name| claim_of(1, "default", name));
    let mut alone = theirs.clone();
    alone.chained = false;
    let mut delegate = theirs.clone();
    delegate.topology = Some("default/t".to_owned());
    let forwarder = Arc::clone(&catalog().places()[0].forwarder);
    let nothing = |is_complete| Arc::new(Catalog::new("n1", [], [], vec![], is_complete));

    let only_theirs_passes = || {
        assert_eq!(answer(&theirs), Reply::NotOurs);
        for claim in [&other, &alone, &delegate] {
            assert!(is_later(claim), "{claim:?}");
        }
    };
    only_theirs_passes();
    service.open(nothing(false));
    only_theirs_passes();
    for name in ["p", "q"] {
        pods.put(name, &[]);
    }
    only_theirs_passes();
    assert_eq!(answer(&claim_of(2, "office", "r")), Reply::NotOurs);
    // What is known now goes before what was known then.
    let made = Catalog::new("n1", [&*forwarder], [], vec![], false);
    service.open(Arc::new(made));
    assert!(is_later(&theirs), "its Forwarder is being made");
    service.open(nothing(true));
    assert_eq!(answer(&other), Reply::NotOurs);
}

#[test]
fn a_static_pod_is_found_by_the_uid_of_its_kubelet() {
    let (directory, wires) = (tempfile::tempdir().unwrap(), MemoryPodWiring::default());
    let pods = Arc::new(MemoryPods::default());
    let service = service_of(directory.path(), &wires, &pods);
    pods.put("static-n1", &[]);
    pods.change("static-n1", |here| {
        here.pod.uid = "of-the-mirror".to_owned()
    });
    let asked = claim_of(1, "default", "static-n1");
    assert!(
        matches!(ask(&service, &asked, true), Answer::Awaited(_)),
        "another pod of this name"
    );
    pods.change("static-n1", |here| {
        let own = (MIRROR.to_owned(), "uid-static-n1".to_owned());
        here.pod.annotations.extend([own]);
    });
    assert!(matches!(
        ask(&service, &asked, true),
        Answer::Now(Reply::Claimed(_))
    ));
    // The one that lasts: the mirror may be made anew any time.
    assert_eq!(service.leases()[0].uid, "uid-static-n1");
}

#[test]
fn news_of_pods_catalog_and_leases_wake_who_waits() {
    let (directory, wires) = (tempfile::tempdir().unwrap(), MemoryPodWiring::default());
    let pods = Arc::new(MemoryPods::default());
    let service = service_of(directory.path(), &wires, &pods);
    pods.put("p", &[]);
    let mut news = service.news();
    let mut is_news = || {
        let is_news = news.has_changed().unwrap();
        news.mark_unchanged();
        is_news
    };
    assert!(!is_news());
    service.hear();
    assert!(is_news());
    service.open(catalog());
    assert!(is_news());
    ask(&service, &claim_of(1, "default", "p"), true);
    service.answer(&Request::Confirm { key: key(1) }, None);
    assert!(is_news());
    service.answer(&release(1), None);
    assert!(is_news());
}

/// A claim of the daemon itself.
fn live_claim(number: u32, name: &str) -> Claim {
    let mut claim = claim_of(number, "default", name);
    claim.chained = false;
    claim.topology = Some("default/t".to_owned());
    claim.key = Key {
        container_id: format!("live-uid-{name}"),
        ifname: "bm-t".into(),
        network: key::NETWORK.into(),
    };
    claim
}

fn attach(service: &AttachService<&MemoryPodWiring>, claim: &Claim) -> bool {
    let Answer::Now(Reply::Claimed(attachments)) = ask(service, claim, true) else {
        return false;
    };
    let interfaces = attachments.into_iter().map(|a| a.forwarder_interface);
    lock(&service.wires.wired).extend(interfaces);
    let key = claim.key.clone();
    service.answer(&Request::Confirm { key }, None) == Reply::Done
}

#[test]
fn what_the_daemon_attached_goes_with_its_sandbox_and_with_no_other() {
    let (directory, wires) = (tempfile::tempdir().unwrap(), MemoryPodWiring::default());
    let pods = Arc::new(MemoryPods::default());
    let service = service_of(directory.path(), &wires, &pods);
    pods.put("p", &[]);
    let pod = |uid: &str| {
        Some(Asker {
            namespace: "default".into(),
            name: "p".into(),
            uid: Some(uid.into()),
        })
    };
    #[rustfmt::skip]
    let cases = [
        // netns of the DEL         uid         namespace is gone  freed
        (Some("/pod/1"),            "",         false,             1),
        (Some("/var/run/netns/p"),  "",         false,             1),
        (Some("/pod/2"),            "uid-p",    false,             0), // an earlier sandbox's
        (Some("/pod/1"),            "uid-q",    false,             0), // the path is another pod's by now
        (None,                      "uid-p",    false,             0),
        (None,                      "uid-p",    true,              1),
        (None,                      "uid-q",    true,              0),
        (None,                      "",         true,              0),
    ];
    for (netns, uid, is_gone, freed) in cases {
        let mut claim = live_claim(1, "p");
        if netns.is_some_and(|netns| netns.starts_with("/var")) {
            claim.netns = "/run/netns/p".to_owned();
        }
        lock(&wires.dead).clear();
        assert!(attach(&service, &claim), "{netns:?} {uid}");
        assert!(
            !attach(&service, &live_claim(1, "p")),
            "it is in the topology"
        );
        if is_gone {
            lock(&wires.dead).insert(claim.netns.clone());
        }
        let request = Request::Release {
            key: key(7),
            netns: netns.map(str::to_owned),
            pod: (!uid.is_empty()).then(|| pod(uid)).flatten(),
        };
        let Reply::Released(released) = service.answer(&request, None) else {
            panic!("not released");
        };
        assert_eq!(released.len(), freed, "{netns:?} {uid} {is_gone}");
        service.release(&claim.key).unwrap();
    }
}

#[test]
fn a_pod_leaves_one_of_its_topologies_and_keeps_the_other() {
    let (directory, wires) = (tempfile::tempdir().unwrap(), MemoryPodWiring::default());
    let pods = Arc::new(MemoryPods::default());
    let service = service_of(directory.path(), &wires, &pods);
    service.open(catalog_of(&["t", "u"]));
    pods.put("p", &[]);
    assert!(attach(&service, &claim_of(1, "default", "p")));
    let network = |topology: &str| TopologyKey {
        namespace: "default".into(),
        topology: topology.into(),
    };
    let shares = || {
        let shares = service.leases().into_iter().flat_map(|lease| lease.shares);
        shares
            .map(|share| share.attachment.topology)
            .collect::<Vec<_>>()
    };
    assert_eq!(shares(), ["t", "u"]);
    wires.is_stuck.store(true, Ordering::Relaxed);
    assert!(service.leave(&key(1), &network("t"), "label gone").is_err());
    assert_eq!(shares(), ["t", "u"], "the kernel still has it");
    wires.is_stuck.store(false, Ordering::Relaxed);
    service.leave(&key(1), &network("t"), "label gone").unwrap();
    assert_eq!(shares(), ["u"]);
    assert_eq!(lock(&wires.wired).len(), 1);
    drop(service);
    let service = service_of(directory.path(), &wires, &pods);
    assert_eq!(service.leases()[0].shares.len(), 1, "as it was written");
    service.leave(&key(1), &network("t"), "again").unwrap();
    service.leave(&key(1), &network("u"), "label gone").unwrap();
    assert!(service.is_unused() && lock(&wires.wired).is_empty());
    let left = pods
        .events()
        .into_iter()
        .filter(|(reason, _)| *reason == "Detached");
    let left: Vec<String> = left.map(|(_, message)| message).collect();
    assert_eq!(
        left,
        [
            "bm-t left topology default/t: label gone",
            "bm-u left topology default/u: label gone"
        ]
    );
}

#[test]
fn a_lease_goes_with_pod_and_namespace_and_never_with_one_of_them() {
    #[rustfmt::skip]
    let cases = [
        // namespace gone  pod gone  API away  collected
        (true,             true,     false,    true),
        (true,             false,    false,    false), // wired still: it lives on somewhere
        (false,            true,     false,    false),
        (true,             true,     true,     false),
    ];
    for (is_netns_gone, is_pod_gone, is_away, expected) in cases {
        let (directory, wires) = (tempfile::tempdir().unwrap(), MemoryPodWiring::default());
        let pods = Arc::new(MemoryPods::default());
        let service = service_of(directory.path(), &wires, &pods);
        pods.put("p", &[]);
        assert!(attach(&service, &claim_of(1, "default", "p")));
        if is_netns_gone {
            lock(&wires.dead).insert("/pod/1".to_owned());
        }
        if is_pod_gone {
            lock(&pods.here).clear();
        }
        pods.is_away.store(is_away, Ordering::Relaxed);
        service.collect_garbage();
        assert_eq!(
            service.is_unused(),
            expected,
            "{is_netns_gone} {is_pod_gone} {is_away}"
        );
    }
}
