//! What users do and see, on a real cluster. One file for each subject; each lists its stories in `STORIES`.

use anyhow::Result;

use crate::world::World;

mod cluster;
mod install;

/// One thing that a user counts on. Its name is a sentence.
pub(crate) struct Story {
    pub(crate) name: &'static str,
    /// Whether it breaks or looks into nodes, and so cannot run on a cluster of the user's.
    pub(crate) needs_nodes: bool,
    /// Runs in a namespace of its own, which goes when it succeeds.
    pub(crate) tell: fn(&World) -> Result<()>,
}

/// All stories, in the order in which they run.
pub(crate) fn all() -> Vec<&'static Story> {
    [cluster::STORIES, install::STORIES]
        .into_iter()
        .flatten()
        .collect()
}
