//! Links in the status of a Forwarder.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most links of a Forwarder of which the status has the directions: the first that are not up.
pub const MAX_DETAILED: usize = 64;
/// Longest [`LinkState::reason`] in characters.
pub const MAX_REASON: usize = 1_024;

/// One link as seen from one end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinkState {
    /// The link's id.
    pub id: String,
    /// True when this end can use the link.
    pub up: bool,
    /// `Up`; `Suspect` while no packet passes although the interfaces are up: it is used only where there is no other way; `Down`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<LinkHealth>,
    /// Reason why it is not up; empty when up.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Packets of the other Forwarder to this one, unless they pass. Of the first 64 links that are not up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receive: Option<LinkDirection>,
    /// Packets of this Forwarder to the other one, as `receive`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transmit: Option<LinkDirection>,
}

/// Health of a link, or of one of its directions.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum LinkHealth {
    /// No packet can pass.
    Down,
    /// No packet passes although the interfaces are up.
    Suspect,
    /// Packets pass.
    Up,
}

/// One direction of a link that passes no packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinkDirection {
    /// `Suspect` or `Down`.
    pub state: LinkHealth,
    /// Cause, one CamelCase word: `Silence`, `PeerSilence`, `NeverUp`, `Damped` of a suspect direction, `NoCarrier`, `AdminDown`,
    /// `Missing`, `Other`.
    pub reason: String,
    /// Forwarder whose node says so.
    pub by: String,
    /// Time since when this Forwarder's node has known it (RFC 3339).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub since: String,
    /// Diagnostic of BFD (RFC 5880, section 4.1); absent where there is none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub diagnostic: u8,
}

fn is_zero(diagnostic: &u8) -> bool {
    *diagnostic == 0
}

impl LinkState {
    /// Health of the link. Daemons of earlier versions report only whether it is up.
    pub fn health(&self) -> LinkHealth {
        self.state.unwrap_or(match self.up {
            true => LinkHealth::Up,
            false => LinkHealth::Down,
        })
    }
}
