//! Behaviour of packets.

use std::{collections::BTreeMap, net::UdpSocket, process::Command};

use dataplane::{
    Applied, Balance, Link, LinkKind, LinuxKernel, Namespace, Routes, converge, converge_routes,
    mac::link_mac,
    mtu::{Encapsulation, Path, link_mtu},
    netns::{self, Netns},
};

use crate::fixture::{Names, Network, Real, Test, Testbed, complete, ip, join, links};

/// UDP port of the tests' VXLAN devices.
const PORT: u16 = 4790;
/// Flows that are sent to see which way they go.
const FLOWS: u16 = 96;
/// Of one flow: more than the kernel sends of its own over a link meanwhile, as for neighbour discovery.
const PACKETS: u64 = 16;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        (
            "vxlan_over_ipv4_carries_the_computed_mtu_and_no_more",
            vxlan_v4,
        ),
        (
            "vxlan_over_ipv6_carries_the_computed_mtu_and_no_more",
            vxlan_v6,
        ),
        ("both_links_of_an_ecmp_set_are_used", both_links_are_used),
        (
            "a_resilient_group_keeps_surviving_flows",
            a_resilient_group_keeps_flows,
        ),
    ]
}

fn vxlan_v4() {
    vxlan(["192.0.2.1", "192.0.2.2"], Encapsulation::VxlanV4, 1450);
}

fn vxlan_v6() {
    vxlan(["2001:db8::1", "2001:db8::2"], Encapsulation::VxlanV6, 1430);
}

/// Two hosts joined by a veth of 1500 bytes, one Forwarder on each, a VXLAN between them.
fn vxlan(underlay: [&str; 2], encapsulation: Encapsulation, expected: u32) {
    let names = Names::new();
    let hosts = [names.name("h1"), names.name("h2")];
    let forwarders = [names.name("f1"), names.name("f2")];
    for host in &hosts {
        netns::create(host).unwrap();
    }
    ip(
        &hosts[0],
        &[
            "link", "add", "u0", "type", "veth", "peer", "name", "u0", "netns", &hosts[1],
        ],
    );
    for (host, address) in hosts.iter().zip(underlay) {
        let length = if address.contains(':') { 64 } else { 24 };
        let address = format!("{address}/{length}");
        let mut add = vec!["address", "add", address.as_str(), "dev", "u0"];
        if length == 64 {
            add.push("nodad");
        }
        ip(host, &add);
        ip(host, &["link", "set", "u0", "up"]);
    }
    let path = Path {
        underlay: 1500,
        encapsulation,
        vlan: false,
        encryption: 0,
        declared: None,
        ipv6: true,
    };
    let mtu = link_mtu(&path).unwrap();
    assert_eq!(mtu, expected);
    for own in 0..2 {
        let (namespace, routes) = vxlan_end(own, underlay, mtu);
        // As the daemon does: from its host's namespace.
        let build = || -> Applied {
            let mut kernel = LinuxKernel::new().unwrap();
            let network = BTreeMap::from([(forwarders[own].clone(), namespace.clone())]);
            complete(&converge(&mut kernel, &network));
            let applied = converge_routes(&mut kernel, &forwarders[own], &namespace, &routes);
            complete(&applied);
            assert_eq!(converge(&mut kernel, &network).writes, 0, "again");
            applied
        };
        Netns::open(&hosts[own]).unwrap().run(build).unwrap();
    }
    let sockets = ip(&forwarders[0], &["-d", "link", "show", "l-peer"]);
    assert!(sockets.contains("nolearning"), "{sockets}");
    for (target, headers) in [("10.98.2.1", 28), ("fd98:2::1", 48)] {
        let ping = |size: u32| {
            let size = size.to_string();
            let mut command = Command::new("ip");
            command.args([
                "netns",
                "exec",
                &forwarders[0],
                "ping",
                "-M",
                "do",
                "-c",
                "3",
                "-i",
                "0.2",
            ]);
            command.args(["-W", "5", "-s", &size, target]);
            let output = command.output().unwrap();
            (
                output.status.success(),
                String::from_utf8_lossy(&output.stdout).into_owned(),
            )
        };
        let (passes, said) = ping(mtu - headers);
        assert!(passes, "{target} with exactly {mtu} bytes: {said}");
        let (passes, said) = ping(mtu - headers + 1);
        assert!(!passes, "{target} with one byte more: {said}");
    }
}

/// One end: a Forwarder with its address, its VXLAN and a route to the other's address.
fn vxlan_end(own: usize, underlay: [&str; 2], mtu: u32) -> (Namespace, Routes) {
    let peer = 1 - own;
    let mac = |end: usize| link_mac("vxlan-test", &end.to_string());
    let kind = LinkKind::Vxlan {
        vni: 4711,
        port: PORT,
        local: underlay[own].parse().unwrap(),
        remote: underlay[peer].parse().unwrap(),
    };
    let link = Link {
        kind,
        mac: mac(own),
        peer_mac: mac(peer),
        mtu,
        alias: "beemesh:vx".to_owned(),
    };
    let addresses = |end: usize| {
        [
            format!("10.98.{}.1/32", end + 1),
            format!("fd98:{}::1/128", end + 1),
        ]
    };
    let namespace = Namespace {
        links: [("l-peer".to_owned(), link)].into(),
        addresses: addresses(own)
            .iter()
            .map(|address| address.parse().unwrap())
            .collect(),
        balance: Balance::RESILIENT,
        ..Namespace::default()
    };
    let routes = addresses(peer).map(|prefix| (prefix.parse().unwrap(), links(&["l-peer"])));
    (namespace, routes.into_iter().collect())
}

/// `a` and `b` with three parallel links, each with a route to the other over all of them.
fn parallel(balance: Balance) -> (Real, Network, [String; 2]) {
    let mut bed = Real::new();
    let names = [bed.name("a"), bed.name("b")];
    let mut network = Network::new();
    for ordinal in 1..=3 {
        join(&mut network, &names[0], &names[1], ordinal);
    }
    for (number, name) in (1..).zip(&names) {
        let namespace = network.get_mut(name).unwrap();
        namespace.balance = balance;
        namespace
            .addresses
            .insert(format!("10.97.{number}.1/32").parse().unwrap());
    }
    complete(&converge(bed.kernel(), &network));
    (bed, network, names)
}

fn route_to_b(count: u32) -> Routes {
    let over: Vec<String> = (1..=count)
        .map(|ordinal| format!("l-b.{ordinal}"))
        .collect();
    let over: Vec<&str> = over.iter().map(String::as_str).collect();
    [("10.97.2.1/32".parse().unwrap(), links(&over))]
        .into_iter()
        .collect()
}

/// Sends a few packets of each flow and says over which link they left.
fn ways(netns: &str) -> Vec<usize> {
    let sent = || -> Vec<u64> {
        let table = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
        let column = |ordinal: u32| {
            let name = format!("l-b.{ordinal}:");
            let line = table
                .lines()
                .find_map(|line| line.trim().strip_prefix(&name))
                .unwrap();
            let fields: Vec<u64> = line
                .split_whitespace()
                .map(|field| field.parse().unwrap())
                .collect();
            // Sent, and sent but dropped by a receiver whose queue was full.
            fields[9] + fields[11]
        };
        (1..=3).map(column).collect()
    };
    let send = || {
        let flow = |port: u16| {
            let before = sent();
            let socket = UdpSocket::bind(("10.97.1.1", 20_000 + port)).unwrap();
            for _ in 0..PACKETS {
                socket.send_to(b"flow", ("10.97.2.1", 9)).unwrap();
            }
            let after = sent();
            let way = before
                .iter()
                .zip(&after)
                .position(|(before, after)| after - before >= PACKETS);
            way.expect("all of it left over one of them")
        };
        (0..FLOWS).map(flow).collect()
    };
    Netns::open(netns).unwrap().run(send).unwrap()
}

fn both_links_are_used() {
    let (mut bed, network, [a, _]) = parallel(Balance::HashThreshold);
    complete(&converge_routes(
        bed.kernel(),
        &a,
        &network[&a],
        &route_to_b(2),
    ));
    let ways = ways(&a);
    for link in 0..2 {
        let flows = ways.iter().filter(|&&way| way == link).count();
        assert!(
            flows >= usize::from(FLOWS) / 4,
            "{flows} of {FLOWS} flows on link {link}"
        );
    }
    assert!(!ways.contains(&2), "the third is not in the set");
}

fn a_resilient_group_keeps_flows() {
    let (mut bed, network, [a, _]) = parallel(Balance::RESILIENT);
    complete(&converge_routes(
        bed.kernel(),
        &a,
        &network[&a],
        &route_to_b(3),
    ));
    let before = ways(&a);
    let applied = converge_routes(bed.kernel(), &a, &network[&a], &route_to_b(2));
    complete(&applied);
    assert_eq!(applied.writes, 1, "the group was edited");
    let after = ways(&a);
    for (flow, (before, after)) in before.iter().zip(&after).enumerate() {
        assert!(*after != 2, "flow {flow} uses the lost link");
        assert!(
            *before == 2 || before == after,
            "flow {flow} moved from {before} to {after}"
        );
    }
    assert!(before.contains(&2), "some flows had to move");
}
