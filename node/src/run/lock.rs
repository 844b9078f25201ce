//! One daemon at a time for a state directory.

use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;

/// Makes sure that nobody else writes the journal. The kernel frees the lock when the last thread
/// of its holder is gone, a moment after the holder was killed: that is waited for, up to `patience`.
pub(super) fn lock(state_dir: &Path, patience: Duration) -> Result<File, Error> {
    fs::create_dir_all(state_dir).map_err(Error::file("create", state_dir))?;
    let path = state_dir.join("lock");
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
        let lock = |patience| lock(directory.path(), patience);
        let held = lock(Duration::ZERO).unwrap();
        let refused = lock(Duration::from_millis(20));
        assert!(matches!(refused, Err(Error::StateInUse { .. })));
        drop(held);
        lock(Duration::ZERO).unwrap();
    }
}
