//! Failures of a diagnosis.

use std::io;
use std::path::PathBuf;

/// Why a diagnosis printed nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel could not be asked.
    #[error("failed to read the kernel's state")]
    Kernel(#[from] dataplane::Error),
    /// There is a lease journal, and it cannot be read.
    #[error("failed to read {}", path.display())]
    Journal {
        /// The journal.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The pod has no lease on this node.
    #[error("no lease of a pod {0} on this node")]
    NoLease(String),
    /// Packets could not be sent or received.
    #[error("failed to {what}")]
    Probe {
        /// The probe: `trace to fd00::1`, ...
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// Threads for probes could not be started.
    #[error("failed to start threads")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// stdout could not be written.
    #[error("failed to write to stdout")]
    Write(#[source] io::Error),
}
