//! The report of one node on the ends of one Forwarder's links.

use alloc::collections::BTreeMap;
use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::evidence::End;

/// Position of a report in the order of its origin's reports.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Sequence {
    /// Grows from start to start of the origin, also where it lost its count.
    pub incarnation: u64,
    /// Grows by one with each report or withdrawal of the origin, over all its Forwarders.
    pub number: u64,
}

impl Sequence {
    /// The one after this, in the same incarnation.
    #[must_use]
    pub fn next(self) -> Sequence {
        Sequence {
            number: self.number.saturating_add(1),
            ..self
        }
    }
}

/// The ends of one Forwarder's links, as the node that the Forwarder is on reports them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Name of the node that observes.
    pub origin: String,
    /// Key of the Forwarder: its object's name, in a cluster after its namespace and a dot.
    pub forwarder: String,
    /// Position in the order of the origin's reports.
    pub sequence: Sequence,
    /// The Forwarder's end of each link, by link id.
    pub ends: BTreeMap<String, End>,
}

impl Report {
    /// Ids of the links whose end is worse in this report than in `before`: it passed packets and no longer does, or it was the last
    /// resort and is down.
    pub fn fallen<'a>(&'a self, before: Option<&'a Report>) -> impl Iterator<Item = &'a str> {
        let rank = |end: Option<&End>| end.map(|end| (end.passes(), !end.is_down()));
        let known = before.into_iter().flat_map(|before| &before.ends);
        let is_worse = move |(id, end): &(&String, &End)| {
            rank(self.ends.get(*id)).unwrap_or_default() < rank(Some(*end)).unwrap_or_default()
        };
        known.filter(is_worse).map(|(id, _)| id.as_str())
    }
}
