//! Messages between daemons.

use std::collections::BTreeSet;

use linkstate::{Report, Sequence, Versions};
use serde::{Deserialize, Serialize};

/// Largest message in bytes; a report on 8,000 links with long names fits.
pub(super) const MAX_MESSAGE: usize = 1 << 20;

/// One message, JSON on the wire. Unknown fields and unknown kinds are ignored, so that a later version may add both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub(super) enum Message {
    /// The first one, both ways.
    Hello {
        /// Versions that the sender speaks; none of daemons that do not negotiate.
        #[serde(default)]
        speaks: Option<Versions>,
        /// Name of the sender's node.
        #[serde(default)]
        node: String,
        /// Differs from start to start.
        #[serde(default)]
        instance: String,
        /// Highest sequence of the receiver's reports that the sender knows.
        #[serde(default)]
        known: Sequence,
    },
    /// The report of the sender on the links of one of its Forwarders.
    Report(Report),
    /// A Forwarder is no longer the sender's.
    Withdrawn {
        /// Its key.
        forwarder: String,
        /// Position in the order of the sender's reports.
        sequence: Sequence,
    },
    /// Everything was reported: what else is known of the sender is over, but for Forwarders that it has yet to look at.
    Whole {
        /// These Forwarders.
        pending: BTreeSet<String>,
    },
    /// A sign of life, of who dialled.
    Ping,
    /// The answer to it.
    Pong,
    /// A kind that only later versions know.
    #[serde(other)]
    Unknown,
}

impl Message {
    /// The kind of the message.
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
