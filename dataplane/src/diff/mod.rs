//! Operations that change the observed state into the desired one. Pure.

mod routing;
mod structure;

pub use routing::{FIRST_GROUP, routing};
pub(crate) use structure::is_same;
pub use structure::structure;

use crate::{
    Error,
    operation::{Failure, Operation},
};

/// Operations in the order in which they are to be applied, and what cannot be done because something foreign is in the way.
#[derive(Debug, Default)]
pub struct Diff {
    /// Operations to apply.
    pub operations: Vec<Operation>,
    /// Objects that are not ours where ours should be.
    pub conflicts: Vec<Failure>,
}

impl Diff {
    /// True when there is nothing to do and nothing in the way.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty() && self.conflicts.is_empty()
    }

    fn conflict(&mut self, netns: &str, object: String) {
        let source = Error::Foreign {
            object: format!("{object} in {netns}"),
        };
        self.conflicts.push(Failure {
            netns: netns.to_owned(),
            operation: object,
            source,
        });
    }
}

#[cfg(test)]
mod tests;
