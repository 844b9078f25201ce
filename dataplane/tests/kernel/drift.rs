//! Detection and repair of foreign changes in a Forwarder's namespace.

use std::collections::BTreeSet;
use std::net::IpAddr;

use dataplane::{
    Balance, Error, PodEnd, Routes, Target, Via, converge, converge_routes,
    monitor::Monitor,
    netns::{self, Netns},
    remove,
};

use crate::fixture::{
    Network, Real, Test, Testbed, complete, ip, join, links, programmed, routes_of_a, triangle,
    wanted,
};

/// The Forwarder's end of an attachment.
const APP: &str = "app0";
/// Addresses of the pod.
const POD: [&str; 2] = ["10.99.1.2", "fd99:1::2"];

/// All tests for one kind of kernel.
pub(crate) fn tests<T: Testbed>() -> Vec<Test> {
    vec![
        ("routes_to_pods_come_back", routes_to_pods_come_back::<T>),
        (
            "the_end_of_a_pod_that_was_put_down_comes_up_whole",
            the_end_of_a_pod_comes_up_whole::<T>,
        ),
        (
            "a_route_of_others_to_a_pods_address_is_named_and_left",
            a_route_of_others_is_left::<T>,
        ),
        (
            "settings_of_interfaces_are_written_again",
            settings_of_interfaces::<T>,
        ),
        ("rules_of_the_main_table_come_back", rules_come_back::<T>),
        (
            "an_unreachable_prefix_is_one_until_there_is_a_way",
            an_unreachable_prefix::<T>,
        ),
    ]
}

/// Tests that need a real kernel.
pub(crate) fn real_tests() -> Vec<Test> {
    vec![
        (
            "ipv6_that_was_switched_off_comes_back_with_all_that_needs_it",
            ipv6_comes_back,
        ),
        (
            "a_namespace_that_somebody_is_in_loses_its_links_with_its_name",
            a_pinned_namespace_is_emptied,
        ),
        (
            "a_tunnel_in_a_namespace_without_name_gives_way",
            a_stray_tunnel_gives_way,
        ),
        ("a_pod_cannot_send_as_another", a_pod_cannot_send_as_another),
        (
            "interfaces_are_counted_and_deleted_without_the_name_of_their_namespace",
            interfaces_without_a_name,
        ),
    ]
}

/// The triangle with a pod on `a`.
fn with_pod<T: Testbed>() -> (T, Network, String) {
    let mut bed = T::new();
    let mut network = triangle(&bed, Balance::HashThreshold);
    let a = bed.name("a");
    complete(&converge(bed.kernel(), &network));
    bed.add_pod_end(&a, APP);
    let parse = |text: &str| text.parse::<IpAddr>().unwrap();
    let end = PodEnd {
        addresses: POD.map(parse).into(),
        gateways: ["169.254.1.1", "fe80::1"].map(parse).into(),
    };
    let namespace = network.get_mut(&a).unwrap();
    namespace.pods.insert(APP.to_owned(), end);
    namespace
        .addresses
        .insert("169.254.1.1/32".parse().unwrap());
    converge_all(&mut bed, &network, &a);
    (bed, network, a)
}

fn converge_all<T: Testbed>(bed: &mut T, network: &Network, a: &str) {
    complete(&converge(bed.kernel(), network));
    complete(&converge_routes(
        bed.kernel(),
        a,
        &network[a],
        &routes_of_a(3),
    ));
    assert_whole(bed, network, a);
}

/// All is there, and the next look finds nothing to do.
#[track_caller]
fn assert_whole<T: Testbed>(bed: &mut T, network: &Network, a: &str) {
    let observed = bed.observe(a);
    let index = observed.links[APP].index;
    let to_pod = observed.routes.iter().filter(|route| route.is_attachment());
    let to_pod: BTreeSet<_> = to_pod.map(|route| (route.prefix.ip(), route.via)).collect();
    let expected = POD.map(|address| (address.parse().unwrap(), Via::Device(index)));
    assert_eq!(to_pod, expected.into());
    let gateway = (APP.to_owned(), "fe80::1".parse().unwrap());
    assert!(observed.link_addresses.contains(&gateway));
    assert!(observed.links[APP].is_up);
    assert_eq!(observed.missing_rules, BTreeSet::new());
    assert_eq!(observed.wrong_settings, BTreeSet::new());
    for (name, link) in &observed.links {
        assert_eq!(link.wrong_settings, BTreeSet::new(), "{name}");
    }
    assert_eq!(programmed(&observed), wanted(&routes_of_a(3)));
    assert_eq!(converge(bed.kernel(), network).writes, 0);
}

fn routes_to_pods_come_back<T: Testbed>() {
    let (mut bed, network, a) = with_pod::<T>();
    bed.delete_route(&a, "10.99.1.2/32");
    converge_all(&mut bed, &network, &a);
}

fn the_end_of_a_pod_comes_up_whole<T: Testbed>() {
    let (mut bed, network, a) = with_pod::<T>();
    bed.set_link(&a, APP, false);
    converge_all(&mut bed, &network, &a);
}

fn a_route_of_others_is_left<T: Testbed>() {
    let (mut bed, network, a) = with_pod::<T>();
    bed.delete_route(&a, "10.99.1.2/32");
    bed.add_foreign_route(&a, "10.99.1.2/32");
    let before = bed.observe(&a);
    let applied = converge(bed.kernel(), &network);
    let is_named = |failure: &dataplane::Failure| matches!(&failure.source, Error::Foreign { object } if object.contains("10.99.1.2"));
    assert!(
        applied.failures.iter().any(is_named),
        "{:?}",
        applied.failures
    );
    assert_eq!(bed.observe(&a), before);
}

fn settings_of_interfaces<T: Testbed>() {
    let (mut bed, network, a) = with_pod::<T>();
    for (path, interface, wrong) in [
        ("ipv4/conf/*/rp_filter", APP, "0"),
        ("ipv4/conf/*/rp_filter", "l-b.1", "1"),
        ("ipv4/conf/*/send_redirects", "l-b.1", "1"),
        ("ipv4/conf/*/forwarding", "l-c.1", "0"),
        ("ipv6/conf/*/forwarding", "l-c.1", "0"),
        ("ipv4/conf/default/send_redirects", "default", "1"),
    ] {
        bed.spoil_setting(&a, path, interface, wrong);
        let observed = bed.observe(&a);
        let of_links = observed
            .links
            .values()
            .map(|link| link.wrong_settings.len());
        let wrong = of_links.sum::<usize>() + observed.wrong_settings.len();
        assert_eq!(wrong, 1, "{path} of {interface}");
        converge_all(&mut bed, &network, &a);
    }
}

fn rules_come_back<T: Testbed>() {
    let (mut bed, network, a) = with_pod::<T>();
    bed.delete_rules(&a);
    assert!(!bed.observe(&a).missing_rules.is_empty());
    converge_all(&mut bed, &network, &a);
}

fn an_unreachable_prefix<T: Testbed>() {
    let (mut bed, network, a) = with_pod::<T>();
    let prefixes = ["10.99.0.0/16", "fd99::/48"].map(|text| text.parse().unwrap());
    let with = |target: &Target| {
        let mut routes = routes_of_a(3);
        for prefix in prefixes {
            routes.insert(prefix, target.clone());
        }
        routes
    };
    let mut program = |routes: &Routes| {
        complete(&converge_routes(bed.kernel(), &a, &network[&a], routes));
        let again = converge_routes(bed.kernel(), &a, &network[&a], routes);
        assert_eq!(again.writes, 0);
        let observed = bed.observe(&a);
        let seen = observed.routes.iter().filter(|route| route.is_ours());
        let seen: Vec<_> = seen.map(|route| (route.prefix, route.via)).collect();
        prefixes.map(|prefix| {
            let found: Vec<_> = seen.iter().filter(|(of, _)| *of == prefix).collect();
            assert!(found.len() <= 1, "{found:?}");
            found.first().map(|(_, via)| *via == Via::Unreachable)
        })
    };
    let (nowhere, somewhere) = (with(&Target::Unreachable), with(&links(&["l-b.1"])));
    assert_eq!(program(&nowhere), [Some(true); 2]);
    assert_eq!(program(&somewhere), [Some(false); 2]);
    assert_eq!(program(&nowhere), [Some(true); 2]);
    assert_eq!(program(&routes_of_a(3)), [None; 2]);
}

fn ipv6_comes_back() {
    let (mut bed, network, a) = with_pod::<Real>();
    for (path, interface) in [
        ("ipv6/conf/all/disable_ipv6", ""),
        ("ipv6/conf/*/disable_ipv6", "lo"),
        ("ipv6/conf/*/disable_ipv6", "l-b.1"),
        ("ipv6/conf/*/disable_ipv6", APP),
    ] {
        bed.spoil_setting(&a, path, interface, "1");
        converge_all(&mut bed, &network, &a);
        let observed = bed.observe(&a);
        let addresses = &network[&a].addresses;
        let lost = addresses
            .iter()
            .filter(|address| !observed.addresses.contains_key(address));
        assert_eq!(lost.count(), 0, "{path} {interface}");
    }
}

fn a_pinned_namespace_is_emptied() {
    let (mut bed, network, a) = with_pod::<Real>();
    let holder = Netns::open(&a).unwrap();
    ip(
        &a,
        &[
            "link",
            "add",
            "foreign",
            "type",
            "veth",
            "peer",
            "name",
            "foreign-peer",
        ],
    );
    complete(&remove(bed.kernel(), [a.clone()]));
    assert!(!netns::list().unwrap().contains(&a));
    let left = holder.run(|| std::fs::read_to_string("/proc/thread-self/net/dev"));
    let left = left.unwrap().unwrap();
    assert!(!left.contains("l-b.1") && !left.contains(APP), "{left}");
    assert!(left.contains("foreign"), "what is not ours is left: {left}");
    let b = bed.name("b");
    assert!(!bed.observe(&b).links.contains_key("l-a.1"));
    complete(&converge(bed.kernel(), &network));
}

fn a_stray_tunnel_gives_way() {
    let mut bed = Real::new();
    let (a, b) = (bed.name("a"), bed.name("b"));
    let mut network = Network::new();
    let (name, _) = join(&mut network, &a, &b, 1);
    network.remove(&b);
    let link = network.get_mut(&a).unwrap().links.get_mut(&name).unwrap();
    link.kind = dataplane::LinkKind::Vxlan {
        // Of this test alone, on this machine.
        vni: 0x00c0_0000 + (std::process::id() & 0xffff),
        port: 47_899,
        local: "127.0.0.1".parse().unwrap(),
        remote: "127.0.0.2".parse().unwrap(),
    };
    complete(&converge(bed.kernel(), &network));
    // As the daemon does; it gives the namespace its number.
    let monitor = Monitor::new().unwrap();
    monitor.watch(&a).unwrap();
    let holder = Netns::open(&a).unwrap();
    netns::delete(&a).unwrap();
    complete(&converge(bed.kernel(), &network));
    assert!(bed.observe(&a).links[&name].is_enabled);
    let left = holder.run(|| std::fs::read_to_string("/proc/thread-self/net/dev"));
    assert!(!left.unwrap().unwrap().contains(&name));
}

fn interfaces_without_a_name() {
    let names = crate::fixture::Names::new();
    let (host, own) = (names.name("host"), names.name("own"));
    for netns in [&host, &own] {
        netns::create(netns).unwrap();
    }
    let holder = Netns::open(&own).unwrap();
    for link in ["l-a", "l-b"] {
        let peer = format!("x{link}");
        ip(
            &own,
            &[
                "link", "add", link, "group", "3054", "type", "veth", "peer", "name", &peer,
            ],
        );
    }
    // In a host's namespace of its own: there are no numbers of other tests.
    let inside = Netns::open(&host).unwrap().run(|| {
        let kernel = dataplane::LinuxKernel::new().unwrap();
        assert_eq!(kernel.count_interfaces().unwrap(), 0);
        Monitor::new().unwrap().watch(&own).unwrap();
        netns::delete(&own).unwrap();
        let before = kernel.count_interfaces().unwrap();
        kernel.delete_interfaces().unwrap();
        (before, kernel.count_interfaces().unwrap())
    });
    assert_eq!(inside.unwrap(), (2, 0));
    drop(holder);
}

fn a_pod_cannot_send_as_another() {
    let (bed, _, a) = with_pod::<Real>();
    let reversed = |from: &str| {
        let asked = ["route", "get", "10.99.2.2", "from", from, "iif", APP];
        let mut command = std::process::Command::new("ip");
        command
            .args(["-n", &a])
            .args(asked)
            .output()
            .unwrap()
            .status
            .success()
    };
    assert!(reversed("10.99.1.2"), "its own");
    assert!(!reversed("10.99.1.3"), "a neighbour's");
    assert!(!reversed("10.99.2.9"), "of another Forwarder");
    drop(bed);
}
