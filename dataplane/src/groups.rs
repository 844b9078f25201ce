//! Plan of nexthop groups and routes that reaches the desired sets of next hops with few messages.
//! Pure.
//!
//! Every route names a group. When the set of next hops of many routes changes alike - a link is lost - their group
//! is edited in place: one atomic message, whatever the number of routes. To find such groups, each observed group
//! takes the set that most of its routes want; the others move:
//!
//! ```text
//! group 7 {a,b}: 900 routes want {a}, 3 want {c}
//!   1. create group 8 {c}    2. move 3 routes to 8    3. edit 7 to {a}    4. delete what no route uses
//! ```
//! Two groups may so come to hold the same set. That is cheaper than to move routes now, and when the link comes back
//! each is edited back; beyond two for each set the smallest are dissolved.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ipnetwork::IpNetwork;

/// The members of a group: ids of nexthop objects.
pub type Set = BTreeSet<u32>;

/// Groups for each set, on average, above which duplicates are dissolved.
const MOST_DUPLICATES: usize = 2;
/// As many duplicates are always left alone.
const FEW_GROUPS: usize = 16;

/// Desired and observed groups and routes.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The distinct sets that routes want, none empty.
    pub sets: &'a [Set],
    /// Routes in order of prefix, each with the index of the set it wants.
    pub wanted: &'a [(IpNetwork, usize)],
    /// Observed own routes in order of prefix, with their group; `None` for one without a group.
    pub routes: &'a [(IpNetwork, Option<u32>)],
    /// Observed own groups that may be edited.
    pub groups: &'a BTreeMap<u32, Set>,
}

/// The changes, in the order in which they are to be made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// New groups.
    pub create: Vec<(u32, Set)>,
    /// Routes to groups that hold the right set before any edit.
    pub move_first: Vec<(IpNetwork, u32)>,
    /// Groups to change in place.
    pub edit: Vec<(u32, Set)>,
    /// Routes to groups that hold the right set only after the edits.
    pub move_after: Vec<(IpNetwork, u32)>,
    /// Routes that are not wanted.
    pub delete_routes: Vec<IpNetwork>,
    /// Groups that no route uses then.
    pub delete_groups: Vec<u32>,
}

impl Plan {
    /// Number of messages.
    pub fn len(&self) -> usize {
        self.create.len()
            + self.move_first.len()
            + self.edit.len()
            + self.move_after.len()
            + self.delete_routes.len()
            + self.delete_groups.len()
    }

    /// True when nothing has to be changed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Plans the changes. `fresh` gives ids that no nexthop object has.
pub fn plan(input: Input<'_>, mut fresh: impl FnMut() -> u32) -> Plan {
    let set_by_group = dissolve(input, majorities(input));
    let mut plan = Plan::default();
    let mut home_by_set = homes(input, &set_by_group);
    let mut is_wanted = vec![false; input.sets.len()];
    input
        .wanted
        .iter()
        .for_each(|&(_, set)| is_wanted[set] = true);
    for (set, home) in home_by_set.iter_mut().enumerate() {
        if home.is_none() && is_wanted[set] {
            let id = fresh();
            plan.create.push((id, input.sets[set].clone()));
            *home = Some(id);
        }
    }
    let mut used = BTreeSet::new();
    merge(input, |prefix, wanted, observed| {
        let Some(set) = wanted else {
            plan.delete_routes.push(prefix);
            return;
        };
        let current = observed.flatten();
        let stays = current.filter(|group| set_by_group.get(group) == Some(&set));
        let group = stays
            .or(home_by_set[set])
            .expect("every wanted set has a home");
        used.insert(group);
        if stays.is_none() {
            let is_right = input
                .groups
                .get(&group)
                .is_none_or(|now| *now == input.sets[set]);
            let moves = if is_right {
                &mut plan.move_first
            } else {
                &mut plan.move_after
            };
            moves.push((prefix, group));
        }
    });
    for (&group, now) in input.groups {
        match set_by_group.get(&group) {
            _ if !used.contains(&group) => plan.delete_groups.push(group),
            Some(&set) if input.sets[set] != *now => {
                plan.edit.push((group, input.sets[set].clone()));
            }
            _ => {}
        }
    }
    plan
}

/// The edits that take `member` out of every group, one for each group; groups without another member are left alone.
pub fn evict(groups: &BTreeMap<u32, Set>, member: u32) -> Vec<(u32, Set)> {
    evict_all(groups, &Set::from([member]))
}

/// As [`evict`], of several members at once.
pub fn evict_all(groups: &BTreeMap<u32, Set>, members: &Set) -> Vec<(u32, Set)> {
    let edits = groups.iter().map(|(&group, set)| {
        let left: Set = set.difference(members).copied().collect();
        (group, set.len(), left)
    });
    edits
        .filter(|(_, before, left)| !left.is_empty() && left.len() < *before)
        .map(|(group, _, left)| (group, left))
        .collect()
}

/// A set that a group takes, and how many of its routes want it.
#[derive(Debug, Clone, Copy)]
struct Majority {
    set: usize,
    routes: usize,
}

/// For each observed group with wanted routes the set that most of them want; on a tie the set it has, else the first.
fn majorities(input: Input<'_>) -> BTreeMap<u32, Majority> {
    let mut counts: BTreeMap<u32, HashMap<usize, usize>> = BTreeMap::new();
    merge(input, |_, wanted, observed| {
        if let (Some(set), Some(Some(group))) = (wanted, observed)
            && input.groups.contains_key(&group)
        {
            *counts.entry(group).or_default().entry(set).or_default() += 1;
        }
    });
    let majority = |group: u32, counts: &HashMap<usize, usize>| {
        let now = &input.groups[&group];
        let best = counts
            .iter()
            .max_by_key(|&(&set, &count)| (count, input.sets[set] == *now, std::cmp::Reverse(set)));
        best.map(|(&set, &routes)| Majority { set, routes })
    };
    counts
        .iter()
        .filter_map(|(&group, counts)| Some((group, majority(group, counts)?)))
        .collect()
}

/// Takes their set from the smallest duplicates where there are too many groups.
fn dissolve(input: Input<'_>, mut majorities: BTreeMap<u32, Majority>) -> BTreeMap<u32, usize> {
    let distinct: BTreeSet<usize> = majorities.values().map(|majority| majority.set).collect();
    let allowed = distinct.len() * MOST_DUPLICATES + FEW_GROUPS;
    if majorities.len() > allowed {
        let homes = homes(
            input,
            &majorities.iter().map(|(&g, m)| (g, m.set)).collect(),
        );
        let mut smallest: Vec<(usize, u32)> = majorities
            .iter()
            .filter(|&(&group, majority)| homes[majority.set] != Some(group))
            .map(|(&group, majority)| (majority.routes, group))
            .collect();
        smallest.sort_unstable();
        for (_, group) in smallest.into_iter().take(majorities.len() - allowed) {
            majorities.remove(&group);
        }
    }
    majorities
        .into_iter()
        .map(|(group, majority)| (group, majority.set))
        .collect()
}

/// For each set the group that routes move to: one that holds it already, or else will; of those the first.
fn homes(input: Input<'_>, set_by_group: &BTreeMap<u32, usize>) -> Vec<Option<u32>> {
    let mut homes = vec![None; input.sets.len()];
    for (&group, &set) in set_by_group {
        if input.groups[&group] == input.sets[set] && homes[set].is_none() {
            homes[set] = Some(group);
        }
    }
    // A group whose routes all go elsewhere, but which holds the right set, needs no message either.
    let set_by_members: HashMap<&Set, usize> = input.sets.iter().zip(0..).collect();
    for (&group, members) in input.groups {
        if let Some(&set) = set_by_members.get(members)
            && homes[set].is_none()
            && !set_by_group.contains_key(&group)
        {
            homes[set] = Some(group);
        }
    }
    for (&group, &set) in set_by_group {
        homes[set].get_or_insert(group);
    }
    homes
}

/// Walks both lists of routes in order: prefix, the set wanted, the group observed.
fn merge(input: Input<'_>, mut each: impl FnMut(IpNetwork, Option<usize>, Option<Option<u32>>)) {
    let mut wanted = input.wanted.iter().copied().peekable();
    let mut routes = input.routes.iter().copied().peekable();
    loop {
        let next = match (wanted.peek(), routes.peek()) {
            (Some(&(a, _)), Some(&(b, _))) => a.min(b),
            (Some(&(prefix, _)), None) | (None, Some(&(prefix, _))) => prefix,
            (None, None) => return,
        };
        let set = wanted
            .next_if(|&(prefix, _)| prefix == next)
            .map(|(_, set)| set);
        let group = routes
            .next_if(|&(prefix, _)| prefix == next)
            .map(|(_, group)| group);
        each(next, set, group);
    }
}

#[cfg(test)]
mod tests;
