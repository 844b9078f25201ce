use crds::Forwarder;
use crds::forwarder::ForwarderSpec;

use super::*;
use crate::objects::pods::NodePod;
use crds::uninstall::{ANNOTATION, REQUESTED};

use crate::objects::own_pod::OwnPod;

fn network(topology: &str) -> TopologyKey {
    TopologyKey {
        namespace: "plant".to_owned(),
        topology: topology.to_owned(),
    }
}

fn own(topology: &str) -> Read {
    Read::Item(Item::Own(network(topology)))
}

/// A Forwarder of `iot`.
fn forwarder(name: &str, node: &str, version: u64) -> Declared {
    let spec = ForwarderSpec {
        topology: "iot".to_owned(),
        name: name.to_owned(),
        node: node.to_owned(),
        ..ForwarderSpec::default()
    };
    Declared {
        forwarder: Arc::new(Forwarder::new("plant", spec)),
        generation: 1,
        status: None,
        version,
    }
}

fn read(declared: &Declared) -> Read {
    Read::Item(Item::Forwarder(declared.clone()))
}

fn listing<const N: usize>(reads: [(&str, Read); N]) -> Listing {
    reads.map(|(key, read)| (key.to_owned(), read)).into()
}

/// Store with every table listed once: `a` is on this node, `b` on another.
fn furnished() -> Store {
    let mut store = Store::default();
    for feed in [Feed::Topologies, Feed::Nodes, Feed::Pods] {
        store.complete(&feed, Listing::new());
    }
    store.complete(&Feed::Own, listing([("a", own("iot"))]));
    let all = [
        ("a", read(&forwarder("a", "n1", 1))),
        ("b", read(&forwarder("b", "n2", 1))),
    ];
    store.complete(&Feed::Network(network("iot")), listing(all));
    store
}

fn keys(store: &Store) -> Vec<String> {
    store.snapshot().forwarders.into_keys().collect()
}

#[test]
fn is_complete_when_every_watch_that_is_needed_was_listed() {
    let mut store = Store::default();
    let iot = Feed::Network(network("iot"));
    let lists = [
        (Feed::Pods, Listing::new()),
        (Feed::Own, listing([("a", own("iot"))])),
        (Feed::Nodes, Listing::new()),
        (
            iot.clone(),
            listing([("a", read(&forwarder("a", "n1", 1)))]),
        ),
        (Feed::Topologies, Listing::new()),
    ];
    for (feed, listing) in lists {
        assert!(!store.snapshot().is_complete, "{feed}");
        assert!(store.complete(&feed, listing).source, "{feed}");
    }
    assert!(store.snapshot().is_complete);

    // Another topology has a Forwarder here: not before its list is there.
    let change = store.put(&Feed::Own, "x", own("other"));
    assert!(change.networks && change.source);
    assert!(!store.snapshot().is_complete);
    assert_eq!(keys(&store), ["a"]);
    store.complete(&Feed::Network(network("other")), Listing::new());
    assert!(store.snapshot().is_complete);
    store.put(&Feed::Own, "a", Read::Nothing);
    assert_eq!(keys(&store), [""; 0], "nothing of it is needed any more");
    assert_eq!(store.put(&iot, "a", own("iot")), Change::default());
}

#[test]
fn begins_when_the_own_pod_cannot_ask_for_a_clean_node_any_more() {
    let own = OwnPod {
        namespace: "beemesh-system".to_owned(),
        name: "node-x".to_owned(),
    };
    let pod = |name: &str, is_asked: bool| {
        let mut here = NodePod::default();
        here.pod.namespace.clone_from(&own.namespace);
        here.pod.name = name.to_owned();
        if is_asked {
            let asked = (ANNOTATION.to_owned(), REQUESTED.to_owned());
            here.pod.annotations.extend([asked]);
        }
        (name.to_owned(), Read::Item(Item::Pod(Arc::new(here))))
    };
    #[rustfmt::skip]
    let cases = [
        (None,                            false),
        (Some(vec![]),                    true),
        (Some(vec![pod("node-x", false)]), true),
        (Some(vec![pod("node-y", true)]), true),
        (Some(vec![pod("node-x", true)]), false),
    ];
    for (pods, expected) in cases {
        let mut store = Store::default();
        if let Some(pods) = pods.clone() {
            store.complete(&Feed::Pods, pods.into_iter().collect());
        }
        assert_eq!(store.may_begin(Some(&own)), expected, "{pods:?}");
        assert!(store.may_begin(None), "no pod asks: {pods:?}");
    }
}

#[test]
fn a_status_of_another_node_concerns_nobody() {
    let mut store = furnished();
    let iot = Feed::Network(network("iot"));
    let before = store.snapshot();
    // The reader leaves out what others report: only the version is another one.
    let change = store.put(&iot, "b", read(&forwarder("b", "n2", 2)));
    assert_eq!(change, Change::default());
    assert!(Arc::ptr_eq(
        &before.forwarders["b"],
        &store.snapshot().forwarders["b"]
    ));

    let mut reported = forwarder("a", "n1", 2);
    reported.status = Some(Arc::default());
    let change = store.put(&iot, "a", read(&reported));
    let expected = Change {
        cache: true,
        statuses: vec!["a".to_owned()],
        ..Change::default()
    };
    assert_eq!(change, expected);

    let mut edited = forwarder("b", "n2", 3);
    edited.generation = 2;
    assert!(store.put(&iot, "b", read(&edited)).source);
}

#[test]
fn an_older_answer_takes_no_newer_ones_place_but_a_list_does() {
    let mut store = furnished();
    let iot = Feed::Network(network("iot"));
    let mut new = forwarder("b", "n3", 9);
    new.generation = 2;
    assert!(store.put(&iot, "b", read(&new)).source);
    let old = read(&forwarder("b", "n2", 8));
    assert_eq!(store.put(&iot, "b", old.clone()), Change::default());
    assert_eq!(store.snapshot().forwarders["b"].spec.node, "n3");
    store.complete(&iot, listing([("b", old)]));
    assert_eq!(store.snapshot().forwarders["b"].spec.node, "n2");
}

#[test]
fn what_cannot_be_understood_stands_as_it_last_was() {
    let mut store = furnished();
    let iot = Feed::Network(network("iot"));
    let bad = || Read::Bad("spec: odd".to_owned());
    assert!(store.put(&iot, "b", bad()).source);
    let snapshot = store.snapshot();
    assert_eq!(snapshot.problems, ["forwarder b: spec: odd"]);
    assert!(snapshot.is_complete && snapshot.forwarders.contains_key("b"));
    store.put(&iot, "c", bad());
    assert!(store.snapshot().is_complete, "it is another node's");

    // This node's, never understood: its namespace must not go.
    store.put(&Feed::Own, "d", own("iot"));
    store.put(&iot, "d", bad());
    assert!(!store.snapshot().is_complete);
    store.put(&iot, "d", read(&forwarder("d", "n1", 2)));
    assert!(store.snapshot().is_complete);
    store.put(&iot, "c", Read::Nothing);
    store.put(&iot, "b", read(&forwarder("b", "n2", 2)));
    assert_eq!(store.snapshot().problems, [""; 0]);
}

#[test]
fn a_list_that_says_the_same_changes_nothing() {
    let mut store = furnished();
    let iot = Feed::Network(network("iot"));
    let same = [
        ("a", read(&forwarder("a", "n1", 5))),
        ("b", read(&forwarder("b", "n2", 5))),
    ];
    let stamps = |store: &Store| -> Vec<u64> {
        let entries = store.tables()[&iot].entries.values();
        entries.map(|entry| entry.stamp).collect()
    };
    let before = stamps(&store);
    assert_eq!(store.complete(&iot, listing(same)), Change::default());
    assert_eq!(stamps(&store), before);
    let change = store.complete(&iot, listing([("a", read(&forwarder("a", "n1", 5)))]));
    assert!(change.source && change.cache);
    assert_eq!(keys(&store), ["a"]);
}
