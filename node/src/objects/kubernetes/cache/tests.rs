use std::os::unix::fs::MetadataExt;

use crds::forwarder::ForwarderSpec;
use crds::{Forwarder, NodeObject};
use proptest::prelude::*;

use super::*;
use crate::objects::kubernetes::store::{Declared, Listing, Read, Store, Update};

fn network() -> TopologyKey {
    TopologyKey {
        namespace: "plant".to_owned(),
        topology: "iot".to_owned(),
    }
}

/// A whole state with `count` Forwarders.
fn store(count: u64) -> Store {
    let mut store = Store::default();
    for feed in [Feed::Topologies, Feed::Pods] {
        store.complete(&feed, Listing::new());
    }
    let node = Item::Node(Arc::new(NodeObject::new("n1", &[])));
    let nodes = [("n1".to_owned(), Read::Item(node))];
    store.complete(&Feed::Nodes, nodes.into());
    let keys = || (0..count).map(|number| format!("plant.iot.f{number}"));
    let own = keys().map(|key| (key, Read::Item(Item::Own(network()))));
    store.complete(&Feed::Own, own.collect());
    let declared = keys().map(|key| {
        let spec = ForwarderSpec {
            topology: "iot".to_owned(),
            name: key.clone(),
            ..ForwarderSpec::default()
        };
        let declared = Declared {
            forwarder: Arc::new(Forwarder::new("plant", spec)),
            generation: 1,
            status: None,
            version: 1,
        };
        (key, Read::Item(Item::Forwarder(declared)))
    });
    store.complete(&Feed::Network(network()), declared.collect());
    store
}

fn open(path: &Path) -> (Cache, Store) {
    let (cache, tables) = Cache::open(path, "n1", Arc::default());
    (cache, Store::new(tables))
}

/// As a daemon does it.
fn keep(cache: &Cache, store: &Store) -> bool {
    cache.mark();
    let records = cache.records(store.tables());
    let is_written = cache.write(&records);
    if is_written {
        cache.unmark(&records, || ());
    }
    is_written
}

fn files(path: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = DIRECTORIES
        .iter()
        .flat_map(|name| fs::read_dir(path.join(name)).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    all.sort();
    all
}

fn inodes(path: &Path) -> Vec<u64> {
    let inode = |path: &PathBuf| fs::metadata(path).unwrap().ino();
    files(path).iter().map(inode).collect()
}

#[test]
fn what_was_whole_is_whole_and_nothing_else_is() {
    let directory = tempfile::tempdir().unwrap();
    let (cache, nothing) = open(directory.path());
    assert!(!nothing.snapshot().is_complete);
    let expected = store(2).snapshot();
    assert!(keep(&cache, &store(2)));
    let kept = open(directory.path()).1.snapshot();
    assert!(kept.is_complete);
    assert_eq!(kept.forwarders, expected.forwarders);
    assert_eq!(kept.nodes, expected.nodes);

    // A change that is not on disk yet: what there is is served, and nothing is deleted.
    cache.mark();
    let kept = open(directory.path()).1.snapshot();
    assert!(!kept.is_complete);
    assert_eq!(kept.forwarders, expected.forwarders);

    // A change between what was written and its end.
    let records = cache.records(store(1).tables());
    assert!(cache.write(&records));
    cache.mark();
    cache.unmark(&records, || ());
    assert!(!open(directory.path()).1.snapshot().is_complete);
    assert!(keep(&cache, &store(1)));
    assert!(open(directory.path()).1.snapshot().is_complete);
    assert_eq!(files(directory.path()).len(), 2, "a Forwarder and a node");
    let (_, other) = Cache::open(directory.path(), "n2", Arc::default());
    assert!(other.is_empty(), "it is another node's");
}

/// Six topologies of 40 Forwarders, each with 4,096 namespaces: 60 MB in files.
#[test]
fn values_that_forwarders_repeat_are_held_once() {
    let directory = tempfile::tempdir().unwrap();
    let (cache, mut store) = open(directory.path());
    let namespaces = |topology: u64| {
        let name = |number| format!("team-{topology}-{number:04}-{}", "x".repeat(51));
        Arc::new((0..4_096).map(name).collect::<Vec<String>>())
    };
    let networks = |topology: u64| TopologyKey {
        namespace: "plant".to_owned(),
        topology: format!("t{topology}"),
    };
    let key = |topology: u64, number: u64| format!("plant.t{topology}.f{number}");
    let all = || (0..6).flat_map(|topology| (0..40).map(move |number| (topology, number)));
    let own = all().map(|(topology, number)| {
        let own = Item::Own(networks(topology));
        (key(topology, number), Read::Item(own))
    });
    store.complete(&Feed::Own, own.collect());
    for topology in 0..6 {
        let declared = (0..40).map(|number| {
            let spec = ForwarderSpec {
                topology: format!("t{topology}"),
                name: format!("f{number}"),
                allowed_namespaces: namespaces(topology),
                ..ForwarderSpec::default()
            };
            let declared = Item::Forwarder(Declared {
                forwarder: Arc::new(Forwarder::new("plant", spec)),
                generation: 1,
                status: None,
                version: 1,
            });
            // As a watch hands it over.
            let item = declared.sharing(&mut cache.values());
            (key(topology, number), Read::Item(item))
        });
        store.complete(&Feed::Network(networks(topology)), declared.collect());
    }
    let different = |store: &Store| {
        let snapshot = store.snapshot();
        assert_eq!(snapshot.forwarders.len(), 240);
        let lists = snapshot.forwarders.values();
        let lists = lists.map(|it| Arc::as_ptr(&it.spec.allowed_namespaces));
        lists.collect::<BTreeSet<_>>().len()
    };
    assert_eq!(different(&store), 6, "from watches");
    assert!(keep(&cache, &store));
    drop((cache, store));
    assert_eq!(different(&open(directory.path()).1), 6, "from files");
}

#[test]
fn only_what_changed_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let (cache, _) = open(directory.path());
    assert!(keep(&cache, &store(3)));
    let before = inodes(directory.path());
    // A daemon that starts again knows what is there.
    let (cache, mut kept) = open(directory.path());
    assert!(keep(&cache, &kept));
    assert_eq!(inodes(directory.path()), before);
    let address = "192.0.2.1".parse().unwrap();
    let node = Item::Node(Arc::new(NodeObject::new("n1", &[address])));
    kept.put(&Feed::Nodes, "n1", Read::Item(node));
    assert!(keep(&cache, &kept));
    let after = inodes(directory.path());
    let changed = after.iter().zip(&before).filter(|(new, old)| new != old);
    assert_eq!(changed.count(), 1);
}

#[test]
fn a_disk_that_fails_is_told_once_and_makes_no_wrong_state() {
    let directory = tempfile::tempdir().unwrap();
    let (cache, _) = open(directory.path());
    assert!(keep(&cache, &store(1)));
    // Nothing can be made in it: neither a file nor the mark.
    let forwarders = directory.path().join("forwarders");
    fs::rename(&forwarders, directory.path().join("aside")).unwrap();
    fs::write(&forwarders, b"").unwrap();
    for _ in 0..2 {
        assert!(!keep(&cache, &store(2)));
        let problem = cache.health.not_kept();
        assert!(problem.is_some_and(|it| it.contains("forwarders")));
    }
    fs::remove_file(&forwarders).unwrap();
    fs::rename(directory.path().join("aside"), &forwarders).unwrap();
    assert!(!open(directory.path()).1.snapshot().is_complete);
    assert!(keep(&cache, &store(2)));
    assert_eq!(cache.health.not_kept(), None);
    assert!(open(directory.path()).1.snapshot().is_complete);
    // Where the mark cannot be made there is no index.
    let (cache, _) = open(directory.path());
    fs::create_dir(directory.path().join(MARK)).unwrap();
    cache.mark();
    fs::remove_dir(directory.path().join(MARK)).unwrap();
    assert!(!open(directory.path()).1.snapshot().is_complete);
}

#[test]
fn a_disk_that_takes_no_mark_is_not_written_full_again() {
    let directory = tempfile::tempdir().unwrap();
    let (cache, _) = open(directory.path());
    let store = store(3);
    assert!(keep(&cache, &store));
    let before = inodes(directory.path());
    fs::create_dir(directory.path().join(MARK)).unwrap();
    cache.mark();
    fs::remove_dir(directory.path().join(MARK)).unwrap();
    assert!(!directory.path().join(INDEX).exists());
    assert!(keep(&cache, &store));
    assert_eq!(inodes(directory.path()), before);
    assert!(open(directory.path()).1.snapshot().is_complete);
}

#[test]
fn a_disk_that_fails_from_the_start_is_told_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, b"").unwrap();
    let health = Arc::<Health>::default();
    Cache::open(&path, "n1", Arc::clone(&health));
    assert!(health.not_kept().is_some());
}

#[test]
fn what_a_foreign_hand_takes_away_is_written_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("objects");
    let (cache, _) = open(&path);
    assert!(keep(&cache, &store(2)));
    fs::remove_dir_all(&path).unwrap();
    assert!(keep(&cache, &store(2)));
    assert!(open(&path).1.snapshot().is_complete);
}

#[test]
fn names_that_are_no_names_of_files_are_not_kept() {
    let directory = tempfile::tempdir().unwrap();
    let (cache, _) = open(directory.path());
    for key in ["", ".", "..", "../x", "a/b", "A", &"x".repeat(201)] {
        assert_eq!(cache.file(&Feed::Nodes, key), None, "{key}");
    }
    assert!(cache.file(&Feed::Nodes, "n1.example").is_some());
}

proptest! {
    /// Whatever becomes of one file, the state is the one that was kept or does not count as whole.
    #[test]
    fn no_damage_makes_a_wrong_whole_state(which in 0_usize..4, at in 0_usize..4096, change in 0_usize..3) {
        let directory = tempfile::tempdir().unwrap();
        let (cache, _) = open(directory.path());
        let expected = store(2).snapshot();
        prop_assert!(keep(&cache, &store(2)));
        let mut all = files(directory.path());
        all.push(directory.path().join(INDEX));
        let path = &all[which];
        let mut bytes = fs::read(path).unwrap();
        let at = at % bytes.len();
        match change {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 1,
            _ => bytes.clear(),
        }
        fs::write(path, bytes).unwrap();
        let kept = open(directory.path()).1.snapshot();
        if kept.is_complete {
            prop_assert_eq!(kept.forwarders, expected.forwarders);
            prop_assert_eq!(kept.nodes, expected.nodes);
        }
    }
}

#[test]
fn a_disk_that_stalls_keeps_nobody_from_what_is_known() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let _entered = runtime.enter();
    let (shared, _requests, directory) = crate::objects::kubernetes::tests::shared(200);
    // Opening it for writing waits for a reader, as long as the disk stalls.
    let mark = directory.path().join(MARK);
    nix::unistd::mkfifo(&mark, nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::thread::scope(|scope| {
        let node = Item::Node(Arc::new(NodeObject::new("n1", &[])));
        let put = Update::One("n1".to_owned(), Read::Item(node));
        let writer = scope.spawn(|| shared.take(&Feed::Nodes, put));
        while shared.cache.changes.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        let seen = shared.store.try_lock().map(|it| it.snapshot().nodes.len());
        let seen = seen.ok();
        drop(fs::File::open(&mark).unwrap());
        writer.join().unwrap();
        assert_eq!(seen, Some(0), "free, and not seen before it is marked");
        assert_eq!(shared.store().snapshot().nodes.len(), 1);
    });
}
