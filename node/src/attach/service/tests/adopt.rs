//! Attachments without a lease.

use std::net::IpAddr;

use crds::attach::Pod;
use crds::topology::AppEntry;
use crds::{MicroServiceTopology, MicroServiceTopologySpec};

use super::*;
use crate::attach::key::{self, PodNetns};
use crate::attach::leases::Phase;

const INTERFACE: &str = "app0200000000aa";

fn pair(alias: &str) -> Pair {
    let addresses = ["10.0.0.5", "fd00::5", "fe80::aa"];
    Pair {
        pod_interface: "bm-t".into(),
        pod_alias: alias.into(),
        pod_mac: [2, 0, 0, 0, 0, 0xaa],
        addresses: addresses.map(|ip| ip.parse().unwrap()).into(),
        routes: ["10.0.0.0/24".parse().unwrap()].into(),
        mtu: 1450,
        forwarder_interface: INTERFACE.into(),
        forwarder_alias: "beemesh:t/a/p".into(),
        forwarder_mac: [2, 0, 0, 0, 0, 0xbb],
    }
}

/// The topology of [`catalog`], which has got a smaller MTU and an external network since.
fn declared() -> Catalog {
    let mut place = catalog().places()[0].clone();
    let mut forwarder = Forwarder::clone(&place.forwarder);
    forwarder.spec.cidrs = vec!["10.0.0.0/24".parse().unwrap()];
    forwarder.spec.external = vec!["192.0.2.0/24".parse().unwrap()].into();
    place.forwarder = Arc::new(forwarder);
    let mut app = AppEntry::new("a");
    app.pod_selector = Some(crds::LabelSelector::default());
    let spec = MicroServiceTopologySpec {
        apps: vec![app],
        ..MicroServiceTopologySpec::default()
    };
    let topology = Arc::new(MicroServiceTopology::new("t", spec));
    let forwarder = Arc::clone(&place.forwarder);
    Catalog::new("n1", [&*forwarder], [&topology], vec![place], true)
}

/// A service without leases and a pod that is wired.
fn wired<'a>(
    directory: &Path,
    wires: &'a MemoryPodWiring,
    pair: Pair,
) -> AttachService<&'a MemoryPodWiring> {
    lock(&wires.wired).insert(pair.forwarder_interface.clone());
    *lock(&wires.pairs) = vec![("/run/netns/bm-t-f".into(), pair)];
    let service = service(directory, wires, "1");
    service.open(Arc::new(declared()));
    service
}

fn adopt(service: &AttachService<&MemoryPodWiring>) -> usize {
    try_adopt(service).unwrap().taken
}

fn try_adopt(service: &AttachService<&MemoryPodWiring>) -> Result<Adopted, Error> {
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
    service.adopt(&pod, &PodNetns { path, id }, &networks)
}

fn network(topology: &str) -> TopologyKey {
    TopologyKey {
        namespace: "default".into(),
        topology: topology.into(),
    }
}

#[test]
fn what_is_wired_as_it_has_to_be_becomes_a_lease() {
    #[rustfmt::skip]
    let cases = [
        // alias of the pod's end    asked for
        ("beemesh:cbr0/eth0",        false),
        ("beemesh:beemesh-live/bm-t", false),
        ("beemesh:t-by-multus/bm-t", true),
    ];
    for (alias, is_asked_for) in cases {
        let (directory, wires) = (tempfile::tempdir().unwrap(), MemoryPodWiring::default());
        let service = wired(directory.path(), &wires, pair(alias));
        let address = "10.0.0.5".parse().unwrap();
        service.hold([(network("t"), address)].into());
        assert_eq!(service.strays().len(), 1);
        assert_eq!(adopt(&service), 1, "{alias}");
        assert!(service.strays().is_empty());
        assert_eq!(adopt(&service), 0, "it has a lease");
        let lease = service.leases().remove(0);
        assert_eq!(lease.key, key::hotplug("uid-p", "bm-t"));
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
        assert_eq!(to.mtu, 1450, "as it was wired");
        let routes: Vec<_> = to.routes.iter().map(ToString::to_string).collect();
        assert_eq!(routes, ["10.0.0.0/24"], "as it was wired");
        assert!(lock(&wires.wired).contains(INTERFACE));
        let given: BTreeSet<_> = (1..=4)
            .map(|number| add(&service, number).unwrap().addresses[0].ip())
            .collect();
        assert!(given.len() == 4 && !given.contains(&address), "{given:?}");
        drop(service);
        let service = super::service(directory.path(), &wires, "1");
        assert_eq!(service.leases().len(), 5, "as it was written");
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
        let (directory, wires) = (tempfile::tempdir().unwrap(), MemoryPodWiring::default());
        let service = wired(directory.path(), &wires, pair.clone());
        wires.is_torn.store(is_torn, Ordering::Relaxed);
        // Four others: of 10.0.0.2 to 10.0.0.6 one has its address.
        let count = if is_leased { 4 } else { 0 };
        (1..=count).for_each(|number| drop(add(&service, number).unwrap()));
        let before = service.leases();
        assert_eq!(try_adopt(&service).unwrap(), Adopted::default(), "{pair:?}");
        assert_eq!(service.leases(), before);
        let is_there = lock(&wires.wired).contains(&pair.forwarder_interface);
        assert_eq!(is_there, stays, "{pair:?}");
        let network = network("t");
        for share in before.iter().flat_map(|lease| &lease.shares) {
            for address in &share.attachment.addresses {
                let state = service.state();
                assert!(state.book.leases().is_used(&network, address.ip()));
            }
        }
    }
}

#[test]
fn nothing_is_taken_apart_before_it_is_certain_what_is_wanted() {
    let incomplete = || {
        let mut catalog = declared();
        catalog.is_complete = false;
        catalog
    };
    let unread = || Catalog::clone(&catalog());
    for uncertain in [incomplete, unread as fn() -> Catalog] {
        for is_torn in [false, true] {
            let (directory, wires) = (tempfile::tempdir().unwrap(), MemoryPodWiring::default());
            let service = wired(directory.path(), &wires, pair("beemesh:cbr0/eth0"));
            service.open(Arc::new(uncertain()));
            wires.is_torn.store(is_torn, Ordering::Relaxed);
            let adopted = try_adopt(&service).unwrap();
            let left = usize::from(is_torn);
            let taken = 1 - left;
            assert_eq!(adopted, Adopted { taken, left });
            assert!(lock(&wires.wired).contains(INTERFACE));
            service.open(Arc::new(declared()));
            assert_eq!(adopt(&service), 0);
            assert_eq!(lock(&wires.wired).contains(INTERFACE), !is_torn);
        }
    }
}

#[test]
fn what_only_a_start_of_the_pod_makes_is_never_taken_apart() {
    let (directory, wires) = (tempfile::tempdir().unwrap(), MemoryPodWiring::default());
    let service = wired(directory.path(), &wires, pair("beemesh:t-by-multus/bm-t"));
    wires.is_torn.store(true, Ordering::Relaxed);
    assert_eq!(try_adopt(&service).unwrap(), Adopted { taken: 0, left: 1 });
    assert!(lock(&wires.wired).contains(INTERFACE));
    assert_eq!(service.failures(), 1);
}

#[test]
fn what_a_del_removes_meanwhile_gets_no_lease() {
    let (directory, wires) = (tempfile::tempdir().unwrap(), MemoryPodWiring::default());
    let service = wired(directory.path(), &wires, pair("beemesh:cbr0/eth0"));
    lock(&wires.wired).clear();
    assert_eq!(try_adopt(&service).unwrap(), Adopted::default());
    assert!(service.is_unused());
}

#[test]
fn what_is_taken_apart_has_a_lease_until_it_is_gone() {
    let (directory, wires) = (tempfile::tempdir().unwrap(), MemoryPodWiring::default());
    let service = wired(directory.path(), &wires, pair("beemesh:cbr0/eth0"));
    wires.is_torn.store(true, Ordering::Relaxed);
    wires.is_stuck.store(true, Ordering::Relaxed);
    assert!(try_adopt(&service).is_err());
    drop(service);
    let service = super::service(directory.path(), &wires, "1");
    assert_eq!(service.leases()[0].phase, Phase::Releasing);
    wires.is_stuck.store(false, Ordering::Relaxed);
    service.collect_garbage();
    assert!(service.is_unused() && lock(&wires.wired).is_empty());
}

#[test]
fn what_has_a_lease_is_left_alone() {
    let (directory, wires) = (tempfile::tempdir().unwrap(), MemoryPodWiring::default());
    let mut pair = pair("beemesh:cbr0/eth0");
    let service = service(directory.path(), &wires, "1");
    let leased = add(&service, 1).unwrap();
    let digits = leased
        .pod_mac
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).unwrap());
    let digits: Vec<u8> = digits.collect();
    pair.pod_mac = digits.try_into().unwrap();
    pair.forwarder_interface = leased.forwarder_interface;
    pair.addresses.clear();
    *lock(&wires.pairs) = vec![("/run/netns/bm-t-f".into(), pair.clone())];
    assert_eq!(adopt(&service), 0);
    assert!(lock(&wires.wired).contains(&pair.forwarder_interface));
    assert_eq!(service.leases().len(), 1);
}
