use std::net::Ipv4Addr;

use proptest::{collection, prelude::*};

use super::*;

/// Model of a FIB: the kernel's rules for groups only.
#[derive(Debug, Clone, Default)]
struct Fib {
    groups: BTreeMap<u32, Set>,
    routes: BTreeMap<IpNetwork, Option<u32>>,
}

impl Fib {
    fn plan(&self, sets: &[Set], wanted: &[(IpNetwork, usize)]) -> Plan {
        let routes: Vec<_> = self
            .routes
            .iter()
            .map(|(&prefix, &group)| (prefix, group))
            .collect();
        let mut next = 1000 + self.groups.keys().max().copied().unwrap_or(0);
        let input = Input {
            sets,
            wanted,
            routes: &routes,
            groups: &self.groups,
        };
        plan(input, || {
            next += 1;
            next
        })
    }

    /// Applies a plan in its order and holds every message against its purpose: a route never names a group that is not there,
    /// a route that moves has its next hops at once, and nothing is written that was so before.
    fn apply_exactly(&mut self, plan: &Plan, sets: &[Set], wanted: &[(IpNetwork, usize)]) {
        let set_of = |prefix: &IpNetwork| {
            let (_, set) = wanted.iter().find(|(of, _)| of == prefix).unwrap();
            &sets[*set]
        };
        for &(prefix, group) in plan.move_first.iter().chain(&plan.move_after) {
            assert_ne!(
                self.routes.get(&prefix),
                Some(&Some(group)),
                "moved to where it is"
            );
        }
        for (id, set) in &plan.edit {
            assert_ne!(self.groups.get(id), Some(set), "edited to what it is");
        }
        let (mut before_edit, mut after_edit) = (self.groups.clone(), self.groups.clone());
        before_edit.extend(plan.create.iter().cloned());
        after_edit.extend(plan.create.iter().chain(&plan.edit).cloned());
        for (prefix, group) in &plan.move_first {
            assert_eq!(
                &before_edit[group],
                set_of(prefix),
                "moved to other next hops"
            );
        }
        for (prefix, group) in &plan.move_after {
            assert_eq!(
                &after_edit[group],
                set_of(prefix),
                "moved to other next hops"
            );
        }
        self.apply(plan);
        let used: BTreeSet<_> = self.routes.values().flatten().collect();
        assert!(
            self.groups.keys().all(|group| used.contains(group)),
            "a group without a route is left"
        );
    }

    /// Applies a plan in its order. A route must never name a group that is not there.
    fn apply(&mut self, plan: &Plan) {
        for (id, set) in &plan.create {
            assert!(
                self.groups.insert(*id, set.clone()).is_none(),
                "created twice"
            );
        }
        for &(prefix, group) in &plan.move_first {
            assert!(self.groups.contains_key(&group));
            self.routes.insert(prefix, Some(group));
        }
        for (id, set) in &plan.edit {
            assert!(
                self.groups.insert(*id, set.clone()).is_some(),
                "edited what is not there"
            );
        }
        for &(prefix, group) in &plan.move_after {
            assert!(self.groups.contains_key(&group));
            self.routes.insert(prefix, Some(group));
        }
        for prefix in &plan.delete_routes {
            assert!(self.routes.remove(prefix).is_some());
        }
        for id in &plan.delete_groups {
            assert!(
                !self.routes.values().any(|group| group == &Some(*id)),
                "deleted in use"
            );
            self.groups.remove(id);
        }
    }

    fn result(&self) -> BTreeMap<IpNetwork, Set> {
        let set = |group: &Option<u32>| self.groups[&group.expect("names a group")].clone();
        self.routes
            .iter()
            .map(|(&prefix, group)| (prefix, set(group)))
            .collect()
    }
}

fn prefix(number: u32) -> IpNetwork {
    IpNetwork::new(Ipv4Addr::from(0x0a00_0000 + (number << 8)).into(), 24).unwrap()
}

fn any_set() -> impl Strategy<Value = Set> {
    collection::btree_set(1_u32..6, 1..5)
}

/// Distinct sets, and up to 40 routes that want one of them.
fn any_wanted() -> impl Strategy<Value = (Vec<Set>, Vec<(IpNetwork, usize)>)> {
    let sets = collection::btree_set(any_set(), 1..6).prop_map(|sets| sets.into_iter().collect());
    sets.prop_flat_map(|sets: Vec<Set>| {
        let count = sets.len();
        (
            Just(sets),
            collection::btree_map(0_u32..40, 0..count, 0..40),
        )
    })
    .prop_map(|(sets, wanted)| {
        (
            sets,
            wanted
                .into_iter()
                .map(|(number, set)| (prefix(number), set))
                .collect(),
        )
    })
}

fn any_fib() -> impl Strategy<Value = Fib> {
    let groups = collection::btree_map(100_u32..140, any_set(), 0..40);
    groups.prop_flat_map(|groups| {
        let ids: Vec<u32> = groups.keys().copied().collect();
        let group = (0..=ids.len()).prop_map(move |index| ids.get(index).copied());
        (
            Just(groups),
            collection::btree_map((0_u32..40).prop_map(prefix), group, 0..40),
        )
            .prop_map(|(groups, routes)| Fib { groups, routes })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn any_state_becomes_the_wanted_one_and_then_nothing_changes(
        mut fib in any_fib(), (sets, wanted) in any_wanted(),
    ) {
        let plan = fib.plan(&sets, &wanted);
        fib.apply_exactly(&plan, &sets, &wanted);
        let expected: BTreeMap<_, _> =
            wanted.iter().map(|&(prefix, set)| (prefix, sets[set].clone())).collect();
        prop_assert_eq!(fib.result(), expected);
        prop_assert!(fib.plan(&sets, &wanted).is_empty(), "the second plan must be empty");
    }

    #[test]
    fn one_link_lost_costs_one_message_for_each_group((sets, wanted) in any_wanted(), lost in 1_u32..6) {
        let mut fib = Fib::default();
        let plan = fib.plan(&sets, &wanted);
        fib.apply(&plan);
        let groups = fib.groups.len();
        // What is left of each set; a set with the lost link alone goes over link 9 then.
        let left = |set: &Set| {
            let left: Set = set.iter().copied().filter(|&id| id != lost).collect();
            if left.is_empty() { Set::from([9]) } else { left }
        };
        let distinct: BTreeSet<Set> = sets.iter().map(left).collect();
        let distinct: Vec<Set> = distinct.into_iter().collect();
        let index = |set| distinct.iter().position(|other| *other == left(&sets[set])).unwrap();
        let after: Vec<_> = wanted.iter().map(|&(prefix, set)| (prefix, index(set))).collect();
        let plan = fib.plan(&distinct, &after);
        prop_assert!(plan.len() <= groups, "{} messages for {groups} groups", plan.len());
        fib.apply(&plan);
        let healed = fib.plan(&sets, &wanted);
        prop_assert!(healed.len() <= groups, "and back: {} messages", healed.len());
        fib.apply(&healed);
        let expected: BTreeMap<_, _> =
            wanted.iter().map(|&(prefix, set)| (prefix, sets[set].clone())).collect();
        prop_assert_eq!(fib.result(), expected);
    }
}

#[test]
fn messages_do_not_grow_with_routes() {
    let sets = [Set::from([1, 2]), Set::from([2, 3])];
    let wanted: Vec<_> = (0..10_000)
        .map(|number| (prefix(number), number as usize % 2))
        .collect();
    let mut fib = Fib::default();
    let plan = fib.plan(&sets, &wanted);
    fib.apply(&plan);
    let lost: Vec<_> = wanted.iter().map(|&(prefix, _)| (prefix, 0)).collect();
    let plan = fib.plan(&[Set::from([2])], &lost);
    assert_eq!(
        (plan.edit.len(), plan.len()),
        (2, 2),
        "both groups edited, no route moved"
    );
}

#[test]
fn duplicates_are_dissolved_beyond_the_bound() {
    let mut fib = Fib::default();
    for number in 0..100 {
        fib.groups.insert(number + 1, Set::from([1, number + 2]));
        fib.routes.insert(prefix(number), Some(number + 1));
    }
    let wanted: Vec<_> = (0..100).map(|number| (prefix(number), 0)).collect();
    let plan = fib.plan(&[Set::from([1])], &wanted);
    fib.apply(&plan);
    assert_eq!(fib.groups.len(), MOST_DUPLICATES + FEW_GROUPS);
}

#[test]
fn eviction_leaves_the_last_member_alone() {
    let groups = BTreeMap::from([
        (1, Set::from([1, 2])),
        (2, Set::from([1])),
        (3, Set::from([3])),
    ]);
    assert_eq!(evict(&groups, 1), [(1, Set::from([2]))]);
}

/// A state, what is wanted of it, and the one plan that does so with the fewest messages.
struct Case {
    name: &'static str,
    groups: &'static [(u32, &'static [u32])],
    /// Group of each route, by number.
    routes: &'static [u32],
    sets: &'static [&'static [u32]],
    /// Set of each route, by number.
    wanted: &'static [usize],
    plan: Plan,
}

fn set(members: &[u32]) -> Set {
    members.iter().copied().collect()
}

#[test]
fn each_situation_has_its_plan() {
    let none = Plan::default;
    let cases = [
        Case {
            name: "most routes of a group want another set: it is edited, the others move to a new one",
            groups: &[(7, &[1, 2])],
            routes: &[7, 7, 7, 7],
            sets: &[&[1], &[3]],
            wanted: &[0, 0, 0, 1],
            plan: Plan {
                create: vec![(1008, set(&[3]))],
                move_first: vec![(prefix(3), 1008)],
                edit: vec![(7, set(&[1]))],
                ..none()
            },
        },
        Case {
            name: "on a tie the group keeps the set that it has",
            groups: &[(7, &[3])],
            routes: &[7, 7],
            sets: &[&[1], &[3]],
            wanted: &[0, 1],
            plan: Plan {
                create: vec![(1008, set(&[1]))],
                move_first: vec![(prefix(0), 1008)],
                ..none()
            },
        },
        Case {
            name: "on a tie of others it takes the first",
            groups: &[(7, &[9])],
            routes: &[7, 7],
            sets: &[&[1], &[3]],
            wanted: &[0, 1],
            plan: Plan {
                create: vec![(1008, set(&[3]))],
                move_first: vec![(prefix(1), 1008)],
                edit: vec![(7, set(&[1]))],
                ..none()
            },
        },
        Case {
            name: "a route moves to a group that holds its set already",
            groups: &[(7, &[1]), (8, &[2])],
            routes: &[7, 8, 8],
            sets: &[&[1], &[2]],
            wanted: &[0, 1, 0],
            plan: Plan {
                move_first: vec![(prefix(2), 7)],
                ..none()
            },
        },
        Case {
            name: "a route moves after the edit to a group that will hold its set",
            groups: &[(7, &[1, 2]), (8, &[2])],
            routes: &[7, 7, 8, 8, 8],
            sets: &[&[1], &[2]],
            wanted: &[0, 0, 1, 1, 0],
            plan: Plan {
                edit: vec![(7, set(&[1]))],
                move_after: vec![(prefix(4), 7)],
                ..none()
            },
        },
        Case {
            name: "a group that no route wants is used for the set that it holds",
            groups: &[(7, &[1]), (8, &[2])],
            routes: &[7],
            sets: &[&[2], &[1]],
            wanted: &[1, 0],
            plan: Plan {
                move_first: vec![(prefix(1), 8)],
                ..none()
            },
        },
        Case {
            name: "what nobody wants any more goes, routes before groups",
            groups: &[(7, &[1]), (8, &[2])],
            routes: &[7, 8],
            sets: &[&[1]],
            wanted: &[0],
            plan: Plan {
                delete_routes: vec![prefix(1)],
                delete_groups: vec![8],
                ..none()
            },
        },
        Case {
            name: "a set that no route wants makes no group",
            groups: &[],
            routes: &[],
            sets: &[&[1], &[2]],
            wanted: &[1],
            plan: Plan {
                create: vec![(1001, set(&[2]))],
                move_first: vec![(prefix(0), 1001)],
                ..none()
            },
        },
    ];
    for case in cases {
        let sets: Vec<Set> = case.sets.iter().map(|members| set(members)).collect();
        let numbered = |number: usize| prefix(number as u32);
        let wanted = case.wanted.iter().enumerate();
        let wanted: Vec<_> = wanted
            .map(|(number, &set)| (numbered(number), set))
            .collect();
        let routes = case.routes.iter().enumerate();
        let mut fib = Fib {
            groups: case
                .groups
                .iter()
                .map(|&(id, members)| (id, set(members)))
                .collect(),
            routes: routes
                .map(|(number, &group)| (numbered(number), Some(group)))
                .collect(),
        };
        let plan = fib.plan(&sets, &wanted);
        assert_eq!(plan, case.plan, "{}", case.name);
        fib.apply_exactly(&plan, &sets, &wanted);
    }
}

#[test]
fn the_length_of_a_plan_counts_every_message() {
    let plan = Plan {
        create: vec![(1, Set::new()); 1],
        move_first: vec![(prefix(0), 1); 2],
        edit: vec![(1, Set::new()); 4],
        move_after: vec![(prefix(0), 1); 8],
        delete_routes: vec![prefix(0); 16],
        delete_groups: vec![1; 32],
    };
    assert_eq!(plan.len(), 63);
    assert!(!plan.is_empty() && Plan::default().is_empty());
}

#[test]
fn the_smallest_duplicates_are_dissolved_and_no_more_than_must_be() {
    // As many groups as are allowed, and two more; the routes of group n are n.
    let count = (MOST_DUPLICATES + FEW_GROUPS) as u32 + 2;
    let mut fib = Fib::default();
    let mut routes = 0;
    for group in 1..=count {
        fib.groups.insert(group, Set::from([1]));
        for _ in 0..group {
            fib.routes.insert(prefix(routes), Some(group));
            routes += 1;
        }
    }
    let wanted: Vec<_> = (0..routes).map(|number| (prefix(number), 0)).collect();
    let plan = fib.plan(&[Set::from([1])], &wanted);
    // The first is where all others move.
    assert_eq!(plan.delete_groups, [2, 3]);
    assert_eq!(plan.move_first.len(), 5);
    assert!(plan.move_first.iter().all(|&(_, group)| group == 1));
    fib.apply(&plan);
    assert!(fib.plan(&[Set::from([1])], &wanted).is_empty());
}
