//! Files that survive a crash: atomic replacement, a journal, and a lock for one writer.
//!
//! ```text
//! atomic  bytes -> temporary file -> (sync) -> rename -> (sync of the directory)
//! journal record -> line with length and checksum -> (sync by a thread); damage costs the records that it touched
//! lock    one holder a directory; freed by the kernel when its holder dies
//! sealed  text with its checksum
//! ```
//! Knows: files and directories. Refuses to know: the meaning of the bytes.

#![forbid(unsafe_code)]

pub mod atomic;
pub mod journal;
pub mod lock;
pub mod sealed;

use std::io;
use std::path::PathBuf;

/// Failure of an operation on a file or directory.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action} {}", path.display())]
pub struct Error {
    /// The operation: `read`, `write`, `sync`, ...
    pub action: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// The system's answer.
    pub source: io::Error,
}

impl Error {
    /// A closure that wraps an I/O error with the operation and its file.
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error {
            action,
            path,
            source,
        }
    }
}
