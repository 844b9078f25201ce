//! What can stop a node, and what it can live with.

use std::io;
use std::path::PathBuf;

/// Why an operation of the node failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory could not be used.
    #[error("failed to {action} {}", path.display())]
    File {
        /// What was tried: `read`, `write`, `watch`, ...
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The directory could not be watched.
    #[error("failed to watch {}", path.display())]
    Watch {
        /// The directory.
        path: PathBuf,
        /// What inotify said.
        source: notify::Error,
    },
    /// Another daemon serves the socket already.
    #[error("failed to serve {}: another daemon answers there", path.display())]
    SocketInUse {
        /// The socket.
        path: PathBuf,
    },
    /// Another daemon has the state directory.
    #[error("failed to use {}: another daemon does", path.display())]
    StateInUse {
        /// The state directory.
        path: PathBuf,
    },
    /// The kernel could not be asked or did not do it.
    #[error("failed to look after {object}")]
    Kernel {
        /// Which interface or namespace.
        object: String,
        /// What the kernel said.
        source: Box<dataplane::Error>,
    },
    /// A thread or the runtime could not be started.
    #[error("failed to start {what}")]
    Start {
        /// The part that did not start.
        what: &'static str,
        /// What the system said.
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
    /// True where trying again later may help without anyone changing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::File { .. } | Error::Start { .. } => true,
            Error::Kernel { source, .. } => source.is_transient(),
            Error::Watch { .. } | Error::SocketInUse { .. } | Error::StateInUse { .. } => false,
        }
    }

    /// A closure that wraps an I/O error with what was tried on which file.
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

/// The first few by name, the rest by number.
pub(crate) fn enumerate(names: &[&str]) -> String {
    const FEW: usize = 5;
    let told = names[..names.len().min(FEW)].join(", ");
    match names.len().saturating_sub(FEW) {
        0 => told,
        rest => format!("{told} and {rest} more"),
    }
}
