//! Desired kernel state of a Forwarder. Pure.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};
use std::net::IpAddr;
use std::sync::Arc;

use crds::cidr::forwarder_addresses;
use crds::forwarder::{ForwarderLink, WireType};
use crds::{Forwarder, NodeObject, names};
use dataplane::mac::link_mac;
use dataplane::mtu::{Encapsulation, MAX_MTU, Path, link_mtu};
use dataplane::{ALIAS_PREFIX, Balance, Link, LinkKind, Namespace, Routes, Target};
use ipnetwork::IpNetwork;
use topology::LinkIndex;
use topology::table::Table;

use crate::routing::live_topology::Mesh;

#[cfg(test)]
mod tests;

/// MTU in bytes of an unknown underlay.
const DEFAULT_MTU: u32 = 1500;

/// Facts of the node that its links depend on.
#[derive(Clone, Debug, Default)]
pub struct Site {
    /// This node's name.
    pub node: String,
    /// All nodes.
    pub nodes: BTreeMap<String, Arc<NodeObject>>,
    /// MTU in bytes by address of this node's object.
    pub underlay: BTreeMap<IpAddr, u32>,
    /// UDP port of VXLAN links.
    pub vxlan_port: u16,
}

/// Desired namespace of a Forwarder, without its routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Structure {
    /// Desired namespace, links and addresses.
    pub namespace: Namespace,
    /// Interface by link id, for links that can be created.
    pub interfaces: BTreeMap<String, String>,
    /// Reason why a link cannot be created, by link id.
    pub problems: BTreeMap<String, String>,
    /// MTU in bytes of the network below the local end of each tunnel, by link id.
    pub underlay: BTreeMap<String, u32>,
}

/// Desired namespace of `forwarder`: links, addresses, and hashing of flows over next hops. `peer_mtu` is the MTU in bytes of the
/// network below the other end of each link, by link id, as far as it is known.
pub fn structure(
    forwarder: &Forwarder,
    site: &Site,
    peer_mtu: &BTreeMap<String, u32>,
) -> Structure {
    let mut structure = Structure::default();
    // Pods resolve their gateway again when its neighbour entry expires.
    let addresses = forwarder_addresses(&forwarder.spec.blocks).into_iter();
    structure.namespace.addresses = addresses.map(IpNetwork::from).collect();
    if forwarder.spec.routing.resilient {
        structure.namespace.balance = Balance::RESILIENT;
    }
    for end in &forwarder.spec.links {
        let below = site.below(end);
        let of_peer = peer_mtu.get(&end.id).filter(|mtu| **mtu > 0);
        let smaller = below.into_iter().chain(of_peer.copied()).min();
        structure
            .underlay
            .extend(below.map(|mtu| (end.id.clone(), mtu)));
        let added = link(forwarder, end, site, smaller);
        let added = added.and_then(|link| structure.add(end, link));
        if let Err(problem) = added {
            structure.problems.insert(end.id.clone(), problem);
        }
    }
    structure
}

impl Structure {
    /// Adds a link. Fails when another link has the same interface name: the kernel holds only one
    /// of the two.
    fn add(&mut self, end: &ForwarderLink, link: Link) -> Result<(), String> {
        match self.namespace.links.entry(end.interface()) {
            Entry::Vacant(vacant) => {
                self.interfaces.insert(end.id.clone(), vacant.key().clone());
                vacant.insert(link);
                Ok(())
            }
            Entry::Occupied(taken) => {
                let (name, other) = (taken.key(), &taken.get().alias);
                Err(format!("interface name {name} is taken by {other}"))
            }
        }
    }
}

/// The end of a link, over a network of this MTU in bytes.
fn link(
    forwarder: &Forwarder,
    end: &ForwarderLink,
    site: &Site,
    underlay: Option<u32>,
) -> Result<Link, String> {
    let spec = &forwarder.spec;
    let namespace = &forwarder.metadata.namespace;
    let identity = format!("{namespace}/{}/{}", spec.topology, end.id);
    let (kind, underlay, encapsulation) = match end.r#type {
        WireType::Veth => {
            let peer_netns = names::netns(namespace, &spec.topology, &end.peer);
            let peer_name = names::link(&spec.name, end.ordinal());
            // A veth has no underlay, so its MTU is the default, the same as of a tunnel.
            let underlay = match end.mtu {
                Some(_) => MAX_MTU,
                None => site.own_mtu(),
            };
            (
                LinkKind::Veth {
                    peer_netns,
                    peer_name,
                },
                underlay,
                Encapsulation::Veth,
            )
        }
        WireType::Vxlan => {
            let vni = end.vni.ok_or("no VNI was given to it")?;
            let (local, remote) = site.tunnel(&end.peer_node)?;
            let underlay = underlay.unwrap_or(DEFAULT_MTU);
            let kind = LinkKind::Vxlan {
                vni,
                port: site.vxlan_port,
                local,
                remote,
            };
            (kind, underlay, encapsulation(local))
        }
    };
    let path = Path {
        underlay,
        encapsulation,
        vlan: false,
        encryption: 0,
        declared: end.mtu,
        ipv6: has_ipv6(forwarder),
    };
    Ok(Link {
        kind,
        mac: link_mac(&identity, &spec.name),
        peer_mac: link_mac(&identity, &end.peer),
        mtu: link_mtu(&path).map_err(|error| error.to_string())?,
        alias: format!("{ALIAS_PREFIX}{}/{}", spec.topology, end.id),
    })
}

impl Site {
    fn addresses(&self, node: &str) -> impl Iterator<Item = IpAddr> {
        self.nodes
            .get(node)
            .into_iter()
            .flat_map(|node| node.internal_addresses())
    }

    /// Local and remote address of a tunnel to `peer`. Both ends choose the same family, in whatever order each node lists its addresses: the
    /// node whose name comes first decides, by its first address of a family that the other one has too.
    fn tunnel(&self, peer: &str) -> Result<(IpAddr, IpAddr), String> {
        let own = self.node.as_str();
        let (first, second) = (own.min(peer), own.max(peer));
        let same_family = |of_first: IpAddr| {
            let mut candidates = self.addresses(second);
            let of_second = candidates.find(|it| it.is_ipv4() == of_first.is_ipv4())?;
            Some((of_first, of_second))
        };
        match self.addresses(first).find_map(same_family) {
            Some((local, remote)) if own == first => Ok((local, remote)),
            Some((remote, local)) => Ok((local, remote)),
            None => Err(format!(
                "nodes {own} and {peer} have no address of one family"
            )),
        }
    }

    /// MTU in bytes of the network below this node's end of a tunnel; none below a veth.
    fn below(&self, end: &ForwarderLink) -> Option<u32> {
        let (local, _) = match end.r#type {
            WireType::Veth => return None,
            WireType::Vxlan => self.tunnel(&end.peer_node).ok()?,
        };
        Some(self.underlay.get(&local).copied().unwrap_or(DEFAULT_MTU))
    }

    /// Updates the MTU of each address of this node's object from all addresses of the host: services and pods have others. The MTU
    /// of a removed address is kept, so that its links survive a short absence. True when something changed.
    pub(crate) fn set_underlay(&mut self, seen: &BTreeMap<IpAddr, u32>) -> bool {
        let known = |address: IpAddr| {
            let mtu = seen.get(&address).or_else(|| self.underlay.get(&address))?;
            Some((address, *mtu))
        };
        let underlay = self.addresses(&self.node).filter_map(known).collect();
        let before = std::mem::replace(&mut self.underlay, underlay);
        before != self.underlay
    }

    /// MTU in bytes of the interface with the node's first address.
    fn own_mtu(&self) -> u32 {
        let mut addresses = self.addresses(&self.node);
        addresses
            .find_map(|address| self.underlay.get(&address).copied())
            .unwrap_or(DEFAULT_MTU)
    }
}

/// MTU in bytes of the pods of a topology: the least MTU of its links.
pub fn attachment_mtu(mesh: &Mesh, site: &Site) -> u32 {
    let ends = || {
        mesh.forwarders()
            .iter()
            .flat_map(|forwarder| &forwarder.spec.links)
    };
    let underlay = site.own_mtu();
    let local = site.addresses(&site.node).next();
    let overhead = local.map_or(0, |address| encapsulation(address).overhead());
    let fits = |end: &ForwarderLink| match (end.r#type, end.mtu) {
        (WireType::Veth, declared) => declared.unwrap_or(underlay),
        (WireType::Vxlan, declared) => {
            let left = underlay.saturating_sub(overhead);
            declared.map_or(left, |declared| declared.min(left))
        }
    };
    ends().map(fits).min().unwrap_or(underlay).min(MAX_MTU)
}

fn encapsulation(local: IpAddr) -> Encapsulation {
    if local.is_ipv4() {
        Encapsulation::VxlanV4
    } else {
        Encapsulation::VxlanV6
    }
}

fn has_ipv6(forwarder: &Forwarder) -> bool {
    forwarder.spec.cidrs.iter().any(IpNetwork::is_ipv6)
}

/// Routes of a forwarding table: the blocks of every Forwarder, and every external prefix. The
/// topology's own prefixes get `unreachable` routes as a fallback: an unassigned address, or one of
/// a disconnected Forwarder, never leaves by a wider external prefix.
///
/// `interfaces` are the interfaces of the Forwarder's links, by link id; `attached` those of the
/// external Apps that are attached to it, by App.
pub fn routes(
    mesh: &Mesh,
    table: &Table,
    interfaces: &BTreeMap<String, String>,
    attached: &BTreeMap<String, String>,
) -> Routes {
    let mut routes = Routes::new();
    let own = mesh
        .forwarders()
        .iter()
        .flat_map(|forwarder| &forwarder.spec.cidrs);
    for cidr in own {
        routes.insert(*cidr, Target::Unreachable);
    }
    let name = |link: &LinkIndex| interfaces.get(&mesh.topology.link_id(*link)).cloned();
    let targets: Vec<_> = table
        .sets
        .iter()
        .map(|set| {
            let links: BTreeSet<String> = set.iter().filter_map(name).collect();
            (!links.is_empty()).then(|| routes.intern(Target::Links(links)))
        })
        .collect();
    for (forwarder, route) in mesh.forwarders().iter().zip(&table.forwarders) {
        let Some(target) = route.and_then(|route| targets[route.set as usize]) else {
            continue;
        };
        for block in &forwarder.spec.blocks {
            routes.insert_shared(*block, target);
        }
    }
    let external = external_prefixes(mesh);
    for (app, route) in mesh.topology.apps().iter().zip(&table.apps) {
        let (Some(prefixes), Some(route)) = (external.get(app.name.as_str()), route) else {
            continue;
        };
        let here = attached
            .get(&app.name)
            .map(|name| routes.intern(Target::Device(name.clone())));
        let target = if route.attached {
            here
        } else {
            targets[route.set as usize]
        };
        for prefix in prefixes.iter() {
            if let Some(target) = target {
                routes.insert_shared(*prefix, target);
            }
        }
    }
    routes
}

fn external_prefixes(mesh: &Mesh) -> BTreeMap<&str, &[IpNetwork]> {
    let apps = mesh
        .forwarders()
        .iter()
        .flat_map(|forwarder| &forwarder.spec.apps);
    let external = apps.filter(|app| !app.external.is_empty());
    external
        .map(|app| (app.name.as_str(), app.external.as_slice()))
        .collect()
}
