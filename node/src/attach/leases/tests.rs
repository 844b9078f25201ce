use crds::TopologyKey;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::attach::lease_store::LeaseStore;

fn network(topology: &str) -> TopologyKey {
    TopologyKey {
        namespace: "default".into(),
        topology: topology.into(),
    }
}

pub(crate) fn key(number: u32) -> Key {
    let container_id = format!("c{number}");
    Key {
        container_id,
        ifname: "eth0".into(),
        network: "mesh".into(),
    }
}

/// Share of a pod with this address in a topology.
pub(crate) fn share(topology: &str, address: &str) -> Share {
    let mut shares = lease(1, topology, &[address.parse().unwrap()]).shares;
    shares.remove(0)
}

pub(crate) fn lease(number: u32, topology: &str, addresses: &[IpAddr]) -> Lease {
    let attachment = Attachment {
        topology: topology.into(),
        app: "a".into(),
        forwarder: "f".into(),
        forwarder_netns: "/run/netns/f".into(),
        forwarder_interface: format!("app{number}"),
        pod_interface: "eth0".into(),
        pod_mac: String::new(),
        forwarder_mac: String::new(),
        addresses: addresses
            .iter()
            .map(|address| IpNetwork::from(*address))
            .collect(),
        gateways: vec![],
        routes: vec![],
        mtu: 1500,
        alias: String::new(),
    };
    Lease {
        key: key(number),
        phase: Phase::Pending,
        netns: "/run/netns/pod".into(),
        netns_id: NetnsId {
            device: 1,
            inode: 2,
        },
        plugin: None,
        since: 0,
        pod: String::new(),
        uid: String::new(),
        is_asked_for: false,
        shares: vec![Share {
            namespace: "default".into(),
            attachment,
        }],
        is_past_boot: false,
    }
}

#[test]
fn gives_every_host_of_a_block_once_but_not_the_routers() {
    #[rustfmt::skip]
    let cases = [
        ("10.0.0.0/29", vec!["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]),
        ("10.0.0.8/30", vec!["10.0.0.10"]),
        ("10.0.0.8/31", vec![]),
        ("10.0.0.8/32", vec![]),
        ("fd00::/126",  vec!["fd00::2", "fd00::3"]),
        ("fd00::/127",  vec![]),
        ("fd00::/128",  vec![]),
    ];
    for (block, expected) in cases {
        let block: IpNetwork = block.parse().unwrap();
        let mut leases = Leases::default();
        let mut given = Vec::new();
        while let Some(address) = leases.next_free(&network("t"), block) {
            assert!(leases.has_free(&network("t"), block), "{block}");
            leases.apply(&Record::Claimed(lease(given.len() as u32, "t", &[address])));
            given.push(address.to_string());
        }
        assert_eq!(given, expected, "{block}");
        assert!(!leases.has_free(&network("t"), block), "{block}");
    }
}

#[test]
fn equal_addresses_of_two_topologies_do_not_conflict() {
    let block = "10.0.0.8/30".parse().unwrap();
    let mut leases = Leases::default();
    let first = leases.next_free(&network("t"), block).unwrap();
    leases.apply(&Record::Claimed(lease(1, "t", &[first])));
    assert_eq!(leases.next_free(&network("t"), block), None);
    assert_eq!(leases.next_free(&network("u"), block), Some(first));
}

#[test]
fn freed_address_rests_while_others_are_free() {
    let block = "10.0.0.0/28".parse().unwrap();
    let mut leases = Leases::default();
    let first = leases.next_free(&network("t"), block).unwrap();
    leases.apply(&Record::Claimed(lease(1, "t", &[first])));
    leases.apply(&Record::Freed { key: key(1) });
    assert_ne!(leases.next_free(&network("t"), block), Some(first));
}

#[test]
fn neither_proof_alone_frees_an_address() {
    let address: IpAddr = "10.0.0.10".parse().unwrap();
    let block = "10.0.0.8/30".parse().unwrap();
    let mut leases = Leases::default();
    leases.apply(&Record::Claimed(lease(1, "t", &[address])));
    leases.apply(&Record::Releasing { key: key(1) });
    assert_eq!(leases.next_free(&network("t"), block), None);
    leases.apply(&Record::Confirmed { key: key(1) });
    assert_eq!(leases.get(&key(1)).unwrap().phase, Phase::Releasing);
    leases.apply(&Record::Freed { key: key(1) });
    assert_eq!(leases.next_free(&network("t"), block), Some(address));
}

#[test]
fn what_the_kernel_still_has_is_not_given() {
    let block = "10.0.0.8/30".parse().unwrap();
    let mut leases = Leases::default();
    leases.hold(BTreeSet::from([(
        network("t"),
        "10.0.0.10".parse().unwrap(),
    )]));
    assert!(!leases.has_free(&network("t"), block));
    assert_eq!(leases.next_free(&network("t"), block), None);
}

#[test]
fn leases_of_another_boot_are_known_as_such() {
    let mut leases = Leases::default();
    leases.apply(&Record::Boot { id: "one".into() });
    leases.apply(&Record::Claimed(lease(
        1,
        "t",
        &["10.0.0.2".parse().unwrap()],
    )));
    leases.apply(&Record::Boot { id: "one".into() });
    assert!(!leases.get(&key(1)).unwrap().is_past_boot);
    leases.apply(&Record::Boot { id: "two".into() });
    assert!(leases.get(&key(1)).unwrap().is_past_boot);
    assert!(
        Leases::replay(&leases.to_records())
            .get(&key(1))
            .unwrap()
            .is_past_boot
    );
}

/// Step of a random history: runtime, kernel and failures.
#[derive(Clone, Debug)]
enum Step {
    Claim(u32),
    Confirm(u32),
    Release(u32),
    KernelGone(u32),
    Compact,
    Crash { torn: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..12_u32).prop_map(Step::Claim),
        2 => (0..12_u32).prop_map(Step::Confirm),
        2 => (0..12_u32).prop_map(Step::Release),
        3 => (0..12_u32).prop_map(Step::KernelGone),
        1 => Just(Step::Compact),
        1 => (0..60_usize).prop_map(|torn| Step::Crash { torn }),
    ]
}

fn reopen(state: &Path) -> LeaseStore {
    LeaseStore::open(state, "boot").unwrap().0
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn no_address_is_given_twice_and_none_is_lost(steps in proptest::collection::vec(step(), 1..80)) {
        let directory = tempfile::tempdir().unwrap();
        let block: IpNetwork = "10.0.0.0/28".parse().unwrap();
        let mut book = reopen(directory.path());
        // What the outside world believes: key -> address and whether the runtime gave it up.
        let mut world: BTreeMap<u32, (IpAddr, bool)> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Claim(number) if !world.contains_key(&number) => {
                    let free = book.leases_mut().next_free(&network("t"), block);
                    prop_assert_eq!(free.is_none(), world.len() == 13, "none is lost");
                    let Some(address) = free else { continue };
                    prop_assert!(world.values().all(|(taken, _)| *taken != address), "twice: {}", address);
                    book.record(Record::Claimed(lease(number, "t", &[address]))).unwrap();
                    world.insert(number, (address, false));
                }
                Step::Confirm(number) => book.record(Record::Confirmed { key: key(number) }).unwrap(),
                Step::Release(number) => {
                    book.record(Record::Releasing { key: key(number) }).unwrap();
                    if let Some(entry) = world.get_mut(&number) {
                        entry.1 = true;
                    }
                }
                Step::KernelGone(number) if world.get(&number).is_some_and(|(_, done)| *done) => {
                    book.record(Record::Freed { key: key(number) }).unwrap();
                    world.remove(&number);
                }
                Step::Compact => book.compact().unwrap(),
                Step::Crash { torn } => {
                    drop(book);
                    // The record under way when the daemon died was not answered: it may be torn.
                    let path = directory.path().join(crate::attach::lease_store::FILE);
                    let mut bytes = std::fs::read(&path).unwrap();
                    let half = store::journal::encode(&Record::Claimed(lease(99, "t", &[])));
                    bytes.extend_from_slice(&half[..torn.min(half.len() - 2)]);
                    std::fs::write(&path, bytes).unwrap();
                    book = reopen(directory.path());
                }
                Step::Claim(_) | Step::KernelGone(_) => {}
            }
            let known: BTreeMap<Key, IpAddr> = book.leases().iter()
                .map(|lease| (lease.key.clone(), lease.shares[0].attachment.addresses[0].ip()))
                .collect();
            let expected = world.iter().map(|(number, (address, _))| (key(*number), *address)).collect();
            prop_assert_eq!(known, expected);
        }
    }
}
