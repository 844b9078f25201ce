//! Files that are seen whole or not at all.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Error;

/// Replaces the file at `path` by `bytes` so that it survives a power cut: temporary file, sync,
/// rename, sync of the directory.
///
/// # Errors
/// [`Error`]; the file is then as it was.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write_unsettled(path, bytes)?;
    settle(path.parent().unwrap_or(Path::new(".")))
}

/// As [`write()`], but the name survives a power cut only after [`settle`]: for many files at once.
///
/// # Errors
/// [`Error`]; the file is then as it was.
pub fn write_unsettled(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    replace(path, None, true, |file| file.write_all(bytes))
}

/// Makes the names in `directory` survive a power cut.
///
/// # Errors
/// [`Error`].
pub fn settle(directory: &Path) -> Result<(), Error> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(Error::file("sync", directory))
}

/// Replaces the file at `path` by `bytes` in one step, without waiting for the disk.
///
/// # Errors
/// [`Error`]; the file is then as it was.
pub fn publish(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    replace(path, None, false, |file| file.write_all(bytes))
}

/// As [`write()`], of exactly this mode, with what `fill` writes.
///
/// # Errors
/// [`Error`]; the file is then as it was.
pub fn place<T>(
    path: &Path,
    mode: u32,
    fill: impl FnOnce(&mut File) -> io::Result<T>,
) -> Result<(), Error> {
    replace(path, Some(mode), true, |file| fill(file).map(drop))?;
    settle(path.parent().unwrap_or(Path::new(".")))
}

fn replace(
    path: &Path,
    mode: Option<u32>,
    durable: bool,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), Error> {
    let temporary = temporary(path);
    let written = (|| {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        let mut file = options.mode(mode.unwrap_or(0o666)).open(&temporary)?;
        fill(&mut file)?;
        if let Some(mode) = mode {
            // The process's mask took some of it away.
            file.set_permissions(Permissions::from_mode(mode))?;
        }
        if durable {
            file.sync_all()?;
        }
        // A program that is still open for writing cannot be executed.
        drop(file);
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(Error::file("write", path))
}

/// Removes what writers of `path` left behind that were killed. Nobody else may be writing it.
///
/// # Errors
/// [`Error`].
pub fn sweep(path: &Path) -> Result<(), Error> {
    for left in leftovers(path)? {
        fs::remove_file(&left).map_err(Error::file("remove", &left))?;
    }
    Ok(())
}

/// Removes what killed writers left of any file in `directory`. No file in it may be being written.
///
/// # Errors
/// [`Error`]; an absent directory is clean.
pub fn sweep_directory(directory: &Path) -> Result<(), Error> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(Error::file("read", directory))?,
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        if is_temporary(&path) {
            fs::remove_file(&path).map_err(Error::file("remove", &path))?;
        }
    }
    Ok(())
}

/// `.NAME.PROCESS.NUMBER.tmp`, as [`temporary`] makes it.
fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let number = |part: Option<&str>| part.is_some_and(|part| part.parse::<u64>().is_ok());
    let inner = name
        .strip_prefix('.')
        .and_then(|name| name.strip_suffix(".tmp"));
    inner.is_some_and(|inner| {
        let mut parts = inner.rsplit('.');
        number(parts.next()) && number(parts.next()) && parts.next().is_some()
    })
}

/// Temporary files that killed writers of `path` left behind.
///
/// # Errors
/// [`Error`] when the directory cannot be read.
pub fn leftovers(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let start = format!(".{name}.");
    let is_left = |path: &PathBuf| {
        let found = path.file_name().unwrap_or_default().to_string_lossy();
        found.starts_with(&start) && found.ends_with(".tmp")
    };
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::file("read", directory))?,
    };
    Ok(entries
        .flatten()
        .map(|entry| entry.path())
        .filter(is_left)
        .collect())
}

/// A hidden name beside `path`, its own for each process and call.
fn temporary(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.{number}.tmp", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_of_killed_writers_are_swept_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let here = |name: &str| directory.path().join(name);
        for name in ["known.json", "leases.journal"] {
            // As a kill between the write and the rename leaves it.
            fs::write(temporary(&here(name)), "half").unwrap();
            fs::write(here(name), "whole").unwrap();
        }
        for other in [".hidden", "notes.tmp", ".x.tmp", ".a.b.tmp"] {
            fs::write(here(other), "somebody's").unwrap();
        }
        sweep_directory(directory.path()).unwrap();
        let names = fs::read_dir(directory.path()).unwrap().flatten();
        let mut names: Vec<_> = names.map(|entry| entry.file_name()).collect();
        names.sort();
        let left = [
            ".a.b.tmp",
            ".hidden",
            ".x.tmp",
            "known.json",
            "leases.journal",
            "notes.tmp",
        ];
        assert_eq!(names, left);
        sweep_directory(&here("absent")).unwrap();
    }
}
