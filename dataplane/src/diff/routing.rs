//! Nexthop objects, groups, routes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnetwork::IpNetwork;

use super::Diff;
use crate::{
    groups::{self, Set},
    observed::{Observed, SeenNexthop, SeenRoute, Via},
    operation::Operation,
    state::{Balance, Namespace, Routes, Target},
};

/// The first id for nexthop objects of links; groups begin at [`FIRST_GROUP`].
const FIRST_NEXTHOP: u32 = 1;
/// The first id for groups.
pub const FIRST_GROUP: u32 = 1 << 20;
/// Operations on the routing of one namespace: nexthop objects, groups, routes. Links that are down
/// or absent are left out of every set; a route with an empty set is not programmed.
pub fn routing(netns: &str, desired: &Namespace, routes: &Routes, observed: &Observed) -> Diff {
    let mut diff = Diff::default();
    let mut ids = Ids::new(observed);
    let nexthops = nexthops(desired, observed, &mut ids, &mut diff);
    let wanted = wanted(routes, &nexthops);
    let direct = direct(routes, observed);
    let (ours, foreign) = split(observed);
    let blocked: BTreeSet<IpNetwork> = foreign
        .into_iter()
        .filter(|prefix| routes.get(prefix).is_some())
        .collect();
    for prefix in &blocked {
        diff.conflict(netns, format!("route {prefix}"));
    }
    let balance = if observed.lacks_resilient {
        Balance::HashThreshold
    } else {
        desired.balance
    };
    let groups = reusable_groups(observed, balance);
    let routes_seen: Vec<(IpNetwork, Option<u32>)> = ours
        .iter()
        .filter(|route| !direct.contains_key(&route.prefix))
        .map(|route| match route.via {
            Via::Nexthop(id) if groups.contains_key(&id) => (route.prefix, Some(id)),
            _ => (route.prefix, None),
        })
        .collect();
    let routes_wanted: Vec<(IpNetwork, usize)> = wanted
        .routes
        .iter()
        .copied()
        .filter(|(prefix, _)| !blocked.contains(prefix))
        .collect();
    let input = groups::Input {
        sets: &wanted.sets,
        wanted: &routes_wanted,
        routes: &routes_seen,
        groups: &groups,
    };
    let plan = groups::plan(input, || ids.group());
    let direct = direct_routes(&direct, observed, &blocked, &ours).collect();
    push_plan(&mut diff, plan, balance, &ours, direct);
    stale_nexthops(observed, &nexthops, &groups, &mut diff);
    diff
}

/// Ids that no nexthop object has yet.
struct Ids<'a> {
    taken: &'a BTreeMap<u32, SeenNexthop>,
    nexthop: u32,
    group: u32,
}

impl<'a> Ids<'a> {
    fn new(observed: &'a Observed) -> Self {
        Self {
            taken: &observed.nexthops,
            nexthop: FIRST_NEXTHOP,
            group: FIRST_GROUP,
        }
    }

    fn nexthop(&mut self) -> u32 {
        Self::next(self.taken, &mut self.nexthop)
    }

    fn group(&mut self) -> u32 {
        Self::next(self.taken, &mut self.group)
    }

    fn next(taken: &BTreeMap<u32, SeenNexthop>, from: &mut u32) -> u32 {
        while taken.contains_key(from) {
            *from += 1;
        }
        *from += 1;
        *from - 1
    }
}

/// The nexthop object of each link that can carry packets; makes or changes those that are not right.
fn nexthops<'a>(
    desired: &'a Namespace,
    observed: &Observed,
    ids: &mut Ids<'_>,
    diff: &mut Diff,
) -> BTreeMap<&'a str, u32> {
    let mut seen: BTreeMap<&str, (u32, Option<IpAddr>)> = BTreeMap::new();
    for (&id, nexthop) in &observed.nexthops {
        if let SeenNexthop::Single {
            link,
            gateway,
            is_ours: true,
        } = nexthop
        {
            seen.entry(link).or_insert((id, *gateway));
        }
    }
    let mut id_by_link = BTreeMap::new();
    for (name, link) in desired.links.iter().filter(|(_, link)| link.is_adjacency()) {
        if !observed
            .links
            .get(name)
            .is_some_and(|now| now.is_up && now.is_ours)
        {
            continue;
        }
        let gateway = link.gateway_on(observed.lacks_ipv6);
        let known = seen.get(name.as_str());
        let id = known.map_or_else(|| ids.nexthop(), |&(id, _)| id);
        if known != Some(&(id, Some(gateway))) {
            diff.operations.push(Operation::SetNexthop {
                id,
                link: name.clone(),
                gateway,
            });
        }
        id_by_link.insert(name.as_str(), id);
    }
    id_by_link
}

/// Routes as indices into distinct sets of nexthop ids.
struct Wanted {
    sets: Vec<Set>,
    routes: Vec<(IpNetwork, usize)>,
}

fn wanted(routes: &Routes, nexthops: &BTreeMap<&str, u32>) -> Wanted {
    let mut index_by_set: BTreeMap<Set, usize> = BTreeMap::new();
    let set_by_target: Vec<Option<usize>> = routes
        .targets()
        .iter()
        .map(|target| {
            let Target::Links(links) = target else {
                return None;
            };
            let set: Set = links
                .iter()
                .filter_map(|link| nexthops.get(link.as_str()))
                .copied()
                .collect();
            let next = index_by_set.len();
            (!set.is_empty()).then(|| *index_by_set.entry(set).or_insert(next))
        })
        .collect();
    let mut sets = vec![Set::new(); index_by_set.len()];
    for (set, index) in index_by_set {
        sets[index] = set;
    }
    let routes = routes
        .iter()
        .filter_map(|(prefix, target)| Some((prefix, set_by_target[target.index()]?)))
        .collect();
    Wanted { sets, routes }
}

/// A wanted route that needs no next hop: the interface that it leaves by, none for an unreachable one; and as it would be seen.
type Direct = (Option<String>, Via);

/// Wanted routes without next hops: unreachable ones, and those out of an interface that is there and up.
fn direct(routes: &Routes, observed: &Observed) -> BTreeMap<IpNetwork, Direct> {
    let direct = |target: &Target| match target {
        Target::Device(name) => {
            let link = observed.links.get(name).filter(|link| link.is_enabled)?;
            Some((Some(name.clone()), Via::Device(link.index)))
        }
        Target::Unreachable => Some((None, Via::Unreachable)),
        Target::Links(_) => None,
    };
    let needs_none = |target: &Target| !matches!(target, Target::Links(_));
    if !routes.targets().iter().any(needs_none) {
        return BTreeMap::new();
    }
    routes
        .iter()
        .filter_map(|(prefix, target)| Some((prefix, direct(routes.target(target))?)))
        .collect()
}

/// Our routes in order, and the prefixes of routes that are neither ours nor an attachment's.
fn split(observed: &Observed) -> (Vec<SeenRoute>, Vec<IpNetwork>) {
    let mut ours: Vec<SeenRoute> = observed
        .routes
        .iter()
        .copied()
        .filter(SeenRoute::is_ours)
        .collect();
    ours.sort_unstable();
    ours.dedup_by_key(|route| route.prefix);
    let foreign = observed
        .routes
        .iter()
        .filter(|route| !route.is_ours() && !route.is_attachment());
    (ours, foreign.map(|route| route.prefix).collect())
}

/// Our groups that share flows as wanted.
fn reusable_groups(observed: &Observed, wanted: Balance) -> BTreeMap<u32, Set> {
    let alike = |balance: &Balance| match (balance, wanted) {
        (Balance::Resilient { buckets: a, .. }, Balance::Resilient { buckets: b, .. }) => *a == b,
        (a, b) => *a == b,
    };
    let groups = observed
        .nexthops
        .iter()
        .filter_map(|(&id, nexthop)| match nexthop {
            SeenNexthop::Group {
                members,
                balance,
                is_ours: true,
            } if alike(balance) => Some((id, members.clone())),
            _ => None,
        });
    groups.collect()
}

fn direct_routes<'a>(
    direct: &'a BTreeMap<IpNetwork, Direct>,
    observed: &Observed,
    blocked: &'a BTreeSet<IpNetwork>,
    ours: &'a [SeenRoute],
) -> impl Iterator<Item = Operation> + use<'a> {
    let right: BTreeSet<(IpNetwork, Via)> = observed
        .routes
        .iter()
        .filter(|route| route.is_ours() || route.is_attachment())
        .map(|route| (route.prefix, route.via))
        .collect();
    direct
        .iter()
        .filter(move |&(prefix, &(_, via))| {
            !blocked.contains(prefix) && !right.contains(&(*prefix, via))
        })
        .map(|(&prefix, (link, _))| match link.clone() {
            Some(link) => Operation::SetDeviceRoute { prefix, link },
            None => Operation::SetUnreachable {
                prefix,
                replace: is_there(ours, prefix),
            },
        })
}

/// True when an own route was observed.
fn is_there(ours: &[SeenRoute], prefix: IpNetwork) -> bool {
    ours.binary_search_by_key(&prefix, |route| route.prefix)
        .is_ok()
}

fn push_plan(
    diff: &mut Diff,
    plan: groups::Plan,
    balance: Balance,
    ours: &[SeenRoute],
    direct: Vec<Operation>,
) {
    let group = |(id, members)| Operation::SetGroup {
        id,
        members,
        balance,
    };
    let route = |(prefix, group)| {
        let replace = is_there(ours, prefix);
        Operation::SetRoute {
            prefix,
            group,
            replace,
        }
    };
    let operations = &mut diff.operations;
    operations.extend(plan.create.into_iter().map(group));
    operations.extend(plan.move_first.into_iter().map(route));
    operations.extend(plan.edit.into_iter().map(group));
    operations.extend(plan.move_after.into_iter().map(route));
    operations.extend(direct);
    operations.extend(plan.delete_routes.into_iter().map(Operation::DeleteRoute));
    operations.extend(plan.delete_groups.into_iter().map(Operation::DeleteNexthop));
}

/// Deletes our groups that cannot be reused, then our nexthop objects that no wanted link has.
fn stale_nexthops(
    observed: &Observed,
    nexthops: &BTreeMap<&str, u32>,
    reusable: &BTreeMap<u32, Set>,
    diff: &mut Diff,
) {
    let used: BTreeSet<u32> = nexthops.values().copied().collect();
    let (mut groups, mut singles) = (Vec::new(), Vec::new());
    for (&id, nexthop) in observed
        .nexthops
        .iter()
        .filter(|(_, nexthop)| nexthop.is_ours())
    {
        match nexthop {
            SeenNexthop::Group { .. } if !reusable.contains_key(&id) => groups.push(id),
            SeenNexthop::Single { .. } if !used.contains(&id) => singles.push(id),
            _ => {}
        }
    }
    diff.operations.extend(
        groups
            .into_iter()
            .chain(singles)
            .map(Operation::DeleteNexthop),
    );
}
