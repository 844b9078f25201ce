//! Messages between daemons.

use std::collections::BTreeSet;

use linkstate::{Report, Sequence, Versions};
use serde::{Deserialize, Serialize};

/// Largest message in bytes; a report on 8,000 links with long names fits.
pub(super) const MAX_MESSAGE: usize = 1 << 20;

/// Message, JSON on the wire. Unknown fields and types are ignored, so that a later version may add
/// both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub(super) enum Message {
    /// First message in both directions.
    Hello {
        /// Supported versions of the sender; absent without negotiation.
        #[serde(default)]
        speaks: Option<Versions>,
        /// Name of the sender's node.
        #[serde(default)]
        node: String,
        /// Random id of the sender's process.
        #[serde(default)]
        instance: String,
        /// Highest sequence of the receiver's reports that the sender knows.
        #[serde(default)]
        known: Sequence,
    },
    /// Sender's report on the links of one of its Forwarders.
    Report(Report),
    /// Withdrawal of the sender's report on a Forwarder.
    Withdrawn {
        /// Key of the Forwarder.
        forwarder: String,
        /// Sequence number of the withdrawal.
        sequence: Sequence,
    },
    /// End of a full synchronisation: the receiver removes the sender's other reports, except those
    /// of `pending` Forwarders.
    Whole {
        /// Forwarders that the sender has not yet observed.
        pending: BTreeSet<String>,
    },
    /// Keep-alive of the dialling side.
    Ping,
    /// Answer to a keep-alive.
    Pong,
    /// Type of a later version.
    #[serde(other)]
    Unknown,
}

impl Message {
    /// Type of the message.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Message::Hello { .. } => "hello",
            Message::Report { .. } => "report",
            Message::Withdrawn { .. } => "withdrawn",
            Message::Whole { .. } => "whole",
            Message::Ping => "ping",
            Message::Pong => "pong",
            Message::Unknown => "unknown",
        }
    }
}
