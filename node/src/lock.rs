//! One daemon at a time for a state directory.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;

/// Makes sure that nobody else writes the journal, until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    state_dir: PathBuf,
    file: Mutex<File>,
}

impl Lock {
    /// Waits up to `patience` for another daemon to end.
    ///
    /// # Errors
    /// [`Error::StateInUse`] when it does not.
    pub(crate) fn take(state_dir: &Path, patience: Duration) -> Result<Lock, Error> {
        Ok(Lock {
            file: Mutex::new(lock(state_dir, patience)?),
            state_dir: state_dir.to_owned(),
        })
    }

    /// Takes the lock again where somebody removed the file, and with it the lock for whoever comes.
    ///
    /// # Errors
    /// [`Error::StateInUse`] when another daemon came since: the state is its own.
    pub(crate) fn keep(&self) -> Result<(), Error> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let named = fs::metadata(path(&self.state_dir));
        let named = named.and_then(|named| Ok((named, file.metadata()?)));
        if !named.is_ok_and(|(named, held)| (named.dev(), named.ino()) == (held.dev(), held.ino()))
        {
            *file = lock(&self.state_dir, Duration::ZERO)?;
        }
        Ok(())
    }
}

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("lock")
}

/// The kernel frees the lock when the last thread
/// of its holder is gone, a moment after the holder was killed: that is waited for, up to `patience`.
fn lock(state_dir: &Path, patience: Duration) -> Result<File, Error> {
    fs::create_dir_all(state_dir).map_err(Error::file("create", state_dir))?;
    let path = path(state_dir);
    let file = File::create(&path).map_err(Error::file("create", &path))?;
    let deadline = Instant::now() + patience;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(5));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(Error::StateInUse {
                    path: state_dir.to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(Error::file("lock", path)(error)),
        }
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
        assert!(matches!(refused, Err(Error::StateInUse { .. })));
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
        assert!(matches!(take(), Err(Error::StateInUse { .. })));
        fs::remove_dir_all(&state).unwrap();
        let second = take().unwrap();
        assert!(matches!(first.keep(), Err(Error::StateInUse { .. })));
        second.keep().unwrap();
        drop(second);
        first.keep().unwrap();
    }
}
