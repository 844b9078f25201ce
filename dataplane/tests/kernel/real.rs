//! Behaviour of a real kernel, without traffic.

use std::process::Command;
use std::time::{Duration, Instant};

use dataplane::{
    Balance, Kernel, LinuxKernel, Namespace, Routes,
    census::{self, Scope},
    converge, converge_routes,
    monitor::{Event, Monitor},
    netlink::{
        AF_INET, Batch, IFLA_IFALIAS, RTA_DST, RTM_DELROUTE, RTM_SETLINK, Socket, ifinfomsg, rtmsg,
    },
    netns::{self, Netns},
    remove,
};

use crate::fixture::{
    Names, Real, Test, Testbed, complete, ip, programmed, routes_of_a, triangle, wanted,
};

/// Longer than any event takes, on any machine.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn tests() -> Vec<Test> {
    vec![
        (
            "ip_netns_knows_our_namespaces",
            ip_netns_knows_our_namespaces,
        ),
        (
            "settings_that_drift_are_written_again",
            settings_that_drift_are_written_again,
        ),
        ("ten_thousand_routes_of_each_family", ten_thousand_routes),
        (
            "more_refusals_than_the_receive_buffer_holds_do_not_hang",
            refusals_do_not_hang,
        ),
        (
            "the_census_is_the_same_before_and_after",
            the_census_is_the_same,
        ),
        (
            "the_monitor_tells_links_once_and_deletions",
            the_monitor_tells,
        ),
        (
            "lost_notifications_are_told_as_a_resync",
            lost_notifications,
        ),
        ("a_resilient_group_is_one_in_the_kernel", a_resilient_group),
        (
            "a_file_that_is_no_namespace_is_made_one",
            a_file_that_is_no_namespace,
        ),
    ]
}

fn ip_netns_knows_our_namespaces() {
    let names = Names::new();
    let name = names.name("x");
    assert!(netns::create(&name).unwrap());
    assert!(!netns::create(&name).unwrap(), "made already");
    assert!(ip(&name, &["link"]).contains("lo"));
    let inode = Netns::open(&name).unwrap().inode().unwrap();
    assert_ne!(inode, Netns::current().unwrap().inode().unwrap());
    assert!(netns::delete(&name).unwrap());
    assert!(!netns::delete(&name).unwrap(), "deleted already");
}

fn settings_that_drift_are_written_again() {
    let mut bed = Real::new();
    let a = bed.name("a");
    let network = [(a.clone(), Namespace::default())].into();
    complete(&converge(bed.kernel(), &network));
    let forwarding = || {
        let read = || std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
        Netns::open(&a).unwrap().run(read).unwrap()
    };
    assert_eq!(forwarding().trim(), "1");
    let write = || std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
    Netns::open(&a).unwrap().run(write).unwrap();
    let applied = converge(bed.kernel(), &network);
    complete(&applied);
    // To switch forwarding off turned on what hosts do: that is put right too.
    assert_eq!(forwarding().trim(), "1");
    assert_eq!(converge(bed.kernel(), &network).writes, 0);
}

fn ten_thousand_routes() {
    let mut bed = Real::new();
    let network = triangle(&bed, Balance::HashThreshold);
    let a = bed.name("a");
    complete(&converge(bed.kernel(), &network));
    let mut routes = Routes::new();
    let both = routes.intern(crate::fixture::links(&["l-b.1", "l-c.1"]));
    for number in 0..10_000_u32 {
        let (high, low) = (number / 256, number % 256);
        routes.insert_shared(
            format!("172.{}.{low}.0/24", 16 + high).parse().unwrap(),
            both,
        );
        routes.insert_shared(format!("fd55:{number:x}::/64").parse().unwrap(), both);
    }
    complete(&converge_routes(bed.kernel(), &a, &network[&a], &routes));
    assert_eq!(programmed(&bed.observe(&a)), wanted(&routes));
    assert_eq!(
        converge_routes(bed.kernel(), &a, &network[&a], &routes).writes,
        0
    );
    // Half of them go.
    let half = routes
        .iter()
        .step_by(2)
        .map(|(prefix, t)| (prefix, routes.target(t).clone()));
    let half: Routes = half.collect();
    complete(&converge_routes(bed.kernel(), &a, &network[&a], &half));
    assert_eq!(programmed(&bed.observe(&a)), wanted(&half));
}

fn refusals_do_not_hang() {
    let names = Names::new();
    let name = names.name("x");
    netns::create(&name).unwrap();
    let mut socket = Socket::open_in(&Netns::open(&name).unwrap()).unwrap();
    let mut batch = Batch::new();
    for number in 0..100_000_u32 {
        batch
            .message(RTM_DELROUTE, 0, &rtmsg(AF_INET, 32, 0, 255))
            .bytes(RTA_DST, &(0x0a00_0000 + number).to_be_bytes());
    }
    let rejections = socket.run(&mut batch).unwrap();
    assert_eq!(rejections.len(), 100_000);
    assert!(
        rejections
            .iter()
            .zip(0..)
            .all(|(r, index)| r.index == index && r.errno == libc::ESRCH)
    );
}

fn the_census_is_the_same() {
    let mut bed = Real::new();
    let scope = Scope {
        netns_prefix: bed.name(""),
        host: false,
        ..Scope::default()
    };
    let before = census::census(&scope).unwrap();
    let network = triangle(&bed, Balance::RESILIENT);
    let a = bed.name("a");
    complete(&converge(bed.kernel(), &network));
    complete(&converge_routes(
        bed.kernel(),
        &a,
        &network[&a],
        &routes_of_a(10),
    ));
    let during = census::census(&scope).unwrap();
    assert_eq!(during["netns"], 3);
    assert_eq!(during["links"], 3 * 3, "two and lo in each");
    assert_eq!(during["nexthops"], 4);
    assert_eq!(during["neighbours"], 6);
    assert!(!census::difference(&before, &during).is_empty());
    complete(&remove(bed.kernel(), network.into_keys()));
    let after = census::census(&scope).unwrap();
    assert_eq!(census::difference(&before, &after), [""; 0]);
}

fn the_monitor_tells() {
    let mut bed = Real::new();
    let network = triangle(&bed, Balance::HashThreshold);
    let (a, b) = (bed.name("a"), bed.name("b"));
    complete(&converge(bed.kernel(), &network));
    complete(&converge_routes(
        bed.kernel(),
        &a,
        &network[&a],
        &routes_of_a(10),
    ));
    let monitor = Monitor::new().unwrap();
    monitor.watch(&a).unwrap();
    monitor.watch(&a).unwrap();
    ip(&a, &["nexthop", "flush", "proto", "190"]);
    bed.set_link(&b, "l-a.1", false);
    let lost = |event: &Event| {
        matches!(event, Event::Link { netns, link, is_up: false, exists: true }
            if **netns == *a && link == "l-b.1")
    };
    let flushed = |event: &Event| matches!(event, Event::Routing { netns } if **netns == *a);
    let mut seen = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while !(seen.iter().any(lost) && seen.iter().any(flushed)) {
        assert!(Instant::now() < deadline, "only {seen:?}");
        seen.extend(monitor.next(Duration::from_millis(100)).unwrap());
    }
    assert_eq!(
        seen.iter().filter(|event| lost(event)).count(),
        1,
        "told once"
    );
    bed.delete_link(&b, "l-a.1");
    let gone =
        |event: &Event| matches!(event, Event::Link { link, exists: false, .. } if link == "l-b.1");
    while !seen.iter().any(gone) {
        assert!(Instant::now() < deadline, "only {seen:?}");
        seen.extend(monitor.next(Duration::from_millis(100)).unwrap());
    }
    monitor.forget(&a);
}

fn lost_notifications() {
    let names = Names::new();
    let name = names.name("x");
    netns::create(&name).unwrap();
    // Of an interface that is down nothing is told.
    ip(&name, &["link", "set", "lo", "up"]);
    let monitor = Monitor::new().unwrap();
    monitor.watch(&name).unwrap();
    let mut socket = Socket::open_in(&Netns::open(&name).unwrap()).unwrap();
    let mut batch = Batch::new();
    // Nobody reads meanwhile: far more than the receive buffer holds.
    for number in 0..40_000_u32 {
        let alias = format!("alias {number}");
        let header = ifinfomsg(0, 1, 0, 0);
        batch
            .message(RTM_SETLINK, 0, &header)
            .bytes(IFLA_IFALIAS, alias.as_bytes());
    }
    assert!(socket.run(&mut batch).unwrap().is_empty());
    let deadline = Instant::now() + PATIENCE;
    while monitor.next(Duration::from_millis(100)).unwrap() != Some(Event::Resync) {
        assert!(Instant::now() < deadline, "the loss is told");
    }
}

fn a_resilient_group() {
    let mut bed = Real::new();
    let network = triangle(&bed, Balance::RESILIENT);
    let a = bed.name("a");
    complete(&converge(bed.kernel(), &network));
    let applied = converge_routes(bed.kernel(), &a, &network[&a], &routes_of_a(0));
    complete(&applied);
    // Asked of another program: our own question was wrong once, and everything fell back in silence.
    ip(&a, &["nexthop", "add", "id", "9000", "blackhole"]);
    let asked = ["-n", &a, "nexthop", "add", "id", "9001", "group", "9000"];
    let asked = Command::new("ip")
        .args(asked)
        .args(["type", "resilient", "buckets", "8"])
        .status();
    let is_known = asked.unwrap().success();
    let kernel = LinuxKernel::new().unwrap();
    assert_eq!(kernel.has_resilient_groups().unwrap(), is_known);
    if is_known {
        assert!(applied.notes.is_empty());
        assert!(ip(&a, &["nexthop", "show"]).contains("type resilient buckets 128"));
    } else {
        assert_eq!(applied.notes.len(), 1, "the fall-back is told");
    }
    let again = converge_routes(bed.kernel(), &a, &network[&a], &routes_of_a(0));
    assert_eq!(again.writes, 0);
}

/// A `create` that was killed between making the file and mounting on it.
fn a_file_that_is_no_namespace() {
    let mut bed = Real::new();
    let a = bed.name("a");
    std::fs::write(netns::path(&a), "").unwrap();
    assert!(bed.kernel().observe(&a).unwrap().is_none());
    let network = [(a.clone(), Namespace::default())].into();
    complete(&converge(bed.kernel(), &network));
    assert!(bed.observe(&a).links["lo"].is_up);
}
