//! Attachments without a lease.

use std::net::IpAddr;

use crds::attach::Pod;

use super::*;
use crate::live::processes::Found;

const INTERFACE: &str = "app0200000000aa";

fn pair(alias: &str) -> Pair {
    let addresses = ["10.0.0.5", "fd00::5", "fe80::aa"];
    Pair {
        pod_interface: "bm-t".into(),
        pod_alias: alias.into(),
        pod_mac: [2, 0, 0, 0, 0, 0xaa],
        addresses: addresses.map(|ip| ip.parse().unwrap()).into(),
        forwarder_interface: INTERFACE.into(),
        forwarder_alias: "beemesh:t/a/p".into(),
        forwarder_mac: [2, 0, 0, 0, 0, 0xbb],
    }
}

/// A desk without leases and a pod that is wired.
fn wired<'a>(directory: &Path, wires: &'a MemoryWires, pair: Pair) -> Desk<&'a MemoryWires> {
    lock(&wires.wired).insert(pair.forwarder_interface.clone());
    *lock(&wires.pairs) = vec![("/run/netns/bm-t-f".into(), pair)];
    desk(directory, wires, "1")
}

fn adopt(desk: &Desk<&MemoryWires>) -> usize {
    let pod = Pod {
        namespace: "default".into(),
        name: "p".into(),
        uid: "uid-p".into(),
        ..Pod::default()
    };
    let id = NetnsId {
        device: 1,
        inode: 9,
    };
    let path = "/run/netns/cni-1".into();
    let networks = BTreeSet::from([network("t")]);
    desk.adopt(&pod, &Found { path, id }, &networks).unwrap()
}

fn network(topology: &str) -> Network {
    Network {
        namespace: "default".into(),
        topology: topology.into(),
    }
}

#[test]
fn what_is_wired_as_it_should_be_becomes_a_lease() {
    #[rustfmt::skip]
    let cases = [
        // alias of the pod's end    asked for
        ("beemesh:cbr0/eth0",        false),
        ("beemesh:beemesh-live/bm-t", false),
        ("beemesh:t-by-multus/bm-t", true),
    ];
    for (alias, is_asked_for) in cases {
        let (directory, wires) = (tempfile::tempdir().unwrap(), MemoryWires::default());
        let desk = wired(directory.path(), &wires, pair(alias));
        let address = "10.0.0.5".parse().unwrap();
        desk.hold([(network("t"), address)].into());
        assert_eq!(desk.strays().len(), 1);
        assert_eq!(adopt(&desk), 1, "{alias}");
        assert!(desk.strays().is_empty());
        assert_eq!(adopt(&desk), 0, "it has a lease");
        let lease = desk.leases().remove(0);
        assert_eq!(lease.key, live::key("uid-p", "bm-t"));
        assert_eq!(
            (lease.uid.as_str(), lease.pod.as_str()),
            ("uid-p", "default/p")
        );
        assert_eq!(lease.is_asked_for, is_asked_for, "{alias}");
        let to = &lease.shares[0].attachment;
        let addresses: Vec<_> = to.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["10.0.0.5/32", "fd00::5/128"]);
        assert_eq!(
            (to.app.as_str(), to.forwarder_interface.as_str()),
            ("a", INTERFACE)
        );
        assert!(lock(&wires.wired).contains(INTERFACE));
        let given: BTreeSet<_> = (1..=4)
            .map(|number| add(&desk, number).unwrap().addresses[0].ip())
            .collect();
        assert!(given.len() == 4 && !given.contains(&address), "{given:?}");
        drop(desk);
        let desk = super::desk(directory.path(), &wires, "1");
        assert_eq!(desk.leases().len(), 5, "as it was written");
    }
}

#[test]
fn what_cannot_be_taken_back_is_taken_apart_if_it_is_ours() {
    let change = |change: fn(&mut Pair)| {
        let mut pair = pair("beemesh:cbr0/eth0");
        change(&mut pair);
        pair
    };
    let as_it_is = || change(|_| {});
    #[rustfmt::skip]
    let cases = [
        // the pair                                                       torn   leased  stays
        (as_it_is(),                                                      true,  false,  false),
        (as_it_is(),                                                      false, true,   false),
        (change(|pair| pair.addresses.clear()),                           false, false,  false),
        (change(|pair| pair.addresses.extend([IpAddr::from([10, 0, 0, 6])])), false, false, false),
        (change(|pair| pair.forwarder_alias.clear()),                     false, false,  false),
        (change(|pair| pair.forwarder_alias = "beemesh:u/a/p".into()),    false, false,  false),
        (change(|pair| pair.forwarder_interface = "app0200000000ab".into()), false, false, true),
        (change(|pair| pair.pod_mac[0] = 6),                              true,  false,  true),
    ];
    for (pair, is_torn, is_leased, stays) in cases {
        let (directory, wires) = (tempfile::tempdir().unwrap(), MemoryWires::default());
        let desk = wired(directory.path(), &wires, pair.clone());
        wires.is_torn.store(is_torn, Ordering::Relaxed);
        // Four others: of 10.0.0.2 to 10.0.0.6 one has its address.
        let count = if is_leased { 4 } else { 0 };
        (1..=count).for_each(|number| drop(add(&desk, number).unwrap()));
        assert_eq!(adopt(&desk), 0, "{pair:?}");
        assert_eq!(desk.leases().len(), count as usize);
        let is_there = lock(&wires.wired).contains(&pair.forwarder_interface);
        assert_eq!(is_there, stays, "{pair:?}");
    }
}

#[test]
fn what_has_a_lease_is_left_alone() {
    let (directory, wires) = (tempfile::tempdir().unwrap(), MemoryWires::default());
    let mut pair = pair("beemesh:cbr0/eth0");
    let desk = desk(directory.path(), &wires, "1");
    let leased = add(&desk, 1).unwrap();
    let digits = leased
        .pod_mac
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).unwrap());
    let digits: Vec<u8> = digits.collect();
    pair.pod_mac = digits.try_into().unwrap();
    pair.forwarder_interface = leased.forwarder_interface;
    pair.addresses.clear();
    *lock(&wires.pairs) = vec![("/run/netns/bm-t-f".into(), pair.clone())];
    assert_eq!(adopt(&desk), 0);
    assert!(lock(&wires.wired).contains(&pair.forwarder_interface));
    assert_eq!(desk.leases().len(), 1);
}
