use std::net::Ipv4Addr;

use proptest::{collection, prelude::*};

use super::*;

/// What routing would look like: the kernel's rules for groups, and no more.
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
        fib.apply(&plan);
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
