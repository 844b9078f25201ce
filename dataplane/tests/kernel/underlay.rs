//! MTU behind a host's addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use dataplane::netlink::Socket;
use dataplane::netns::{self, Netns};
use dataplane::underlay::observe;

use crate::fixture::{Names, Test, ip};

pub(crate) fn tests() -> Vec<Test> {
    vec![(
        "addresses_of_services_cost_no_request",
        addresses_of_services_cost_no_request,
    )]
}

fn addresses_of_services_cost_no_request() {
    let names = Names::new();
    let host = names.name("host");
    netns::create(&host).unwrap();
    ip(&host, &["link", "set", "lo", "up"]);
    let veth = ["type", "veth", "peer", "name", "far"];
    ip(
        &host,
        &[&["link", "add", "eth0", "mtu", "1400"], &veth[..]].concat(),
    );
    for link in ["eth0", "far"] {
        ip(&host, &["link", "set", link, "up"]);
    }
    ip(&host, &["address", "add", "198.51.100.1/24", "dev", "eth0"]);
    let own = ["192.0.2.1", "192.0.2.2"];
    let services = (0..300).map(|number| format!("203.0.{}.{}", number / 200, number % 200));
    let on_lo: Vec<String> = own.map(str::to_owned).into_iter().chain(services).collect();
    for address in &on_lo {
        ip(&host, &["address", "add", address, "dev", "lo"]);
    }
    let peers: BTreeSet<IpAddr> = (10..20).map(|it| [198, 51, 100, it].into()).collect();
    let own: BTreeSet<IpAddr> = own.iter().map(|it| it.parse().unwrap()).collect();
    let mut socket = Socket::open_in(&Netns::open(&host).unwrap()).unwrap();
    let seen = observe(&mut socket, &own, &peers).unwrap();
    // Links, addresses, and one route for each peer.
    assert_eq!(socket.requests(), 2 + 10);
    let expected: BTreeMap<IpAddr, u32> = own.iter().map(|address| (*address, 1400)).collect();
    assert_eq!(seen, expected);
}
