//! Forwarder objects put together from places, links, grants and attachments.

use std::{collections::BTreeMap, sync::Arc};

use ipnetwork::IpNetwork;

use super::graph;
use crate::{
    Forwarder, ForwarderSpec, MicroServiceTopology, Problem,
    attach::{Attachments, Place},
    forwarder::{ForwarderApp, ForwarderLink, WireType},
    topology::{AppEntry, LinkType},
    wiring::Wire,
};

/// Settles what each link is made of.
pub(super) fn resolve<'a>(
    wires: Vec<Wire<'a>>,
    places: &[Place<'a>],
) -> Result<Vec<(Wire<'a>, WireType)>, Vec<Problem>> {
    let nodes = nodes(places);
    let mut problems = Vec::new();
    let mut resolved = Vec::with_capacity(wires.len());
    for wire in wires {
        // One Forwarder per node: a link to a node that is not there waits for it.
        let (Some(a), Some(b)) = (nodes.get(wire.a), nodes.get(wire.b)) else {
            continue;
        };
        let natural = if a == b {
            WireType::Veth
        } else {
            WireType::Vxlan
        };
        let is_possible = match wire.r#type {
            LinkType::Auto => true,
            LinkType::Veth => natural == WireType::Veth,
            LinkType::Vxlan => natural == WireType::Vxlan,
            LinkType::Encrypted => false,
        };
        if !is_possible {
            let wanted = format!("link {} cannot be {:?}", wire.id(), wire.r#type);
            let message = format!("{wanted}: {} is on {a}, {} on {b}", wire.a, wire.b);
            problems.push(Problem::new("spec.links", message));
        }
        resolved.push((wire, natural));
    }
    if problems.is_empty() {
        Ok(resolved)
    } else {
        Err(problems)
    }
}

fn nodes<'a>(places: &[Place<'a>]) -> BTreeMap<&'a str, &'a str> {
    places
        .iter()
        .map(|place| (place.name, place.node))
        .collect()
}

/// The links of each Forwarder as seen from it, sorted by id.
pub(super) fn ends<'a>(
    wires: &[(Wire<'a>, WireType)],
    places: &[Place<'a>],
    vnis: &BTreeMap<String, u32>,
) -> BTreeMap<&'a str, Vec<ForwarderLink>> {
    let nodes = nodes(places);
    let mut ends: BTreeMap<&str, Vec<ForwarderLink>> = BTreeMap::new();
    for (wire, wire_type) in wires {
        let id = wire.id().to_string();
        let end = |peer: &str, weight, weight_back| ForwarderLink {
            peer: peer.to_owned(),
            peer_node: nodes[peer].to_owned(),
            weight,
            weight_back,
            r#type: *wire_type,
            vni: vnis.get(&id).copied(),
            mtu: wire.mtu,
            id: id.clone(),
        };
        ends.entry(wire.a)
            .or_default()
            .push(end(wire.b, wire.weight, wire.weight_back));
        ends.entry(wire.b)
            .or_default()
            .push(end(wire.a, wire.weight_back, wire.weight));
    }
    ends.values_mut()
        .for_each(|links| links.sort_by(|one, other| one.id.cmp(&other.id)));
    ends
}

/// Sources of the Forwarder objects.
pub(super) struct Objects<'a> {
    pub(super) topology: &'a MicroServiceTopology,
    pub(super) attachments: &'a Attachments,
    pub(super) blocks: &'a BTreeMap<String, Vec<IpNetwork>>,
    pub(super) ends: BTreeMap<&'a str, Vec<ForwarderLink>>,
}

impl Objects<'_> {
    pub(super) fn build(mut self, places: &[Place<'_>]) -> Vec<Forwarder> {
        let spec = &self.topology.spec;
        let mut places: Vec<&Place<'_>> = places.iter().collect();
        places.sort_by_key(|place| place.name);
        let mut apps: Vec<&AppEntry> = spec.apps.iter().collect();
        apps.sort_by(|one, other| one.name.cmp(&other.name));
        let mut external: Vec<IpNetwork> = apps
            .iter()
            .filter_map(|app| app.external.as_ref())
            .flat_map(|e| e.cidrs.clone())
            .collect();
        external.sort();
        let external = Arc::new(external);
        let allowed_namespaces = Arc::new(spec.allowed_namespaces.clone());
        let apps: Vec<Seen<'_>> = apps.into_iter().map(Seen::new).collect();
        let forwarder = |place: &Place<'_>| {
            let spec = ForwarderSpec {
                topology: self.topology.metadata.name.clone(),
                name: place.name.to_owned(),
                node: place.node.to_owned(),
                cidrs: spec.addressing.cidrs.clone(),
                external: Arc::clone(&external),
                blocks: self.blocks.get(place.name).cloned().unwrap_or_default(),
                links: self.ends.remove(place.name).unwrap_or_default(),
                apps: attached(&apps, place.name, self.attachments),
                allowed_namespaces: Arc::clone(&allowed_namespaces),
                routing: spec.routing.clone(),
                liveness: spec.liveness.clone(),
            };
            Forwarder::new(&self.topology.metadata.namespace, spec)
        };
        places.into_iter().map(forwarder).collect()
    }
}

/// An App as Forwarders see it, without and with an instance: the same value for all of them.
struct Seen<'a> {
    entry: &'a AppEntry,
    by_attached: [Arc<ForwarderApp>; 2],
}

impl<'a> Seen<'a> {
    fn new(entry: &'a AppEntry) -> Seen<'a> {
        let external = entry.external.as_ref();
        let seen = |attached| ForwarderApp {
            name: entry.name.clone(),
            selector: entry.pod_selector.clone(),
            weight: entry.weight,
            insist: entry.pinned().is_some(),
            attached,
            external: external.map_or_else(Vec::new, |external| external.cidrs.clone()),
        };
        Seen {
            entry,
            by_attached: [false, true].map(seen).map(Arc::new),
        }
    }
}

/// The Apps that a Forwarder may have or has.
fn attached(
    apps: &[Seen<'_>],
    forwarder: &str,
    attachments: &Attachments,
) -> Vec<Arc<ForwarderApp>> {
    let is_here = |app: &&Seen<'_>| app.entry.pinned().is_none_or(|pinned| pinned == forwarder);
    let seen = |app: &Seen<'_>| {
        let is_attached = graph::is_attached(app.entry, forwarder, attachments);
        Arc::clone(&app.by_attached[usize::from(is_attached)])
    };
    apps.iter().filter(is_here).map(seen).collect()
}
