//! Files that are seen whole or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Error;

/// Replaces the file at `path` by `bytes` so that it survives a power cut: temporary file, sync,
/// rename, sync of the directory.
///
/// # Errors
/// [`Error::File`]; the file is then as it was.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    replace(path, bytes, true)
}

/// Replaces the file at `path` by `bytes` in one step, without waiting for the disk.
///
/// # Errors
/// [`Error::File`]; the file is then as it was.
pub(crate) fn publish(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    replace(path, bytes, false)
}

fn replace(path: &Path, bytes: &[u8], durable: bool) -> Result<(), Error> {
    let temporary = temporary(path);
    let written = (|| {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        if durable {
            file.sync_all()?;
        }
        fs::rename(&temporary, path)?;
        match path.parent() {
            Some(directory) if durable => File::open(directory)?.sync_all(),
            _ => Ok(()),
        }
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(Error::file("write", path))
}

/// A hidden name beside `path`, its own for each process and call.
fn temporary(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.{number}.tmp", std::process::id()))
}
