//! Errors between a desired state and the kernel.

use std::{io, time::Duration};

use nix::libc;

/// Error of this crate; [`Error::is_transient`] tells whether a retry may help.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error("failed to {action} {object}")]
    System {
        /// Failed action, an infinitive: `open`.
        action: &'static str,
        /// Object of the action.
        object: String,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The kernel refused a netlink request.
    #[error("failed to program {object}")]
    Refused {
        /// Object to create, change or delete.
        object: String,
        /// Error number and message of the kernel (extended ACK).
        source: Rejection,
    },
    /// A foreign object without our mark exists in place of ours. It was left unchanged.
    #[error("failed to program {object}: one that is not beemesh's is in the way")]
    Foreign {
        /// The foreign object.
        object: String,
    },
    /// A named network namespace does not exist.
    #[error("failed to find network namespace {netns}")]
    NoNamespace {
        /// Name of the namespace.
        netns: String,
    },
    /// A path leads to something else than a network namespace.
    #[error("failed to open {path}: it is not a network namespace")]
    NotNamespace {
        /// The path.
        path: String,
    },
    /// The kernel did not answer within the time limit.
    #[error("failed to get an answer from the kernel within {limit:?}")]
    Timeout {
        /// The time limit.
        limit: Duration,
    },
    /// Messages were lost or a dump was interrupted: observe again.
    #[error("failed to read a consistent state: {reason}")]
    Resync {
        /// Reason: lost messages or an interrupted dump.
        reason: &'static str,
    },
    /// An answer of the kernel could not be decoded.
    #[error("failed to read a netlink message: {reason}")]
    Malformed {
        /// Expected content.
        reason: &'static str,
    },
}

impl Error {
    /// True when the same call may succeed later with nothing else changed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::Resync { .. } => true,
            Self::Refused { source, .. } => source.is_transient(),
            Self::System { source, .. } => matches!(
                source.raw_os_error(),
                Some(
                    libc::EAGAIN
                        | libc::EINTR
                        | libc::EBUSY
                        | libc::ENOBUFS
                        | libc::ENOMEM
                        | libc::EMFILE
                )
            ),
            Self::Foreign { .. }
            | Self::NoNamespace { .. }
            | Self::NotNamespace { .. }
            | Self::Malformed { .. } => false,
        }
    }

    /// A [`Error::System`] from the last system call.
    pub(crate) fn system(
        action: &'static str,
        object: impl Into<String>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self::System {
            action,
            object: object.into(),
            source: source.into(),
        }
    }
}

/// The kernel's refusal of one message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}", io::Error::from_raw_os_error(*.errno), display(.message))]
pub struct Rejection {
    /// Index of the message in the batch, from 0.
    pub index: usize,
    /// Positive error number: `libc::EEXIST`.
    pub errno: i32,
    /// The kernel's own words (extended ACK), empty when it gave none.
    pub message: String,
}

impl Rejection {
    /// True when the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(
            self.errno,
            libc::EAGAIN
                | libc::EBUSY
                | libc::ENOBUFS
                | libc::ENOMEM
                | libc::ENETDOWN
                | libc::EINTR
        )
    }
}

fn display(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    }
}
