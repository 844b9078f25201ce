//! Errors of the node daemon.

use std::io;
use std::path::PathBuf;

/// Error of an operation of the node daemon.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory could not be used.
    #[error("failed to {action} {}", path.display())]
    File {
        /// Failed action: `read`, `write`, `watch`, ...
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The directory could not be watched.
    #[error("failed to watch {}", path.display())]
    Watch {
        /// The directory.
        path: PathBuf,
        /// Error of inotify.
        source: notify::Error,
    },
    /// Another daemon serves the socket already.
    #[error("failed to serve {}: another daemon listens there", path.display())]
    SocketInUse {
        /// The socket.
        path: PathBuf,
    },
    /// Another daemon has the state directory.
    #[error("failed to use {}: another daemon uses it", path.display())]
    StateInUse {
        /// The state directory.
        path: PathBuf,
    },
    /// A kernel operation failed.
    #[error("kernel operation on {object} failed")]
    Kernel {
        /// Interface or network namespace.
        object: String,
        /// Error of the kernel.
        source: Box<dataplane::Error>,
    },
    /// A thread or the runtime could not be started.
    #[error("failed to start {what}")]
    Start {
        /// Name of the thread or runtime.
        what: &'static str,
        /// Error of the operating system.
        source: io::Error,
    },
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Error {
        let store::Error {
            action,
            path,
            source,
        } = error;
        Error::File {
            action,
            path,
            source,
        }
    }
}

impl From<store::lock::LockError> for Error {
    fn from(error: store::lock::LockError) -> Error {
        match error {
            store::lock::LockError::InUse { path } => Error::StateInUse { path },
            store::lock::LockError::File(error) => error.into(),
        }
    }
}

impl Error {
    /// True when a later retry may succeed without a change of configuration.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::File { .. } | Error::Start { .. } => true,
            Error::Kernel { source, .. } => source.is_transient(),
            Error::Watch { .. } | Error::SocketInUse { .. } | Error::StateInUse { .. } => false,
        }
    }

    /// Closure that wraps an I/O error with the action and the path.
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::File {
            action,
            path,
            source,
        }
    }
}

/// First few names, followed by the number of the others.
pub(crate) fn enumerate(names: &[&str]) -> String {
    const FEW: usize = 5;
    let told = names[..names.len().min(FEW)].join(", ");
    match names.len().saturating_sub(FEW) {
        0 => told,
        rest => format!("{told} and {rest} more"),
    }
}
