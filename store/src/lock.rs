//! A lock on a directory: one holder at a time, freed by the kernel when the holder dies.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(5);

/// Error of a directory that is not locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds the lock.
    #[error("{} is in use by another process", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The lock file could not be used.
    #[error(transparent)]
    File(#[from] crate::Error),
}

/// The lock of a directory, held until it is dropped: an exclusive `flock` on `DIRECTORY/lock`.
#[derive(Debug)]
pub struct Lock {
    directory: PathBuf,
    file: Mutex<File>,
}

impl Lock {
    /// Makes the directory where it is missing, and waits up to `patience` for another holder to end.
    ///
    /// # Errors
    /// [`LockError::InUse`] when it does not.
    pub fn take(directory: &Path, patience: Duration) -> Result<Lock, LockError> {
        Ok(Lock {
            file: Mutex::new(lock(directory, patience)?),
            directory: directory.to_owned(),
        })
    }

    /// Takes the lock again after its file was removed, which would unlock the directory for other processes.
    ///
    /// # Errors
    /// [`LockError::InUse`] when another process locked the directory since.
    pub fn keep(&self) -> Result<(), LockError> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_current(&path(&self.directory), &file) {
            *file = lock(&self.directory, Duration::ZERO)?;
        }
        Ok(())
    }
}

fn path(directory: &Path) -> PathBuf {
    directory.join("lock")
}

/// Compares the open file with the file of that name: a removed file locks nothing.
fn is_current(path: &Path, open: &File) -> bool {
    let named = fs::metadata(path).and_then(|named| Ok((named, open.metadata()?)));
    named.is_ok_and(|(named, open)| (named.dev(), named.ino()) == (open.dev(), open.ino()))
}

/// The kernel frees the lock when the last thread of its holder is gone, a moment after the holder was killed: that
/// is waited for, up to `patience`.
fn lock(directory: &Path, patience: Duration) -> Result<File, LockError> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(file) = try_lock(directory)? {
            return Ok(file);
        }
        if Instant::now() >= deadline {
            let path = directory.to_owned();
            return Err(LockError::InUse { path });
        }
        thread::sleep(PAUSE);
    }
}

/// `None` when another process holds the lock, or removed its file in between.
fn try_lock(directory: &Path) -> Result<Option<File>, crate::Error> {
    fs::create_dir_all(directory).map_err(crate::Error::file("create", directory))?;
    let path = path(directory);
    let opened = OpenOptions::new().create(true).append(true).open(&path);
    let file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(crate::Error::file("create", &path))?,
    };
    match file.try_lock() {
        Ok(()) => Ok(is_current(&path, &file).then_some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(crate::Error::file("lock", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_has_one_daemon_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let lock = |patience| Lock::take(directory.path(), patience);
        let held = lock(Duration::ZERO).unwrap();
        let refused = lock(Duration::from_millis(20));
        assert!(matches!(refused, Err(LockError::InUse { .. })));
        drop(held);
        lock(Duration::ZERO).unwrap();
    }

    #[test]
    fn a_lock_that_is_removed_is_taken_again_unless_another_has_it() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let take = || Lock::take(&state, Duration::ZERO);
        let first = take().unwrap();
        first.keep().unwrap();
        fs::remove_dir_all(&state).unwrap();
        first.keep().unwrap();
        assert!(matches!(take(), Err(LockError::InUse { .. })));
        fs::remove_dir_all(&state).unwrap();
        let second = take().unwrap();
        assert!(matches!(first.keep(), Err(LockError::InUse { .. })));
        second.keep().unwrap();
        drop(second);
        first.keep().unwrap();
    }
}
