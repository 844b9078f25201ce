//! What users do and see, on a real cluster. One file for each subject; each lists its stories in `STORIES`.

use anyhow::Result;

use crate::world::World;

/// A [`Story`] by its function; with `nodes`, one that breaks or looks into nodes.
macro_rules! story {
    ($tell:ident) => {
        crate::stories::Story {
            name: stringify!($tell),
            needs_nodes: false,
            tell: $tell,
        }
    };
    ($tell:ident, nodes) => {
        crate::stories::Story {
            name: stringify!($tell),
            needs_nodes: true,
            tell: $tell,
        }
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
mod statics;
mod tenants;

/// One thing that a user counts on. Its name is a sentence.
pub(crate) struct Story {
    pub(crate) name: &'static str,
    /// Whether it breaks or looks into nodes, and so cannot run on a cluster of the user's.
    pub(crate) needs_nodes: bool,
    /// Runs in a namespace of its own, which goes when it succeeds.
    pub(crate) tell: fn(&World) -> Result<()>,
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
        kills::STORIES,
        api_away::STORIES,
        helm::STORIES,
    ]
    .into_iter()
    .flatten()
    .collect()
}
