//! Doubts of the liveness protocol about a link whose interfaces are up.

use crate::state::Reason;

/// Doubt of the liveness protocol about one direction of a link whose interface is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspicion {
    /// Cause of the doubt.
    pub reason: Reason,
    /// As [`crate::Evidence::diagnostic`].
    pub diagnostic: u8,
}

/// Verdict of the liveness protocol on one end of a link. A direction without a suspicion is alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathVerdict {
    /// Packets of the other end to this one.
    pub receive: Option<Suspicion>,
    /// Packets of this end to the other one.
    pub transmit: Option<Suspicion>,
}

impl PathVerdict {
    /// The verdict on a link that passes packets both ways.
    pub const ALIVE: PathVerdict = PathVerdict {
        receive: None,
        transmit: None,
    };

    /// True when packets pass both ways.
    pub fn is_alive(&self) -> bool {
        *self == PathVerdict::ALIVE
    }
}
