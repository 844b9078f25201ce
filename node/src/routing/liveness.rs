//! Links that the liveness detector watches: those whose own interface is up. Pure, but for the port.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::num::NonZeroU8;

use crds::cidr::router_address;
use crds::forwarder::ForwarderLink;
use crds::{Forwarder, TopologyKey};
use liveness::{Link, Namespace, Path};

use super::Engine;
use super::forwarder::{End, Local};
use crate::routing::link_state::LinkStates;
use crate::routing::live_topology::Mesh;

/// Port to the detector. Neither method waits.
pub trait LinkWatcher: Send + Sync {
    /// Watches these links of a namespace, and no others of it.
    fn set(&self, netns: &str, namespace: Namespace);
    /// Forgets all other namespaces.
    fn retain(&self, netns: &BTreeSet<&str>);
}

impl LinkWatcher for liveness::Detector {
    fn set(&self, netns: &str, namespace: Namespace) {
        liveness::Detector::set(self, netns, namespace);
    }

    fn retain(&self, netns: &BTreeSet<&str>) {
        liveness::Detector::retain(self, |name| netns.contains(name));
    }
}

impl Engine {
    /// Passes changed links to the detector.
    pub(super) fn watch_links(&mut self) {
        let mut is_any = false;
        for local in self.locals.values_mut() {
            if !std::mem::take(&mut local.is_watch_due) {
                continue;
            }
            is_any = true;
            let Some(mesh) = self.meshes.get(&local.network) else {
                continue;
            };
            let namespace = Namespace {
                links: watched(local, mesh, &self.parts.link_states),
                epoch: local.link_epoch,
            };
            self.parts.liveness.set(&local.netns, namespace);
        }
        if is_any || self.is_watch_stale {
            self.is_watch_stale = false;
            self.parts.liveness.retain(&self.wanted());
        }
    }

    /// Marks the Forwarders of a topology whose addresses may have changed.
    pub(super) fn rewatch(&mut self, network: &TopologyKey) {
        let locals = self.locals.values_mut();
        for local in locals.filter(|local| local.network == *network) {
            local.is_watch_due = true;
        }
    }
}

/// Links of a Forwarder whose own interface is up.
fn watched(local: &Local, mesh: &Mesh, link_states: &LinkStates) -> Vec<Link> {
    let is_up = |link: &&ForwarderLink| local.ends.get(&link.id) == Some(&End::Up);
    let links = local.forwarder.spec.links.iter().filter(is_up);
    let link = |link: &ForwarderLink| {
        let peer = mesh.peer(local.object(), &link.id)?;
        let peer = mesh.forwarder(mesh.index(peer)?);
        let interface = local.structure.interfaces.get(&link.id)?;
        let (own, peer) = addresses(&local.forwarder, peer)?;
        Some(Link {
            path: Path {
                interface: interface.clone(),
                peer_mac: local.structure.namespace.links.get(interface)?.peer_mac,
                own,
                peer,
                peer_node: link.peer_node.clone(),
                interval: local.forwarder.spec.liveness.interval,
                multiplier: multiplier(local.forwarder.spec.liveness.multiplier),
            },
            earlier: link_states.verdict(local.object(), &link.id),
        })
    };
    links.filter_map(link).collect()
}

/// Addresses of both Forwarders in the first family that both have: IPv4 where there is one, as each kernel has it.
fn addresses(own: &Forwarder, peer: &Forwarder) -> Option<(IpAddr, IpAddr)> {
    let of = |forwarder: &Forwarder, is_ipv4: bool| {
        let mut blocks = forwarder.spec.blocks.iter();
        let block = blocks.find(|block| block.is_ipv4() == is_ipv4)?;
        Some(router_address(*block))
    };
    let pair = |is_ipv4| Some((of(own, is_ipv4)?, of(peer, is_ipv4)?));
    pair(true).or_else(|| pair(false))
}

fn multiplier(declared: u32) -> NonZeroU8 {
    let bounded = u8::try_from(declared).unwrap_or(u8::MAX);
    NonZeroU8::new(bounded).unwrap_or(NonZeroU8::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarder(blocks: &str) -> Forwarder {
        let blocks = blocks.split(' ').map(|block| block.parse().unwrap());
        let spec = crds::ForwarderSpec {
            blocks: blocks.collect(),
            ..Default::default()
        };
        Forwarder::new("default", spec)
    }

    #[test]
    fn both_ends_choose_the_same_family() {
        let (ipv4, ipv6) = (("10.0.0.1", "10.0.1.1"), ("fd00::1", "fd00:0:0:1::1"));
        #[rustfmt::skip]
        let cases = [
            // own blocks                  the peer's
            ("fd00::/64 10.0.0.0/24",      "10.0.1.0/24 fd00:0:0:1::/64", Some(ipv4)),
            ("fd00::/64",                  "fd00:0:0:1::/64",             Some(ipv6)),
            ("fd00::/64 10.0.0.0/24",      "fd00:0:0:1::/64",             Some(ipv6)),
            ("fd00::/64",                  "10.0.1.0/24",                 None),
        ];
        for (own, peer, expected) in cases {
            let (own, peer) = (forwarder(own), forwarder(peer));
            let expected = expected.map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap()));
            assert_eq!(addresses(&own, &peer), expected);
            let mirrored = addresses(&peer, &own).map(|(b, a)| (a, b));
            assert_eq!(mirrored, expected);
        }
    }

    #[test]
    fn a_multiplier_is_one_of_the_protocol() {
        assert_eq!(
            [0, 1, 3, 255, 256].map(|it| multiplier(it).get()),
            [1, 1, 3, 255, 255]
        );
    }
}
