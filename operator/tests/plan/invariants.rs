//! Invariants of every history.

use std::collections::{BTreeMap, BTreeSet};

use crds::{ForwarderSpec, cidr};
use operator::plan::plan;

use super::{
    happenings::TOPOLOGIES,
    server::{Object, Server, State, range_name},
    view::whole,
};

/// Invariants at every moment, with replicas late or dead.
pub(super) fn check(state: &State) {
    let mut blocks: BTreeMap<&str, Vec<(&str, &ForwarderSpec)>> = BTreeMap::new();
    let mut links_by_vni: BTreeMap<u32, (&str, &str)> = BTreeMap::new();
    for (name, object) in state.forwarders.iter() {
        let spec = &object.spec;
        let others = blocks.entry(&spec.topology).or_default();
        for (other, theirs) in others.iter() {
            let mut pairs = spec
                .blocks
                .iter()
                .flat_map(|a| theirs.blocks.iter().map(move |b| (a, b)));
            assert!(
                !pairs.any(|(a, b)| cidr::overlap(*a, *b)),
                "{name} has {:?}, {other} has {:?}",
                spec.blocks,
                theirs.blocks
            );
        }
        others.push((name, spec));
        let allocation = state.allocations.get(&spec.topology);
        let allocation = allocation.filter(|allocation| allocation.owner == object.owner);
        if allocation.is_some() && !spec.blocks.is_empty() {
            let whole = whole(state, &spec.topology).expect("no shard is missing");
            let grant = whole.blocks.get(&object.uid);
            assert_eq!(
                Some(&spec.blocks),
                grant.map(|grant| &grant.blocks),
                "granted to {name}"
            );
        }
        for (link, vni) in spec.links.iter().filter_map(|link| Some((link, link.vni?))) {
            let owner = (object.owner.as_str(), link.id.as_str());
            let known = *links_by_vni.entry(vni).or_insert(owner);
            assert_eq!(known, owner, "VNI {vni} in {name}");
            let range = state.ranges.get(&range_name(vni - vni % 64));
            assert_eq!(
                range.map(|r| r.owner.as_str()),
                Some(owner.0),
                "range of VNI {vni}"
            );
        }
    }
}

/// Invariants at the end.
pub(super) fn check_settled(state: &State) {
    let seen = |server: &Server| [server.revision(); 6];
    let server = Server::of(state.clone());
    for topology in TOPOLOGIES {
        let Some(observed) = server.observed(&seen(&server), topology) else {
            assert!(!state.allocations.contains_key(topology));
            assert!(
                !state
                    .forwarders
                    .values()
                    .any(|f| f.spec.topology == topology)
            );
            continue;
        };
        let plan = plan(&observed);
        assert!(plan.is_settled(), "{topology}: {plan:?}");
        if plan.computed.is_none() {
            continue;
        }
        assert!(
            plan.facts.writing.is_done(),
            "{topology}: {:?}",
            plan.facts.writing
        );
        let Some(allocation) = whole(state, topology) else {
            panic!("{topology} has no allocation");
        };
        let granted: BTreeSet<&String> = allocation.blocks.keys().collect();
        let of_it = observed.forwarders.iter();
        assert_eq!(
            granted,
            of_it.map(|f| &f.uid).collect(),
            "{topology}: grants are of the living"
        );
        assert!(
            allocation.retired.is_empty(),
            "{topology}: {:?}",
            allocation.retired
        );
        let carried: BTreeMap<&str, u32> = observed
            .forwarders
            .iter()
            .flat_map(|f| {
                f.spec
                    .links
                    .iter()
                    .filter_map(|l| Some((l.id.as_str(), l.vni?)))
            })
            .collect();
        let given: BTreeMap<&str, u32> = allocation
            .vnis
            .iter()
            .map(|(id, vni)| (id.as_str(), *vni))
            .collect();
        assert_eq!(
            carried, given,
            "{topology}: VNIs are those that are carried"
        );
    }
    for range in state.ranges.values() {
        let is_alive = state
            .topologies
            .values()
            .any(|topology| topology.uid == range.owner);
        assert!(is_alive, "range {} is of nobody", range.spec.first);
    }
}

/// The Forwarders without what depends on the past: which block, which VNI, and which node where any
/// will do.
pub(super) fn outcome(state: &State) -> BTreeMap<String, ForwarderSpec> {
    let is_free = |spec: &ForwarderSpec, name: &str| {
        let topology = &state.topologies[&spec.topology].spec.spec;
        topology
            .forwarders
            .iter()
            .any(|entry| entry.name == name && entry.node.is_none())
    };
    let plain = |(object, forwarder): (&String, &Object<ForwarderSpec>)| {
        let mut spec = forwarder.spec.clone();
        spec.blocks.clear();
        let is_here_free = is_free(&spec, &spec.name);
        let mut links = std::mem::take(&mut spec.links);
        for link in &mut links {
            link.vni = None;
            if is_here_free || is_free(&spec, &link.peer) {
                link.peer_node.clear();
                link.r#type = crds::forwarder::WireType::Veth;
            }
        }
        spec.links = links;
        // Which Forwarder a pod goes to follows from where they all are.
        let declared = &state.topologies[&spec.topology].spec.spec.forwarders;
        if declared.iter().any(|entry| entry.node.is_none()) {
            let apps = spec.apps.iter_mut();
            apps.for_each(|app| std::sync::Arc::make_mut(app).attached = false);
        }
        if is_here_free {
            spec.node.clear();
        }
        (object.clone(), spec)
    };
    state.forwarders.iter().map(plain).collect()
}
