//! Behaviour of every kernel adapter.

use std::time::{Duration, Instant};

use dataplane::{Balance, Error, Kernel, LinkKind, converge, converge_routes, remove};

use crate::fixture::{
    Test, Testbed, complete, join, links, programmed, routes_of_a, triangle, wanted,
};

/// All tests for one kind of kernel.
pub(crate) fn tests<T: Testbed>() -> Vec<Test> {
    vec![
        (
            "a_second_apply_writes_nothing",
            a_second_apply_writes_nothing::<T>,
        ),
        (
            "foreign_objects_are_named_and_left_alone",
            foreign_objects_are_left_alone::<T>,
        ),
        (
            "what_was_deleted_by_hand_comes_back",
            what_was_deleted_by_hand_comes_back::<T>,
        ),
        (
            "a_lost_link_flushes_and_a_resync_repairs",
            a_lost_link_flushes::<T>,
        ),
        (
            "a_link_that_was_put_down_stays_down",
            a_link_that_was_put_down_stays_down::<T>,
        ),
        (
            "eviction_costs_one_message_for_each_group",
            eviction_costs_one_message::<T>,
        ),
        (
            "a_changed_set_is_one_message",
            a_changed_set_is_one_message::<T>,
        ),
        (
            "what_is_not_wanted_any_more_goes",
            what_is_not_wanted_goes::<T>,
        ),
        (
            "a_missing_peer_is_a_failure_and_the_rest_is_done",
            a_missing_peer_is_a_failure::<T>,
        ),
        (
            "another_balance_moves_routes_to_new_groups",
            another_balance::<T>,
        ),
        (
            "absent_namespaces_are_deleted",
            absent_namespaces_are_deleted::<T>,
        ),
    ]
}

/// The triangle with its routes in `a`.
fn built<T: Testbed>(others: u32) -> (T, crate::fixture::Network, String) {
    let mut bed = T::new();
    let network = triangle(&bed, Balance::HashThreshold);
    let a = bed.name("a");
    complete(&converge(bed.kernel(), &network));
    let routes = routes_of_a(others);
    complete(&converge_routes(bed.kernel(), &a, &network[&a], &routes));
    assert_eq!(programmed(&bed.observe(&a)), wanted(&routes));
    (bed, network, a)
}

fn a_second_apply_writes_nothing<T: Testbed>() {
    let (mut bed, network, a) = built::<T>(100);
    let again = converge(bed.kernel(), &network);
    complete(&again);
    assert_eq!(again.writes, 0, "structure");
    let again = converge_routes(bed.kernel(), &a, &network[&a], &routes_of_a(100));
    complete(&again);
    assert_eq!(again.writes, 0, "routes");
}

fn foreign_objects_are_left_alone<T: Testbed>() {
    let (mut bed, mut network, a) = built::<T>(1);
    bed.add_foreign_link(&a, "l-d.1");
    bed.add_foreign_route(&a, "192.0.2.0/24");
    let before = bed.observe(&a);
    let d = bed.name("d");
    join(&mut network, &a, &d, 1);
    let applied = converge(bed.kernel(), &network);
    let foreign = |failure: &&dataplane::Failure| matches!(&failure.source, Error::Foreign { object } if object.contains("l-d.1"));
    assert!(
        applied.failures.iter().any(|failure| foreign(&failure)),
        "{:?}",
        applied.failures
    );
    let mut routes = routes_of_a(1);
    routes.insert("192.0.2.0/24".parse().unwrap(), links(&["l-b.1"]));
    let applied = converge_routes(bed.kernel(), &a, &network[&a], &routes);
    assert_eq!(applied.failures.len(), 1);
    assert!(
        applied.failures[0]
            .source
            .to_string()
            .contains("192.0.2.0/24")
    );
    assert_eq!(bed.observe(&a), before, "nothing was touched");
}

fn what_was_deleted_by_hand_comes_back<T: Testbed>() {
    let (mut bed, network, a) = built::<T>(3);
    let before = programmed(&bed.observe(&a));
    let b = bed.name("b");
    bed.delete_route(&a, "10.99.3.0/24");
    bed.delete_neighbours(&a, "l-c.1");
    bed.delete_link(&b, "l-a.1");
    assert_ne!(programmed(&bed.observe(&a)), before);
    complete(&converge(bed.kernel(), &network));
    complete(&converge_routes(
        bed.kernel(),
        &a,
        &network[&a],
        &routes_of_a(3),
    ));
    assert_eq!(programmed(&bed.observe(&a)), before);
    for (netns, namespace) in &network {
        let observed = bed.observe(netns);
        for (name, link) in &namespace.links {
            let neighbour = observed.neighbours.get(&(name.clone(), link.gateway()));
            assert_eq!(
                neighbour.map(|n| n.mac),
                Some(link.peer_mac),
                "{netns} {name}"
            );
        }
    }
    assert_eq!(converge(bed.kernel(), &network).writes, 0);
}

fn a_lost_link_flushes<T: Testbed>() {
    let (mut bed, network, a) = built::<T>(50);
    let (b, routes) = (bed.name("b"), routes_of_a(50));
    // The other end goes down: here only the carrier is lost.
    bed.set_link(&b, "l-a.1", false);
    let flushed = "10.99.2.0/24".parse().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    // The kernel tells the other end of the loss in its own time.
    while programmed(&bed.observe(&a)).contains_key(&flushed) {
        assert!(Instant::now() < deadline, "flushed with its only member");
    }
    let left = programmed(&bed.observe(&a));
    assert_eq!(
        left[&"10.99.3.0/24".parse().unwrap()],
        ["l-c.1".to_owned()].into()
    );
    let resync = converge_routes(bed.kernel(), &a, &network[&a], &routes);
    complete(&resync);
    assert_eq!(
        programmed(&bed.observe(&a)),
        left,
        "there is no other way to b"
    );
    bed.set_link(&b, "l-a.1", true);
    while !bed.observe(&a).links["l-b.1"].is_up {
        assert!(Instant::now() < deadline, "the carrier comes back");
    }
    let resync = converge_routes(bed.kernel(), &a, &network[&a], &routes);
    complete(&resync);
    assert_eq!(programmed(&bed.observe(&a)), wanted(&routes));
    assert!(
        resync.writes <= 6,
        "two groups and two routes, not {} messages",
        resync.writes
    );
}

fn a_link_that_was_put_down_stays_down<T: Testbed>() {
    let (mut bed, network, a) = built::<T>(1);
    bed.set_link(&a, "l-b.1", false);
    let applied = converge(bed.kernel(), &network);
    complete(&applied);
    // Its neighbour went with it and was put back: the next apply has nothing to do.
    assert_eq!(converge(bed.kernel(), &network).writes, 0);
    let observed = bed.observe(&a);
    assert!(!observed.links["l-b.1"].is_enabled && !observed.links["l-b.1"].is_up);
}

fn eviction_costs_one_message<T: Testbed>() {
    let (mut bed, network, a) = built::<T>(200);
    let evicted = bed.kernel().evict(&a, "l-b.1").unwrap();
    complete(&evicted);
    assert_eq!(evicted.writes, 1, "only one group has another member");
    let left = programmed(&bed.observe(&a));
    assert_eq!(
        left[&"10.99.3.0/24".parse().unwrap()],
        ["l-c.1".to_owned()].into()
    );
    assert_eq!(left.len(), routes_of_a(200).len(), "no route was lost");
    complete(&converge_routes(
        bed.kernel(),
        &a,
        &network[&a],
        &routes_of_a(200),
    ));
    assert_eq!(programmed(&bed.observe(&a)), wanted(&routes_of_a(200)));
}

fn a_changed_set_is_one_message<T: Testbed>() {
    let (mut bed, network, a) = built::<T>(1000);
    let mut routes = routes_of_a(1000);
    let changed = routes
        .iter()
        .filter(|&(_, target)| *routes.target(target) == links(&["l-b.1", "l-c.1"]));
    let changed: Vec<_> = changed.map(|(prefix, _)| prefix).collect();
    let target = routes.intern(links(&["l-c.1"]));
    for prefix in changed {
        routes.insert_shared(prefix, target);
    }
    let applied = converge_routes(bed.kernel(), &a, &network[&a], &routes);
    complete(&applied);
    assert_eq!(applied.writes, 1);
    assert_eq!(programmed(&bed.observe(&a)), wanted(&routes));
}

fn what_is_not_wanted_goes<T: Testbed>() {
    let (mut bed, mut network, a) = built::<T>(10);
    let routes = [("10.99.2.0/24".parse().unwrap(), links(&["l-b.1"]))]
        .into_iter()
        .collect();
    let namespace = network.get_mut(&a).unwrap();
    namespace.links.remove("l-c.1");
    namespace.addresses.pop_last();
    let namespace = network.get_mut(&bed.name("c")).unwrap();
    namespace.links.remove("l-a.1");
    complete(&converge_routes(bed.kernel(), &a, &network[&a], &routes));
    complete(&converge(bed.kernel(), &network));
    let observed = bed.observe(&a);
    assert_eq!(programmed(&observed), wanted(&routes));
    assert!(!observed.links.contains_key("l-c.1"));
    assert_eq!(observed.addresses.len(), 1);
    assert_eq!(observed.nexthops.len(), 2, "one nexthop, one group");
    assert_eq!(converge(bed.kernel(), &network).writes, 0);
}

fn a_missing_peer_is_a_failure<T: Testbed>() {
    let mut bed = T::new();
    let mut network = triangle(&bed, Balance::HashThreshold);
    let (a, c) = (bed.name("a"), bed.name("c"));
    network.remove(&c);
    let applied = converge(bed.kernel(), &network);
    assert!(!applied.is_complete());
    assert!(
        applied
            .failures
            .iter()
            .all(|failure| failure.operation.contains("l-c.1"))
    );
    assert!(bed.observe(&a).links["l-b.1"].is_up, "the others are made");
    network = triangle(&bed, Balance::HashThreshold);
    complete(&converge(bed.kernel(), &network));
    assert!(matches!(
        network[&a].links["l-c.1"].kind,
        LinkKind::Veth { .. }
    ));
    assert!(bed.observe(&a).links["l-c.1"].is_up);
}

fn another_balance<T: Testbed>() {
    let (mut bed, mut network, a) = built::<T>(20);
    network.get_mut(&a).unwrap().balance = Balance::RESILIENT;
    complete(&converge_routes(
        bed.kernel(),
        &a,
        &network[&a],
        &routes_of_a(20),
    ));
    let observed = bed.observe(&a);
    assert_eq!(programmed(&observed), wanted(&routes_of_a(20)));
    assert_eq!(
        observed.nexthops.len(),
        4,
        "old groups are gone: {:?}",
        observed.nexthops
    );
    let again = converge_routes(bed.kernel(), &a, &network[&a], &routes_of_a(20));
    assert_eq!(again.writes, 0);
}

fn absent_namespaces_are_deleted<T: Testbed>() {
    let (mut bed, network, a) = built::<T>(1);
    complete(&remove(bed.kernel(), network.keys().cloned()));
    assert!(bed.kernel().observe(&a).unwrap().is_none());
    complete(&remove(bed.kernel(), network.into_keys()));
    let left = bed.name("");
    if !left.is_empty() {
        assert!(bed.kernel().namespaces(&left).unwrap().is_empty());
    }
}
