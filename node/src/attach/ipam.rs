//! IPAM: builds all data that the plugin needs to wire a pod from its assignments. Pure.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cni::node_protocol::{Attachment, Claim};
use crds::names::INTERFACE_NAME_MAX;
use dataplane::attachment::Pair;
use dataplane::mac::{self, Mac, link_mac};
use dataplane::{ALIAS_PREFIX, ATTACHMENT_PREFIX};
use ipnetwork::IpNetwork;

use crate::attach::admission::{Assignment, Catalog, LocalForwarder, netns_path};
use crate::attach::leases::{Leases, Share};
use crds::TopologyKey;

/// IPv4 gateway of every pod: the Forwarder's end answers ARP for it.
const GATEWAY_V4: Ipv4Addr = crds::cidr::POD_GATEWAY_V4;
/// IPv6 gateway of every pod.
const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// Shares of a claim: an address of each block of each assigned Forwarder, and the link parameters.
///
/// # Errors
/// Message that names the exhausted block. No address is taken then, nor before the claim is
/// recorded.
pub fn assemble(
    claim: &Claim,
    choices: &[Assignment],
    catalog: &Catalog,
    leases: &mut Leases,
) -> Result<Vec<Share>, String> {
    let mut shares: Vec<Share> = Vec::with_capacity(choices.len());
    let mut taken = interfaces(claim, leases);
    for (number, choice) in choices.iter().enumerate() {
        let place = &catalog.places()[choice.place];
        let network = place.forwarder.topology_key();
        let mut addresses = Vec::new();
        for block in &place.forwarder.spec.blocks {
            let address = leases.next_free(&network, *block);
            addresses.push(IpNetwork::from(address.ok_or_else(|| {
                let forwarder = &place.forwarder.spec.name;
                format!("forwarder {forwarder}: all addresses of {block} are in use")
            })?));
        }
        // Without chaining, the runtime's interface belongs to the first topology.
        let interface = match number == 0 && !claim.chained {
            true => claim.key.ifname.clone(),
            false => own_interface(&network, &taken),
        };
        taken.insert(interface.clone());
        let ends = ends(claim, &choice.app, place, interface);
        let attachment = attachment(&choice.app, place, addresses, ends);
        shares.push(Share {
            namespace: network.namespace,
            attachment,
        });
    }
    Ok(shares)
}

/// Restores an attachment from an observed veth pair; `None` when this node did not create it.
/// Unknown facts are left out: the App, or the address of a block. MTU and routes are those of the
/// creation: running pods do not follow changes of the topology.
pub(crate) fn restore(place: &LocalForwarder, pair: &Pair) -> Option<Attachment> {
    let spec = &place.forwarder.spec;
    let app = || {
        let alias = pair.forwarder_alias.strip_prefix(ALIAS_PREFIX)?;
        let rest = alias.strip_prefix(&*spec.topology)?.strip_prefix('/')?;
        Some(rest.split_once('/')?.0)
    };
    let of = |block: &IpNetwork| {
        let mut inside = pair.addresses.iter().filter(|ip| block.contains(**ip));
        let address = inside.next().filter(|_| inside.next().is_none())?;
        Some(IpNetwork::from(*address))
    };
    let addresses = spec.blocks.iter().filter_map(of).collect();
    let ends = Ends {
        pod_interface: pair.pod_interface.clone(),
        pod_mac: pair.pod_mac,
        forwarder_mac: pair.forwarder_mac,
        alias: pair.forwarder_alias.clone(),
    };
    let mut attachment = attachment(app().unwrap_or_default(), place, addresses, ends);
    attachment.mtu = pair.mtu;
    let is_there = |route: &IpNetwork| route.prefix() == 0 || pair.routes.contains(route);
    attachment.routes.retain(is_there);
    (attachment.forwarder_interface == pair.forwarder_interface).then_some(attachment)
}

/// Both ends of a link.
struct Ends {
    pod_interface: String,
    pod_mac: Mac,
    forwarder_mac: Mac,
    alias: String,
}

fn ends(claim: &Claim, app: &str, place: &LocalForwarder, pod_interface: String) -> Ends {
    let (spec, key) = (&place.forwarder.spec, &claim.key);
    let identity = [
        key.network.as_str(),
        &key.container_id,
        &key.ifname,
        &place.forwarder.metadata.namespace,
        &spec.topology,
    ]
    .join("\u{0}");
    let pod = claim
        .pod
        .as_ref()
        .map_or(&key.container_id, |pod| &pod.name);
    Ends {
        pod_interface,
        pod_mac: link_mac(&identity, "pod"),
        forwarder_mac: link_mac(&identity, "forwarder"),
        alias: format!("{ALIAS_PREFIX}{}/{app}/{pod}", spec.topology),
    }
}

fn attachment(
    app: &str,
    place: &LocalForwarder,
    addresses: Vec<IpNetwork>,
    ends: Ends,
) -> Attachment {
    let spec = &place.forwarder.spec;
    let has = |is_ipv4| addresses.iter().any(|address| address.is_ipv4() == is_ipv4);
    let gateways = [
        (true, IpAddr::V4(GATEWAY_V4)),
        (false, IpAddr::V6(GATEWAY_V6)),
    ];
    let reachable = spec.cidrs.iter().chain(spec.external.iter());
    Attachment {
        topology: spec.topology.clone(),
        app: app.to_owned(),
        forwarder: spec.name.clone(),
        forwarder_netns: netns_path(&place.netns),
        forwarder_interface: forwarder_interface(ends.pod_mac),
        pod_interface: ends.pod_interface,
        pod_mac: mac::format(ends.pod_mac),
        forwarder_mac: mac::format(ends.forwarder_mac),
        gateways: gateways
            .into_iter()
            .filter(|(is_ipv4, _)| has(*is_ipv4))
            .map(|g| g.1)
            .collect(),
        routes: reachable
            .copied()
            .filter(|cidr| has(cidr.is_ipv4()))
            .collect(),
        addresses,
        mtu: place.mtu,
        alias: ends.alias,
    }
}

/// Forwarder's interface name: `app` and twelve digits, 40 bits of hash after the constant first
/// byte of the pod's MAC.
fn forwarder_interface(pod_mac: Mac) -> String {
    let digits: String = pod_mac.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{ATTACHMENT_PREFIX}{digits}")
}

/// Names of this pod's own interfaces that are in use already.
fn interfaces(claim: &Claim, leases: &Leases) -> BTreeSet<String> {
    let here = leases.iter().filter(|lease| {
        lease.netns_id == claim.netns_id && lease.key != claim.key && !lease.is_past_boot
    });
    let shares = here.flat_map(|lease| &lease.shares);
    shares
        .map(|share| share.attachment.pod_interface.clone())
        .collect()
}

/// `bm-<topology>`, with a hash where that is too long or is in use for a topology of another
/// namespace.
pub(crate) fn own_interface(network: &TopologyKey, taken: &BTreeSet<String>) -> String {
    let topology = &network.topology;
    let name = format!("bm-{topology}");
    match name.len() <= INTERFACE_NAME_MAX {
        true if taken.contains(&name) => hashed(&name, &network.to_string()),
        true => name,
        false => match hashed(&name, topology) {
            name if taken.contains(&name) => hashed(&name, &network.to_string()),
            name => name,
        },
    }
}

/// Prefix of `name` that fits, and six digits of a hash.
fn hashed(name: &str, of: &str) -> String {
    let [.., a, b, c] = link_mac(of, "interface");
    let kept: String = name.chars().take(INTERFACE_NAME_MAX - 6).collect();
    format!("{kept}{a:02x}{b:02x}{c:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_of_one_pod_differ_and_fit() {
        let network = |namespace: &str, topology: &str| TopologyKey {
            namespace: namespace.to_owned(),
            topology: topology.to_owned(),
        };
        let long = "a-topology-of-a-long-name";
        let mut taken = BTreeSet::new();
        for (namespace, topology) in [
            ("plant", "iot"),
            ("office", "iot"),
            ("plant", long),
            ("office", long),
        ] {
            let name = own_interface(&network(namespace, topology), &taken);
            assert!(
                name.starts_with("bm-") && name.len() <= INTERFACE_NAME_MAX,
                "{name}"
            );
            assert!(taken.insert(name.clone()), "{name}");
        }
        assert!(taken.contains("bm-iot"));
    }
}
