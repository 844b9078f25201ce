//! Errors of a connection to a peer.

pub(super) use ::telemetry::chain;
use std::io;
use std::time::Duration;

/// Error of one connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("no address of the node is known")]
    NoAddress,
    #[error("no answer within {after:?}")]
    NoAnswer { after: Duration },
    #[error("nothing was heard for {after:?}")]
    Silent { after: Duration },
    #[error("connection failed")]
    Io(#[from] io::Error),
    #[error("closed by the other side")]
    Closed,
    #[error("the other side closed before it had shown a key: it may have another one")]
    Refused,
    #[error("the other side has another key")]
    Key,
    #[error("what was received is not of a daemon of ours")]
    Garbage,
    #[error("encryption failed")]
    Noise(#[from] snow::Error),
    #[error(
        "a message of {bytes} bytes, at most {} are taken",
        super::message::MAX_MESSAGE
    )]
    Oversize { bytes: usize },
    #[error("a message that is not readable")]
    Unreadable(#[from] serde_json::Error),
    #[error("the other side speaks versions {} to {}, this one {} to {}", .theirs.0, .theirs.1, .ours.0, .ours.1)]
    Version {
        theirs: (u32, u32),
        ours: (u32, u32),
    },
    #[error("no slot is left for connections from this address that have not shown a key")]
    Handshakes,
    #[error("a report that is not taken")]
    Report(#[from] linkstate::DecodeError),
    #[error(transparent)]
    Limit(#[from] linkstate::LimitExceeded),
    #[error("the other side is {found:?}")]
    Stranger { found: String },
    #[error("a message that does not belong here: {message}")]
    Unexpected { message: &'static str },
    #[error("a name that cannot be one: {name:?}")]
    Name { name: String },
    #[error("more than {limit} {what} of one peer")]
    TooMany { what: &'static str, limit: usize },
    #[error("the key was taken out of use")]
    KeyGone,
    #[error("a newer connection of the same peer")]
    Replaced,
}
