//! Failures of a diagnosis.

use std::io;
use std::path::PathBuf;

/// Error that ends a diagnosis without output.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel state could not be read.
    #[error("failed to read the kernel's state")]
    Kernel(#[from] dataplane::Error),
    /// The lease journal exists and is unreadable.
    #[error("failed to read {}", path.display())]
    Journal {
        /// Path of the journal.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The pod has no lease on this node.
    #[error("no lease of a pod {0} on this node")]
    NoLease(String),
    /// Packets could not be sent or received.
    #[error("failed to {what}")]
    Probe {
        /// Name of the probe: `trace to fd00::1`, ...
        what: String,
        /// Error of the operating system.
        source: io::Error,
    },
    /// Threads for probes could not be started.
    #[error("failed to start threads")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// stdout could not be written.
    #[error("failed to write to stdout")]
    Write(#[source] io::Error),
}
