//! Kernel state of beemesh by namespace.

use super::{Error, desired::Desired, paths::Paths};
use crate::host::netns_registry::NetnsRegistry;
use crds::diagnosis::{
    expected_fib::Expected,
    report::{Group, Held, Kernel, Link, Namespace, Origin, Route},
};
use dataplane::{Kernel as _, LinuxKernel, Observed, SeenNexthop, SeenRoute, Via, observe_again};
use std::collections::{BTreeMap, BTreeSet};

/// Namespaces of Forwarders: registered ones, desired ones, and where none is registered, all with
/// the name prefix.
///
/// # Errors
/// [`Error::Kernel`] when the kernel state cannot be read.
pub(crate) fn kernel(paths: &Paths, only: &[String]) -> Result<Kernel, Error> {
    let desired = Desired::read(paths);
    let owned = NetnsRegistry::open(&paths.state_dir);
    let objects: BTreeMap<&String, &String> = owned.iter().collect();
    let mut names: BTreeSet<String> = objects.keys().map(|name| (*name).clone()).collect();
    names.extend(desired.here().map(crds::names::netns_of));
    let mut linux = LinuxKernel::new()?;
    if names.is_empty() {
        names.extend(linux.namespaces(crate::diagnose::NAMESPACES)?);
    }
    names.retain(|name| only.is_empty() || only.contains(name));
    let mut kernel = Kernel::default();
    for netns in names {
        match observe_again(&mut linux, |linux| linux.observe(&netns)) {
            Ok(Some(observed)) => {
                let mut namespace = namespace(&netns, &observed);
                namespace.object = objects.get(&netns).map(|object| (*object).clone());
                namespace.table = held(&desired, &namespace);
                kernel.namespaces.push(namespace);
            }
            Ok(None) => drop(
                kernel
                    .unread
                    .insert(netns, "the namespace does not exist".to_owned()),
            ),
            Err(error) => drop(kernel.unread.insert(netns, error.to_string())),
        }
    }
    Ok(kernel)
}

/// Forwarding state computed from the cached objects for this namespace.
fn held(desired: &Desired, namespace: &Namespace) -> Option<Held> {
    let forwarder = desired.of_netns(&namespace.netns)?;
    let forwarders = desired.topology_of(forwarder);
    let topology = crds::topology_of(&forwarders).ok()?;
    let impaired = desired.impaired(&topology, &forwarders);
    let changes = impaired.changes(&topology);
    Expected::new(&topology, &forwarders, &changes).hold(forwarder, namespace)
}

fn namespace(netns: &str, observed: &Observed) -> Namespace {
    let links = observed.links.iter().filter(|(_, link)| link.is_ours);
    let link = |(name, link): (&String, &dataplane::SeenLink)| Link {
        interface: name.clone(),
        kind: link.kind.clone(),
        alias: link
            .alias
            .trim_start_matches(dataplane::ALIAS_PREFIX)
            .to_owned(),
        up: link.is_up,
        mtu: link.mtu,
        vni: link.vxlan.map(|(vni, ..)| vni),
    };
    let by_index: BTreeMap<u32, &String> = observed
        .links
        .iter()
        .map(|(name, link)| (link.index, name))
        .collect();
    let mut routes: Vec<Route> = observed
        .routes
        .iter()
        .map(|route| described(route, observed, &by_index))
        .collect();
    routes.sort();
    Namespace {
        netns: netns.to_owned(),
        links: links.map(link).collect(),
        addresses: observed.addresses.keys().copied().collect(),
        groups: groups(observed),
        routes,
        ..Namespace::default()
    }
}

fn groups(observed: &Observed) -> Vec<Group> {
    let groups = observed
        .nexthops
        .iter()
        .filter_map(|(&id, nexthop)| match nexthop {
            SeenNexthop::Group {
                balance,
                is_ours: true,
                ..
            } => Some(Group {
                id,
                interfaces: interfaces(id, observed),
                resilient: matches!(balance, dataplane::Balance::Resilient { .. }),
            }),
            _ => None,
        });
    groups.collect()
}

fn described(route: &SeenRoute, observed: &Observed, by_index: &BTreeMap<u32, &String>) -> Route {
    let interfaces = match route.via {
        Via::Nexthop(id) => interfaces(id, observed),
        Via::Device(index) => by_index
            .get(&index)
            .map(|name| (*name).clone())
            .into_iter()
            .collect(),
        Via::Unreachable | Via::Other => Vec::new(),
    };
    let origin = match (route.is_ours(), route.is_attachment()) {
        (true, _) if route.via == Via::Unreachable => Origin::Unreachable,
        (true, _) => Origin::Table,
        (_, true) => Origin::Attachment,
        (false, false) => Origin::Foreign,
    };
    Route {
        prefix: route.prefix,
        origin,
        interfaces,
    }
}

/// Interfaces of a next hop or group, in order.
fn interfaces(id: u32, observed: &Observed) -> Vec<String> {
    let single = |id: &u32| match observed.nexthops.get(id) {
        Some(SeenNexthop::Single { link, .. }) => Some(link.clone()),
        _ => None,
    };
    let names: BTreeSet<String> = match observed.nexthops.get(&id) {
        Some(SeenNexthop::Group { members, .. }) => members.iter().filter_map(single).collect(),
        _ => single(&id).into_iter().collect(),
    };
    names.into_iter().collect()
}
