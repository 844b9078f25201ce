//! The kernel's rules inside one namespace.

use std::collections::BTreeSet;

use ipnetwork::IpNetwork;

use crate::{
    Error, Operation,
    netlink::Rejection,
    observed::{Observed, SeenNeighbour, SeenNexthop, SeenRoute, Via},
    state::{ATTACHMENT_PROTOCOL, PROTOCOL},
};

/// Applies an operation that concerns one namespace only.
pub(super) fn apply_inside(
    namespace: &mut Observed,
    netns: &str,
    operation: &Operation,
) -> Result<(), Error> {
    let refuse = |errno| Err(refused(format!("{operation} in {netns}"), errno));
    match operation {
        Operation::WriteSetting { path, value } => {
            namespace
                .wrong_settings
                .retain(|wrong| *wrong != (path.as_ref(), *value));
            for (name, link) in &mut namespace.links {
                let is_it = |of: &str| of.replace('*', name) == path.as_ref();
                link.wrong_settings
                    .retain(|(of, wanted)| !(is_it(of) && wanted == value));
            }
        }
        Operation::AddRule(rule) => {
            namespace.missing_rules.remove(rule);
        }
        Operation::EnableLink { name } => match namespace.links.get_mut(name) {
            Some(link) => (link.is_enabled, link.is_up) = (true, true),
            None => return refuse(libc::ENODEV),
        },
        Operation::AddGateway { link, address } => {
            namespace.link_addresses.insert((link.clone(), *address));
        }
        Operation::ChangeLink { name, link } => match namespace.links.get_mut(name) {
            Some(now) => {
                now.mtu = link.mtu;
                now.alias.clone_from(&link.alias);
            }
            None => return refuse(libc::ENODEV),
        },
        Operation::AddAddress(address) => {
            namespace.addresses.entry(*address).or_insert(true);
        }
        Operation::DeleteAddress(address) => {
            namespace.addresses.remove(address);
        }
        Operation::SetNeighbour { link, address, mac } => {
            if !namespace.links.contains_key(link) {
                return refuse(libc::ENODEV);
            }
            let neighbour = SeenNeighbour {
                mac: *mac,
                is_ours: true,
            };
            namespace
                .neighbours
                .insert((link.clone(), *address), neighbour);
        }
        Operation::DeleteNeighbour { link, address } => {
            namespace.neighbours.remove(&(link.clone(), *address));
        }
        Operation::SetForwarding { link, mac, remote } => {
            namespace
                .fdb
                .insert((link.clone(), *mac), BTreeSet::from([*remote]));
        }
        Operation::DeleteForwarding { link, mac, .. } => {
            namespace.fdb.remove(&(link.clone(), *mac));
        }
        Operation::SetNexthop { id, link, gateway } => {
            if !namespace.links.get(link).is_some_and(|link| link.is_up) {
                return refuse(libc::ENETDOWN);
            }
            let (link, gateway) = (link.clone(), Some(*gateway));
            namespace.nexthops.insert(
                *id,
                SeenNexthop::Single {
                    link,
                    gateway,
                    is_ours: true,
                },
            );
        }
        Operation::SetGroup {
            id,
            members,
            balance,
        } => {
            if members.is_empty() || !members.iter().all(|id| namespace.nexthops.contains_key(id)) {
                return refuse(libc::EINVAL);
            }
            let (members, balance) = (members.clone(), *balance);
            namespace.nexthops.insert(
                *id,
                SeenNexthop::Group {
                    members,
                    balance,
                    is_ours: true,
                },
            );
        }
        Operation::SetRoute {
            prefix,
            group,
            replace,
        } => {
            let is_there = namespace.routes.iter().any(|route| route.prefix == *prefix);
            if !namespace.nexthops.contains_key(group) {
                return refuse(libc::EINVAL);
            }
            if is_there && !replace {
                return Err(Error::Foreign {
                    object: format!("{operation} in {netns}"),
                });
            }
            set_route(namespace, *prefix, Via::Nexthop(*group), PROTOCOL);
        }
        Operation::SetDeviceRoute { prefix, link } => match namespace.links.get(link) {
            Some(link) => set_route(namespace, *prefix, Via::Device(link.index), PROTOCOL),
            None => return refuse(libc::ENODEV),
        },
        Operation::SetPodRoute {
            address,
            link,
            replace,
        } => {
            let prefix = IpNetwork::from(*address);
            let Some(index) = namespace.links.get(link).map(|link| link.index) else {
                return refuse(libc::ENODEV);
            };
            if !replace && namespace.routes.iter().any(|route| route.prefix == prefix) {
                return Err(Error::Foreign {
                    object: format!("{operation} in {netns}"),
                });
            }
            set_route(namespace, prefix, Via::Device(index), ATTACHMENT_PROTOCOL);
        }
        Operation::SetUnreachable { prefix, replace } => {
            if !replace && namespace.routes.iter().any(|route| route.prefix == *prefix) {
                return Err(Error::Foreign {
                    object: format!("{operation} in {netns}"),
                });
            }
            set_route(namespace, *prefix, Via::Unreachable, PROTOCOL);
        }
        Operation::DeleteRoute(prefix) => {
            namespace
                .routes
                .retain(|route| route.prefix != *prefix || !route.is_ours());
        }
        Operation::DeleteNexthop(id) => delete_nexthop(namespace, *id),
        Operation::CreateNamespace
        | Operation::DeleteNamespace
        | Operation::CreateLink { .. }
        | Operation::DeleteLink { .. } => {}
    }
    Ok(())
}

fn set_route(namespace: &mut Observed, prefix: IpNetwork, via: Via, protocol: u8) {
    namespace.routes.retain(|route| route.prefix != prefix);
    namespace.routes.push(SeenRoute {
        prefix,
        protocol,
        via,
    });
}

/// Deletes a nexthop or group: groups lose the member, a group without members goes, and routes go with their group.
pub(super) fn delete_nexthop(namespace: &mut Observed, id: u32) {
    namespace.nexthops.remove(&id);
    let mut gone = vec![id];
    for (&group, nexthop) in &mut namespace.nexthops {
        if let SeenNexthop::Group { members, .. } = nexthop
            && members.remove(&id)
            && members.is_empty()
        {
            gone.push(group);
        }
    }
    namespace.nexthops.retain(|id, _| !gone.contains(id));
    namespace
        .routes
        .retain(|route| !matches!(route.via, Via::Nexthop(id) if gone.contains(&id)));
}

pub(super) fn refused(object: String, errno: i32) -> Error {
    Error::Refused {
        object,
        source: Rejection {
            index: 0,
            errno,
            message: String::new(),
        },
    }
}
