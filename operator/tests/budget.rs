//! The bound on the memory of all topologies together, as replicas keep it.

#[path = "support/replica.rs"]
mod replica;

use operator::observe::{Cache, Key};
use serde_json::json;

use self::replica::{NAMESPACE, cache, line, object, settle};

/// Declares a topology that was created in this minute.
fn declare(cache: &Cache, topology: &str, minute: u32, forwarders: usize) {
    let mut declared = line(topology, forwarders);
    declared["metadata"]["creationTimestamp"] = json!(format!("2026-01-01T00:{minute:02}:00Z"));
    // Another declaration has another generation.
    declared["metadata"]["generation"] = json!(forwarders);
    cache.learn_topology(object(declared));
}

/// 80 Forwarders in a line are estimated at 0.3 MiB with their declaration: three times that fit into 1 MiB.
#[test]
fn the_sum_over_all_topologies_is_bounded_and_the_older_ones_come_first() {
    let names = ["d", "c", "b", "a"];
    // Replicas hear of them in different orders.
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
        let cache = cache(1);
        for index in order {
            declare(&cache, names[index], index as u32, 80);
        }
        let refused = order.map(|index| (names[index], settle(&cache, names[index])));
        for (name, reason) in &refused {
            let expected = if *name == "a" { "OutOfMemory" } else { "" };
            assert!(reason.starts_with(expected), "{name}: {reason}");
            assert_eq!(reason.is_empty(), expected.is_empty(), "{name}: {reason}");
        }
        let (_, reason) = refused
            .iter()
            .find(|(name, _)| *name == "a")
            .expect("one of them");
        assert!(
            reason.contains("at most 1 MiB") && reason.contains("they would take 2 MiB"),
            "{reason}"
        );
    }
}

#[test]
fn what_was_accepted_stays_and_what_waits_gets_the_room_that_becomes_free() {
    let cache = cache(1);
    for (minute, name) in (1..).zip(["b", "c", "d"]) {
        declare(&cache, name, minute, 80);
        assert_eq!(settle(&cache, name), "");
    }
    // Neither an older one nor one that grows takes it from them.
    declare(&cache, "a", 0, 80);
    declare(&cache, "b", 1, 160);
    for (name, is_refused) in [("a", true), ("b", true), ("c", false), ("d", false)] {
        assert_eq!(!settle(&cache, name).is_empty(), is_refused, "{name}");
    }
    assert_eq!(cache.forwarders(&Key::new(NAMESPACE, "b")).len(), 80);

    // One that asks for less than it has is accepted, and makes room.
    let waiting = |cache: &Cache| cache.waiting()[0].1;
    assert_eq!(waiting(&cache), 0);
    declare(&cache, "c", 2, 10);
    assert_eq!(settle(&cache, "c"), "");
    assert_eq!(waiting(&cache), 2, "both may have it");
    assert_eq!(settle(&cache, "a"), "", "the oldest has it");
    assert!(settle(&cache, "b").starts_with("OutOfMemory"));
}
