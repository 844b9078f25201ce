//! User stories on a real cluster. One file for each subject; each lists its stories in `STORIES`.

use anyhow::Result;

use crate::world::World;

/// A [`Story`] by its function; with `nodes`, one that breaks or looks into nodes; with `core`, one of the core set.
macro_rules! story {
    ($tell:ident $(, $property:ident)*) => {
        crate::stories::Story {
            name: stringify!($tell),
            needs_nodes: false,
            is_core: false,
            tell: $tell,
        }$(.$property())*
    };
}

mod adoption;
mod api_away;
mod bad;
mod cluster;
mod deletion;
mod external;
mod families;
mod first;
mod gc;
mod helm;
mod install;
mod kills;
mod multus;
mod names;
mod nodes;
mod plugin;
mod relabel;
mod ring;
mod scale;
mod silence;
mod statics;
mod tenants;

/// One thing that a user counts on. Its name is a sentence.
pub(crate) struct Story {
    pub(crate) name: &'static str,
    /// True when the story breaks or inspects nodes, and so cannot run on a user's cluster.
    pub(crate) needs_nodes: bool,
    /// True for a story of every run, however little time there is.
    pub(crate) is_core: bool,
    /// Runs in a namespace of its own, which goes when it succeeds.
    pub(crate) tell: fn(&World) -> Result<()>,
}

impl Story {
    const fn nodes(mut self) -> Self {
        self.needs_nodes = true;
        self
    }

    const fn core(mut self) -> Self {
        self.is_core = true;
        self
    }
}

/// The core set in its order, then the others, beginning at the `turn`-th of them and going round.
pub(crate) fn in_turn(stories: Vec<&Story>, turn: u64) -> Vec<&Story> {
    let (mut core, mut others): (Vec<_>, Vec<_>) =
        stories.into_iter().partition(|story| story.is_core);
    let first = turn.checked_rem(others.len() as u64).unwrap_or(0);
    others.rotate_left(usize::try_from(first).unwrap_or(0));
    core.append(&mut others);
    core
}

/// All stories, in the order in which they run: what breaks more comes later, what removes beemesh last.
pub(crate) fn all() -> Vec<&'static Story> {
    [
        cluster::STORIES,
        install::STORIES,
        first::STORIES,
        ring::STORIES,
        tenants::STORIES,
        families::STORIES,
        names::STORIES,
        external::STORIES,
        bad::STORIES,
        relabel::STORIES,
        statics::STORIES,
        deletion::STORIES,
        multus::STORIES,
        scale::STORIES,
        plugin::STORIES,
        gc::STORIES,
        adoption::STORIES,
        nodes::STORIES,
        silence::STORIES,
        kills::STORIES,
        api_away::STORIES,
        helm::STORIES,
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(turn: u64) -> Vec<&'static str> {
        let stories = in_turn(all(), turn);
        stories.iter().map(|story| story.name).collect()
    }

    #[test]
    fn the_core_set_comes_first_and_each_other_story_has_its_turn() {
        let core = all().iter().filter(|story| story.is_core).count();
        let others = all().len() - core;
        assert!(core > 5 && others > core, "{core} of {}", all().len());
        let first = names(0);
        for turn in 0..others {
            let names = names(turn as u64);
            assert_eq!(names[..core], first[..core], "turn {turn}");
            assert_eq!(names[core], first[core + turn], "turn {turn}");
            let unique: std::collections::BTreeSet<_> = names.iter().collect();
            assert_eq!(unique.len(), all().len(), "turn {turn}");
        }
        assert_eq!(names(others as u64), first, "round again");
    }

    #[test]
    fn any_commit_is_a_turn() {
        assert_eq!(names(u64::MAX).len(), all().len());
        assert!(in_turn(vec![], 7).is_empty());
    }
}
