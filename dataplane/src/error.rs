//! What can go wrong between a desired state and the kernel.

use std::{io, time::Duration};

use crate::netlink::Rejection;

/// A failure of this crate. [`Error::is_transient`] says whether trying again may help.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error("failed to {action} {object}")]
    System {
        /// What was tried, an infinitive: `open`.
        action: &'static str,
        /// What it was tried on.
        object: String,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The kernel refused a netlink request.
    #[error("failed to program {object}")]
    Refused {
        /// What was to be made, changed or deleted.
        object: String,
        /// The error number and the kernel's own words.
        source: Rejection,
    },
    /// Something without our mark is where ours should be. It was left as it is.
    #[error("failed to program {object}: one that is not beemesh's is in the way")]
    Foreign {
        /// What stands in the way.
        object: String,
    },
    /// A named network namespace does not exist.
    #[error("failed to find network namespace {netns}")]
    NoNamespace {
        /// Its name.
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
        /// Which of the two it was.
        reason: &'static str,
    },
    /// The kernel's answer could not be read.
    #[error("failed to read a netlink message: {reason}")]
    Malformed {
        /// What was expected.
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
