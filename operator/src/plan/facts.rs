//! Findings of one plan that a status is made from.

use crds::Problem;

use super::{Convergence, Observed};

/// Input of [`crate::status::next`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The `metadata.generation` that they are about.
    pub generation: i64,
    /// Reasons for which the declaration is rejected; empty when it is accepted.
    pub problems: Vec<Problem>,
    /// One CamelCase word for `problems`.
    pub rejected: String,
    /// Fields of the declaration that this version does not have.
    pub ignored: Vec<String>,
    /// Nodes that match `forwarderPerNode` and cannot have a Forwarder.
    pub left_out: Vec<String>,
    /// Writes that are still to be made.
    pub writing: Writing,
    /// Epoch of the graph with all links up; empty when the declaration is rejected.
    pub epoch: String,
    /// Digest of all tables; empty when the declaration is rejected.
    pub digest: String,
    /// Comparison of nodes' reports with the computed tables; `None` when nothing can be compared.
    pub convergence: Option<Convergence>,
}

/// Writes that are still to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writing {
    /// Names of Forwarders whose objects are not as they should be.
    pub missing: Vec<String>,
    /// Number of objects that should not be there.
    pub surplus: usize,
    /// Obstacle that keeps writes back.
    pub blocked: Option<String>,
}

impl Facts {
    /// Facts of a declaration with these problems, before anything is computed.
    pub fn of(observed: &Observed, problems: Vec<Problem>) -> Facts {
        Facts {
            generation: observed.generation,
            problems,
            ..Facts::default()
        }
    }

    /// Facts of an object that cannot be read as a topology.
    pub fn unreadable(generation: i64, problems: Vec<Problem>) -> Facts {
        Facts {
            generation,
            problems,
            rejected: "Invalid".to_owned(),
            ..Facts::default()
        }
    }
}

impl Writing {
    /// True when every object is up to date.
    pub fn is_done(&self) -> bool {
        self.missing.is_empty() && self.surplus == 0 && self.blocked.is_none()
    }
}
