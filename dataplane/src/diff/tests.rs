//! One difference at a time, and the operations that it asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::*;
use crate::mac::link_local;
use crate::observed::{Observed, SeenLink, SeenNeighbour, SeenNexthop, SeenRoute, Via};
use crate::state::{
    ATTACHMENT_PROTOCOL, Balance, Link, LinkKind, Namespace, PROTOCOL, Routes, Target,
};

const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PEER: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// `RTPROT_STATIC`.
const FOREIGN: u8 = 4;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn tunnel() -> Link {
    Link {
        kind: LinkKind::Vxlan {
            vni: 7,
            port: 4789,
            local: ip("192.0.2.1"),
            remote: ip("192.0.2.2"),
        },
        mac: OWN,
        peer_mac: PEER,
        mtu: 1450,
        alias: "beemesh:t/A/B".to_owned(),
    }
}

/// A Forwarder with one tunnel.
fn desired() -> Namespace {
    Namespace {
        links: [("l-b".to_owned(), tunnel())].into(),
        addresses: ["10.0.0.1/32".parse().unwrap()].into(),
        ..Namespace::default()
    }
}

/// A namespace that holds just that.
fn whole() -> Observed {
    let link = |index| SeenLink {
        index,
        is_enabled: true,
        is_up: true,
        ..SeenLink::default()
    };
    let seen = SeenLink {
        kind: "vxlan".to_owned(),
        mac: OWN,
        mtu: 1450,
        alias: "beemesh:t/A/B".to_owned(),
        is_ours: true,
        vxlan: Some((7, 4789, Some(ip("192.0.2.1")))),
        ..link(2)
    };
    let neighbour = SeenNeighbour {
        mac: PEER,
        is_ours: true,
    };
    Observed {
        links: [("lo".to_owned(), link(1)), ("l-b".to_owned(), seen)].into(),
        addresses: [("10.0.0.1/32".parse().unwrap(), true)].into(),
        neighbours: [(("l-b".to_owned(), link_local(PEER).into()), neighbour)].into(),
        fdb: [(("l-b".to_owned(), PEER), BTreeSet::from([ip("192.0.2.2")]))].into(),
        ..Observed::default()
    }
}

/// Operations after one change of the observed state.
fn after(change: impl FnOnce(&mut Observed)) -> Vec<String> {
    let mut seen = whole();
    change(&mut seen);
    described(structure("ns", &desired(), Some(&seen)))
}

fn described(diff: Diff) -> Vec<String> {
    assert!(diff.conflicts.is_empty(), "{:?}", diff.conflicts);
    let verb = |operation: &Operation| {
        let debug = format!("{operation:?}");
        let verb = debug.split(['(', ' ', '{']).next().unwrap().to_owned();
        format!("{verb} {operation}")
    };
    diff.operations.iter().map(verb).collect()
}

fn tunnel_of(seen: &mut Observed) -> &mut SeenLink {
    seen.links.get_mut("l-b").unwrap()
}

#[test]
fn a_namespace_that_is_whole_needs_nothing() {
    assert!(structure("ns", &desired(), Some(&whole())).is_empty());
}

#[test]
fn a_link_that_differs_in_what_cannot_be_changed_is_made_anew() {
    let anew = [
        "DeleteLink link l-b",
        "CreateLink link l-b",
        "SetNeighbour neighbour fe80::ff:fe00:2 on l-b",
        "SetForwarding forwarding entry to 192.0.2.2 on l-b",
    ];
    type Change = fn(&mut SeenLink);
    let changes: [Change; 6] = [
        |link| link.kind = "veth".to_owned(),
        |link| link.mac = PEER,
        |link| link.vxlan = Some((8, 4789, Some(ip("192.0.2.1")))),
        |link| link.vxlan = Some((7, 4790, Some(ip("192.0.2.1")))),
        |link| link.vxlan = Some((7, 4789, Some(ip("192.0.2.9")))),
        |link| link.vxlan = None,
    ];
    for change in changes {
        assert_eq!(after(|seen| change(tunnel_of(seen))), anew);
    }
}

#[test]
fn mtu_and_alias_are_changed_in_place() {
    assert_eq!(
        after(|seen| tunnel_of(seen).mtu = 1400),
        ["ChangeLink link l-b"]
    );
    let renamed = after(|seen| tunnel_of(seen).alias.clear());
    assert_eq!(renamed, ["ChangeLink link l-b"]);
}

#[test]
fn a_veth_is_told_from_other_kinds_by_its_kind_and_address() {
    let veth = Link {
        kind: LinkKind::Veth {
            peer_netns: "b".to_owned(),
            peer_name: "l-a".to_owned(),
        },
        ..tunnel()
    };
    let seen = |kind: &str, mac| SeenLink {
        kind: kind.to_owned(),
        mac,
        ..SeenLink::default()
    };
    assert!(is_same(&veth, &seen("veth", OWN)));
    assert!(!is_same(&veth, &seen("vxlan", OWN)));
    assert!(!is_same(&veth, &seen("veth", PEER)));
}

#[test]
fn what_is_missing_is_made() {
    assert_eq!(
        after(|seen| seen.addresses.clear()),
        ["AddAddress address 10.0.0.1/32"]
    );
    let neighbour = ["SetNeighbour neighbour fe80::ff:fe00:2 on l-b"];
    assert_eq!(after(|seen| seen.neighbours.clear()), neighbour);
    let other = |seen: &mut Observed| {
        seen.neighbours.values_mut().for_each(|now| now.mac = OWN);
    };
    assert_eq!(after(other), neighbour);
    let forwarding = ["SetForwarding forwarding entry to 192.0.2.2 on l-b"];
    assert_eq!(after(|seen| seen.fdb.clear()), forwarding);
    let two = |seen: &mut Observed| {
        let remotes = seen.fdb.values_mut().next().unwrap();
        remotes.insert(ip("192.0.2.3"));
    };
    assert_eq!(after(two), forwarding);
    let down = |seen: &mut Observed| seen.links.get_mut("lo").unwrap().is_enabled = false;
    assert_eq!(after(down), ["CreateNamespace network namespace"]);
    let wrong = |seen: &mut Observed| {
        seen.wrong_settings.insert(("ipv4/ip_forward", "1"));
    };
    assert_eq!(after(wrong), ["WriteSetting setting net/ipv4/ip_forward"]);
}

#[test]
fn a_namespace_that_is_not_there_is_made_with_all_its_settings() {
    let made = described(structure("ns", &desired(), None));
    let settings = made.iter().filter(|it| it.starts_with("WriteSetting"));
    assert_eq!(settings.count(), crate::SETTINGS.len());
    let rest: Vec<_> = made
        .iter()
        .filter(|it| !it.starts_with("WriteSetting"))
        .collect();
    assert_eq!(
        rest,
        [
            "CreateNamespace network namespace",
            "CreateLink link l-b",
            "AddAddress address 10.0.0.1/32",
            "SetNeighbour neighbour fe80::ff:fe00:2 on l-b",
            "SetForwarding forwarding entry to 192.0.2.2 on l-b",
        ]
    );
}

#[test]
fn what_is_not_wanted_goes_when_it_is_ours() {
    for is_ours in [true, false] {
        let gone = after(|seen| {
            let link = |index| SeenLink {
                index,
                kind: "veth".to_owned(),
                is_ours,
                ..SeenLink::default()
            };
            seen.links.insert("l-old".to_owned(), link(5));
            seen.links.insert("app1".to_owned(), link(6));
            seen.addresses
                .insert("10.0.0.9/32".parse().unwrap(), is_ours);
            let neighbour = SeenNeighbour { mac: OWN, is_ours };
            for link in ["l-b", "app1"] {
                seen.neighbours
                    .insert((link.to_owned(), ip("10.0.0.8")), neighbour);
            }
        });
        let expected: &[&str] = match is_ours {
            true => &[
                "DeleteLink link l-old",
                "DeleteAddress address 10.0.0.9/32",
                "DeleteNeighbour neighbour 10.0.0.8 on l-b",
            ],
            false => &[],
        };
        assert_eq!(gone, expected, "ours: {is_ours}");
    }
    let stale = after(|seen| {
        let remotes = BTreeSet::from([ip("192.0.2.9")]);
        seen.fdb.insert(("l-b".to_owned(), OWN), remotes.clone());
        seen.fdb.insert(("vxlan0".to_owned(), OWN), remotes);
    });
    assert_eq!(
        stale,
        ["DeleteForwarding forwarding entry to 192.0.2.9 on l-b"]
    );
}

#[test]
fn a_foreign_interface_in_the_way_is_named_and_nothing_is_put_on_it() {
    let mut seen = whole();
    *tunnel_of(&mut seen) = SeenLink {
        index: 2,
        ..SeenLink::default()
    };
    seen.neighbours.clear();
    seen.fdb.clear();
    let diff = structure("ns", &desired(), Some(&seen));
    assert_eq!(diff.operations, []);
    assert_eq!(diff.conflicts.len(), 1);
    assert!(
        diff.conflicts[0]
            .source
            .to_string()
            .contains("link l-b in ns")
    );
    assert!(!diff.is_empty());
}

#[test]
fn without_ipv6_next_hops_are_ipv4_addresses() {
    let mut seen = whole();
    seen.lacks_ipv6 = true;
    seen.neighbours.clear();
    let set = described(structure("ns", &desired(), Some(&seen)));
    assert_eq!(set, ["SetNeighbour neighbour 169.254.0.1 on l-b"]);
    let routes = to("10.0.1.0/24", Target::Links(["l-b".to_owned()].into()));
    let diff = routing("ns", &desired(), &routes, &seen);
    let is_ipv4 = |operation: &Operation| match operation {
        Operation::SetNexthop { gateway, .. } => *gateway == ip("169.254.0.1"),
        _ => false,
    };
    assert!(diff.operations.iter().any(is_ipv4), "{:?}", diff.operations);
}

fn to(prefix: &str, target: Target) -> Routes {
    [(prefix.parse().unwrap(), target)].into_iter().collect()
}

/// The namespace with a route of 10.0.1.0/24 over the tunnel.
fn routed() -> Observed {
    let single = SeenNexthop::Single {
        link: "l-b".to_owned(),
        gateway: Some(link_local(PEER).into()),
        is_ours: true,
    };
    let group = SeenNexthop::Group {
        members: [1].into(),
        balance: Balance::HashThreshold,
        is_ours: true,
    };
    Observed {
        nexthops: BTreeMap::from([(1, single), (FIRST_GROUP, group)]),
        routes: vec![route("10.0.1.0/24", PROTOCOL, Via::Nexthop(FIRST_GROUP))],
        ..whole()
    }
}

fn route(prefix: &str, protocol: u8, via: Via) -> SeenRoute {
    SeenRoute {
        prefix: prefix.parse().unwrap(),
        protocol,
        via,
    }
}

fn over_tunnel() -> Routes {
    to("10.0.1.0/24", Target::Links(["l-b".to_owned()].into()))
}

/// Operations for `routes` after one change of [`routed`].
fn rerouted(routes: &Routes, change: impl FnOnce(&mut Observed)) -> Vec<String> {
    let mut seen = routed();
    change(&mut seen);
    described(routing("ns", &desired(), routes, &seen))
}

#[test]
fn routes_that_are_right_need_nothing() {
    assert_eq!(rerouted(&over_tunnel(), |_| {}), Vec::<String>::new());
}

#[test]
fn a_next_hop_with_another_gateway_is_changed_in_place() {
    let wrong = |seen: &mut Observed| {
        let now = seen.nexthops.get_mut(&1).unwrap();
        *now = SeenNexthop::Single {
            link: "l-b".to_owned(),
            gateway: Some(ip("fe80::9")),
            is_ours: true,
        };
    };
    assert_eq!(
        rerouted(&over_tunnel(), wrong),
        ["SetNexthop nexthop 1 on l-b"]
    );
}

#[test]
fn a_link_that_is_down_or_foreign_carries_no_route() {
    let gone = [
        "DeleteRoute route 10.0.1.0/24",
        "DeleteNexthop nexthop 1048576",
        "DeleteNexthop nexthop 1",
    ];
    let down = |seen: &mut Observed| tunnel_of(seen).is_up = false;
    assert_eq!(rerouted(&over_tunnel(), down), gone);
    let foreign = |seen: &mut Observed| tunnel_of(seen).is_ours = false;
    assert_eq!(rerouted(&over_tunnel(), foreign), gone);
}

#[test]
fn ids_of_others_are_not_taken() {
    let taken = |seen: &mut Observed| {
        seen.routes.clear();
        seen.nexthops = BTreeMap::from([
            (1, SeenNexthop::Other),
            (2, SeenNexthop::Other),
            (FIRST_GROUP, SeenNexthop::Other),
        ]);
    };
    let made = [
        "SetNexthop nexthop 3 on l-b",
        "SetGroup nexthop group 1048577",
        "SetRoute route 10.0.1.0/24",
    ];
    assert_eq!(rerouted(&over_tunnel(), taken), made);
}

#[test]
fn a_route_of_others_is_left_and_named() {
    let mut seen = routed();
    seen.routes = vec![route("10.0.1.0/24", FOREIGN, Via::Other)];
    for routes in [over_tunnel(), to("10.0.1.0/24", Target::Unreachable)] {
        let diff = routing("ns", &desired(), &routes, &seen);
        assert_eq!(diff.conflicts.len(), 1);
        let touches = |operation: &Operation| operation.to_string().contains("10.0.1.0/24");
        assert!(
            !diff.operations.iter().any(touches),
            "{:?}",
            diff.operations
        );
    }
    // Where nothing of ours is wanted it is nobody's business.
    seen.routes = vec![route("198.51.100.0/24", FOREIGN, Via::Other)];
    assert!(
        routing("ns", &desired(), &over_tunnel(), &seen)
            .conflicts
            .is_empty()
    );
}

#[test]
fn a_route_out_of_an_interface_follows_the_interface() {
    let device = to("10.0.1.0/24", Target::Device("app1".to_owned()));
    let with = |is_enabled: bool, routes: Vec<SeenRoute>| {
        move |seen: &mut Observed| {
            let link = SeenLink {
                index: 9,
                is_ours: true,
                is_enabled,
                ..SeenLink::default()
            };
            seen.links.insert("app1".to_owned(), link);
            seen.nexthops.clear();
            seen.routes = routes;
        }
    };
    let at = |protocol, via| vec![route("10.0.1.0/24", protocol, via)];
    let set = ["SetDeviceRoute route 10.0.1.0/24"];
    let nothing: [&str; 0] = [];
    for (is_enabled, routes, expected) in [
        (true, vec![], &set[..]),
        (true, at(PROTOCOL, Via::Device(8)), &set[..]),
        (true, at(PROTOCOL, Via::Device(9)), &nothing[..]),
        (true, at(ATTACHMENT_PROTOCOL, Via::Device(9)), &nothing[..]),
        (false, vec![], &nothing[..]),
        (
            false,
            at(PROTOCOL, Via::Device(9)),
            &["DeleteRoute route 10.0.1.0/24"][..],
        ),
    ] {
        let name = format!("{is_enabled} {routes:?}");
        let done = rerouted(&device, with(is_enabled, routes));
        let done: Vec<_> = done
            .into_iter()
            .filter(|it| !it.starts_with("SetNexthop"))
            .collect();
        assert_eq!(done, expected, "{name}");
    }
}

#[test]
fn routes_are_replaced_only_where_ours_was_seen() {
    let replaced = |routes: Vec<SeenRoute>, target: Target| {
        let mut seen = routed();
        seen.routes = routes;
        let diff = routing("ns", &desired(), &to("10.0.1.0/24", target), &seen);
        let flag = |operation: &Operation| match operation {
            Operation::SetRoute { replace, .. } | Operation::SetUnreachable { replace, .. } => {
                Some(*replace)
            }
            _ => None,
        };
        diff.operations.iter().find_map(flag)
    };
    let links = || Target::Links(["l-b".to_owned()].into());
    let unreachable = route("10.0.1.0/24", PROTOCOL, Via::Unreachable);
    let grouped = route("10.0.1.0/24", PROTOCOL, Via::Nexthop(FIRST_GROUP));
    assert_eq!(replaced(vec![], links()), Some(false));
    assert_eq!(replaced(vec![unreachable], links()), Some(true));
    assert_eq!(replaced(vec![], Target::Unreachable), Some(false));
    assert_eq!(replaced(vec![grouped], Target::Unreachable), Some(true));
    assert_eq!(replaced(vec![unreachable], Target::Unreachable), None);
}

#[test]
fn groups_that_share_flows_otherwise_are_replaced_and_then_deleted() {
    let resilient = |buckets| Balance::Resilient {
        buckets,
        idle: std::time::Duration::ZERO,
    };
    let moved = [
        "SetGroup nexthop group 1048577",
        "SetRoute route 10.0.1.0/24",
        "DeleteNexthop nexthop 1048576",
    ];
    let nothing: [&str; 0] = [];
    for (now, wanted, lacks_resilient, expected) in [
        (Balance::HashThreshold, resilient(128), false, &moved[..]),
        (resilient(64), resilient(128), false, &moved[..]),
        (resilient(128), resilient(128), false, &nothing[..]),
        (resilient(128), Balance::HashThreshold, false, &moved[..]),
        (Balance::HashThreshold, resilient(128), true, &nothing[..]),
    ] {
        let mut seen = routed();
        seen.lacks_resilient = lacks_resilient;
        if let Some(SeenNexthop::Group { balance, .. }) = seen.nexthops.get_mut(&FIRST_GROUP) {
            *balance = now;
        }
        let desired = Namespace {
            balance: wanted,
            ..desired()
        };
        let done = described(routing("ns", &desired, &over_tunnel(), &seen));
        assert_eq!(done, expected, "{now:?} to {wanted:?}");
    }
}

#[test]
fn objects_of_others_are_never_deleted() {
    let others = |seen: &mut Observed| {
        let single = SeenNexthop::Single {
            link: "eth9".to_owned(),
            gateway: None,
            is_ours: false,
        };
        let group = SeenNexthop::Group {
            members: [50].into(),
            balance: Balance::HashThreshold,
            is_ours: false,
        };
        seen.nexthops
            .extend([(50, single), (51, group), (52, SeenNexthop::Other)]);
        seen.routes
            .push(route("10.0.0.2/32", ATTACHMENT_PROTOCOL, Via::Device(6)));
    };
    assert_eq!(rerouted(&over_tunnel(), others), Vec::<String>::new());
}
