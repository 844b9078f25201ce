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
    #[error("no message received for {after:?}")]
    Silent { after: Duration },
    #[error("connection failed")]
    Io(#[from] io::Error),
    #[error("closed by the other side")]
    Closed,
    #[error("the other side closed before it proved a key: it may have another one")]
    Refused,
    #[error("the other side has another key")]
    Key,
    #[error("received data is not of a beemesh daemon")]
    Garbage,
    #[error("encryption failed")]
    Noise(#[from] snow::Error),
    #[error(
        "a message of {bytes} bytes, at most {} are accepted",
        super::message::MAX_MESSAGE
    )]
    Oversize { bytes: usize },
    #[error("message not decodable")]
    Unreadable(#[from] serde_json::Error),
    #[error("the other side speaks versions {} to {}, this one {} to {}", .theirs.0, .theirs.1, .ours.0, .ours.1)]
    Version {
        theirs: (u32, u32),
        ours: (u32, u32),
    },
    #[error("too many connections from this address without a proof of the key")]
    Handshakes,
    #[error("report not accepted")]
    Report(#[from] linkstate::DecodeError),
    #[error(transparent)]
    Limit(#[from] linkstate::LimitExceeded),
    #[error("the other side is {found:?}")]
    Stranger { found: String },
    #[error("unexpected message: {message}")]
    Unexpected { message: &'static str },
    #[error("invalid name: {name:?}")]
    Name { name: String },
    #[error("more than {limit} {what} of one peer")]
    TooMany { what: &'static str, limit: usize },
    #[error("the key was removed")]
    KeyGone,
    #[error("replaced by a newer connection of the peer")]
    Replaced,
}

impl Error {
    /// True when the kernel of the other side ended the connection: it lives, the daemon there does not.
    pub(super) fn is_of_peers_kernel(&self) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
        match self {
            Error::Closed => true,
            Error::Io(error) => {
                matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
            }
            _ => false,
        }
    }

    /// True when nothing answered.
    pub(super) fn is_silence(&self) -> bool {
        use io::ErrorKind::{HostUnreachable, NetworkUnreachable, TimedOut};
        match self {
            Error::NoAnswer { .. } => true,
            Error::Io(error) => matches!(
                error.kind(),
                HostUnreachable | NetworkUnreachable | TimedOut
            ),
            _ => false,
        }
    }
}
