//! Namespaces, settings, rules, links, addresses, neighbours, forwarding entries, ends of attachments.

use std::collections::{BTreeMap, BTreeSet};

use ipnetwork::IpNetwork;

use super::Diff;
use crate::{
    observed::{Observed, SeenLink, SeenRoute, Via},
    operation::Operation,
    settings::{InterfaceSetting, SETTINGS},
    state::{Link, LinkKind, Namespace},
};

/// The changes of one namespace, routing apart: the namespace itself, settings, rules, links, addresses, neighbours, forwarding
/// entries, and the Forwarder's ends of attachments. `observed` is none when there is no such namespace.
pub fn structure(netns: &str, desired: &Namespace, observed: Option<&Observed>) -> Diff {
    let mut diff = Diff::default();
    let nothing = Observed::default();
    let seen = observed.unwrap_or(&nothing);
    if !seen.links.get("lo").is_some_and(|lo| lo.is_enabled) {
        diff.operations.push(Operation::CreateNamespace);
    }
    let settings = SETTINGS
        .iter()
        .filter(|&setting| observed.is_none() || seen.wrong_settings.contains(setting));
    let write = |&(path, value): &(&'static str, _)| Operation::WriteSetting {
        path: path.into(),
        value,
    };
    diff.operations.extend(settings.map(write));
    interface_settings(seen, &mut diff);
    let rules = seen.missing_rules.iter().copied();
    diff.operations.extend(rules.map(Operation::AddRule));
    let fresh = links(netns, desired, seen, &mut diff);
    addresses(desired, seen, &mut diff);
    neighbours(desired, seen, &fresh, &mut diff);
    forwarding(desired, seen, &fresh, &mut diff);
    pods(netns, desired, seen, &mut diff);
    diff
}

fn interface_settings(seen: &Observed, diff: &mut Diff) {
    for (name, link) in &seen.links {
        let settings = link.wrong_settings.iter();
        let write = |&(path, value): &InterfaceSetting| Operation::WriteSetting {
            path: path.replace('*', name).into(),
            value,
        };
        diff.operations.extend(settings.map(write));
    }
}

/// Keeps the Forwarder's ends of attachments whole. One that is not there is the CNI plugin's to make.
fn pods(netns: &str, desired: &Namespace, seen: &Observed, diff: &mut Diff) {
    let routes: BTreeMap<IpNetwork, &SeenRoute> = match desired.pods.is_empty() {
        true => return,
        false => seen
            .routes
            .iter()
            .map(|route| (route.prefix, route))
            .collect(),
    };
    for (name, end) in &desired.pods {
        let Some(now) = seen.links.get(name).filter(|now| now.is_attachment(name)) else {
            continue;
        };
        if !now.is_enabled {
            let name = name.clone();
            diff.operations.push(Operation::EnableLink { name });
        }
        for gateway in end.gateways.iter().filter(|gateway| gateway.is_ipv6()) {
            let (link, address) = (name.clone(), *gateway);
            if !seen.link_addresses.contains(&(link.clone(), address)) {
                diff.operations
                    .push(Operation::AddGateway { link, address });
            }
        }
        for &address in &end.addresses {
            let route = routes.get(&IpNetwork::from(address));
            let is_right = |route: &&&SeenRoute| route.via == Via::Device(now.index);
            match route {
                Some(route) if !route.is_attachment() => {
                    diff.conflict(netns, format!("route to pod {address}"));
                }
                route if route.filter(is_right).is_none() => {
                    diff.operations.push(Operation::SetPodRoute {
                        address,
                        link: name.clone(),
                        replace: route.is_some(),
                    });
                }
                _ => {}
            }
        }
    }
}

/// Diffs interfaces; returns the names of those that will be new, or cannot be created (their content is unknown).
fn links<'a>(
    netns: &str,
    desired: &'a Namespace,
    seen: &Observed,
    diff: &mut Diff,
) -> BTreeMap<&'a str, bool> {
    let mut fresh = BTreeMap::new();
    let unwanted = seen.links.iter().filter(|(name, link)| {
        link.is_ours && !link.is_attachment(name) && !desired.links.contains_key(*name)
    });
    let unwanted = unwanted.map(|(name, _)| Operation::DeleteLink { name: name.clone() });
    diff.operations.extend(unwanted);
    for (name, link) in desired.links.iter().filter(|(_, link)| link.is_adjacency()) {
        let create = || Operation::CreateLink {
            name: name.clone(),
            link: link.clone(),
        };
        match seen.links.get(name) {
            None => diff.operations.push(create()),
            Some(now) if !now.is_ours => {
                diff.conflict(netns, format!("link {name}"));
                fresh.insert(name.as_str(), false);
                continue;
            }
            Some(now) if !is_same(link, now) => {
                diff.operations
                    .push(Operation::DeleteLink { name: name.clone() });
                diff.operations.push(create());
            }
            Some(now) => {
                if (now.mtu, &now.alias) != (link.mtu, &link.alias) {
                    let change = Operation::ChangeLink {
                        name: name.clone(),
                        link: link.clone(),
                    };
                    diff.operations.push(change);
                }
                continue;
            }
        }
        fresh.insert(name.as_str(), true);
    }
    fresh
}

/// True when `now` is what `link` should be in all that cannot be changed later. The address of a link is computed from
/// both ends, so it identifies the right peer.
pub(crate) fn is_same(link: &Link, now: &SeenLink) -> bool {
    let kind = match &link.kind {
        LinkKind::Veth { .. } => now.kind == "veth",
        LinkKind::Vxlan {
            vni, port, local, ..
        } => now.kind == "vxlan" && now.vxlan == Some((*vni, *port, Some(*local))),
        LinkKind::Attachment => true,
    };
    kind && now.mac == link.mac
}

fn addresses(desired: &Namespace, seen: &Observed, diff: &mut Diff) {
    let missing = desired
        .addresses
        .iter()
        .filter(|address| !seen.addresses.contains_key(address));
    diff.operations
        .extend(missing.map(|&address| Operation::AddAddress(address)));
    let stale = seen.addresses.iter();
    let stale = stale.filter(|&(address, &ours)| ours && !desired.addresses.contains(address));
    diff.operations
        .extend(stale.map(|(&address, _)| Operation::DeleteAddress(address)));
}

fn neighbours(desired: &Namespace, seen: &Observed, fresh: &BTreeMap<&str, bool>, diff: &mut Diff) {
    let mut wanted = BTreeSet::new();
    for (name, link) in desired.links.iter().filter(|(_, link)| link.is_adjacency()) {
        let key = (name.clone(), link.gateway_on(seen.lacks_ipv6));
        let is_right = match fresh.get(name.as_str()) {
            Some(&can_be_made) => !can_be_made,
            None => seen
                .neighbours
                .get(&key)
                .is_some_and(|now| now.mac == link.peer_mac),
        };
        if !is_right {
            let (link_name, address) = key.clone();
            let mac = link.peer_mac;
            diff.operations.push(Operation::SetNeighbour {
                link: link_name,
                address,
                mac,
            });
        }
        wanted.insert(key);
    }
    let stale = seen.neighbours.iter().filter(|(key, now)| {
        let link = seen.links.get(&key.0);
        now.is_ours
            && !wanted.contains(*key)
            && link.is_some_and(|link| !link.is_attachment(&key.0))
    });
    diff.operations.extend(
        stale.map(|((link, address), _)| Operation::DeleteNeighbour {
            link: link.clone(),
            address: *address,
        }),
    );
}

fn forwarding(desired: &Namespace, seen: &Observed, fresh: &BTreeMap<&str, bool>, diff: &mut Diff) {
    for (name, link) in &desired.links {
        let LinkKind::Vxlan { remote, .. } = link.kind else {
            continue;
        };
        let set = || Operation::SetForwarding {
            link: name.clone(),
            mac: link.peer_mac,
            remote,
        };
        match fresh.get(name.as_str()) {
            Some(true) => diff.operations.push(set()),
            Some(false) => {}
            None => {
                let key = (name.clone(), link.peer_mac);
                if seen.fdb.get(&key) != Some(&BTreeSet::from([remote])) {
                    diff.operations.push(set());
                }
                let others = seen
                    .fdb
                    .iter()
                    .filter(|((on, mac), _)| on == name && *mac != link.peer_mac);
                diff.operations
                    .extend(others.flat_map(|((link, mac), remotes)| {
                        remotes.iter().map(|&remote| Operation::DeleteForwarding {
                            link: link.clone(),
                            mac: *mac,
                            remote,
                        })
                    }));
            }
        }
    }
}
