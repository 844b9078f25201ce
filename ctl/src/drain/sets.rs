//! Sets of names of a drain: union, difference, intersection. Pure.

use crds::topology::Drain;
use std::collections::BTreeSet;

/// Each name once, in byte order.
pub(super) fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names.dedup();
    names
}

/// Names of either.
pub(super) fn union(one: &Drain, other: &Drain) -> Drain {
    each(one, other, |one, other| sorted([one, other].concat()))
}

/// Names of the first alone.
pub(super) fn minus(one: &Drain, other: &Drain) -> Drain {
    kept(one, other, false)
}

/// Names of both.
pub(super) fn common(one: &Drain, other: &Drain) -> Drain {
    kept(one, other, true)
}

fn kept(one: &Drain, other: &Drain, is_in_other: bool) -> Drain {
    each(one, other, |one, other| {
        let other: BTreeSet<&String> = other.iter().collect();
        let is_kept = |name: &&String| other.contains(*name) == is_in_other;
        one.iter().filter(is_kept).cloned().collect()
    })
}

fn each(one: &Drain, other: &Drain, make: impl Fn(&[String], &[String]) -> Vec<String>) -> Drain {
    Drain {
        forwarders: make(&one.forwarders, &other.forwarders),
        links: make(&one.links, &other.links),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(forwarders: &[&str]) -> Drain {
        Drain {
            forwarders: forwarders.iter().map(ToString::to_string).collect(),
            links: Vec::new(),
        }
    }

    #[test]
    fn sets_of_names_are_joined_and_parted() {
        let (one, other) = (drain(&["c", "a"]), drain(&["b", "a"]));
        assert_eq!(union(&one, &other), drain(&["a", "b", "c"]));
        assert_eq!(minus(&one, &other), drain(&["c"]));
        assert_eq!(common(&one, &other), drain(&["a"]));
    }
}
