//! What daemons say to one another.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// The version of all of this. Daemons of different ones do not talk.
pub(super) const VERSION: u32 = 1;

/// One message, JSON on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub(super) enum Message {
    /// The first one, both ways.
    Hello {
        version: u32,
        /// Who says it.
        #[serde(default)]
        node: String,
        /// Differs from start to start.
        #[serde(default)]
        instance: String,
    },
    /// What the sender sees of the links of one of its Forwarders.
    Report {
        forwarder: String,
        seq: u64,
        links: BTreeMap<String, bool>,
    },
    /// A Forwarder is no longer the sender's.
    Withdrawn { forwarder: String },
    /// Everything was told: what else is known of the sender is no longer so, but for what it has
    /// yet to look at.
    Whole { unsaid: BTreeSet<String> },
    /// A sign of life, of who dialled.
    Ping,
    /// The answer to it.
    Pong,
    /// What only later versions know.
    #[serde(other)]
    Unknown,
}

impl Message {
    /// What kind of message it is.
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
