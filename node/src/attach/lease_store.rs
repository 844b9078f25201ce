//! The leases and the journal that they live in: what is not written did not happen.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::attach::journal::{Damage, Journal};
use crate::attach::leases::{Leases, Record};
use crate::error::Error;
use store::lock::Lock;

/// Name of the journal in the state directory.
pub const FILE: &str = "leases.journal";

/// The journal is rewritten once it is above this many bytes and mostly history.
const COMPACT_BYTES: u64 = 1 << 20;

/// Leases with their journal.
#[derive(Debug)]
pub struct LeaseStore {
    journal: Journal,
    leases: Leases,
    /// The boot, while there was no room to write it down.
    unwritten: Option<Record>,
    compacted: u64,
    state_dir: PathBuf,
    lock: Option<Arc<Lock>>,
}

impl LeaseStore {
    /// Reads the book in `state_dir`, or begins one, for the boot `boot`. What was damaged is told.
    /// That nothing more can be written is no error before there is a lease to write down: all else
    /// that the node does needs no room.
    ///
    /// # Errors
    /// [`Error::File`] when the journal cannot be read or opened.
    pub fn open(state_dir: &Path, boot: &str) -> Result<(LeaseStore, Vec<Damage>), Error> {
        fs::create_dir_all(state_dir).map_err(Error::file("create", state_dir))?;
        let (journal, recovered) = Journal::open::<Record>(&state_dir.join(FILE))?;
        let leases = Leases::replay(&recovered.records);
        let mut book = LeaseStore {
            journal,
            leases,
            unwritten: None,
            compacted: 0,
            state_dir: state_dir.to_owned(),
            lock: None,
        };
        if book.leases.boot() != Some(boot) {
            let id = boot.to_owned();
            book.leases.apply(&Record::Boot { id: id.clone() });
            book.unwritten = Some(Record::Boot { id });
            if let Err(error) = book.catch_up() {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "no lease is given before the journal can be written"
                );
            }
        }
        Ok((book, recovered.damage))
    }

    /// Rewrites the journal only while this daemon has the state directory.
    #[must_use]
    pub(crate) fn under(self, lock: Arc<Lock>) -> LeaseStore {
        LeaseStore {
            lock: Some(lock),
            ..self
        }
    }

    /// Writes `record`, then takes the step.
    ///
    /// # Errors
    /// [`Error::File`]: the step was not taken.
    pub fn record(&mut self, record: Record) -> Result<(), Error> {
        self.catch_up()?;
        self.journal.append(&record)?;
        self.leases.apply(&record);
        Ok(())
    }

    /// Writes the boot before anything that is of it.
    fn catch_up(&mut self) -> Result<(), Error> {
        if let Some(boot) = &self.unwritten {
            self.journal.append(boot)?;
            self.unwritten = None;
        }
        Ok(())
    }

    /// Rewrites the journal to what it amounts to.
    ///
    /// # Errors
    /// [`Error::File`]: the journal is as it was.
    pub fn compact(&mut self) -> Result<(), Error> {
        self.journal.compact(&self.leases.to_records())?;
        self.unwritten = None;
        self.compacted = self.journal.len();
        Ok(())
    }

    /// Compacts when that gives back most of a large file. Writes the journal anew, and makes its
    /// directory, where somebody removed it under a daemon that runs.
    ///
    /// # Errors
    /// As [`LeaseStore::compact`]; [`Error::StateInUse`] when another daemon has the directory since.
    pub fn keep(&mut self) -> Result<(), Error> {
        if let Some(lock) = &self.lock {
            lock.keep()?;
        }
        if !self.journal.is_there() {
            tracing::warn!("the journal of leases was removed: it is written anew");
            fs::create_dir_all(&self.state_dir).map_err(Error::file("create", &self.state_dir))?;
            return self.compact();
        }
        if self.journal.len() > COMPACT_BYTES.max(2 * self.compacted) {
            self.compact()?;
        }
        Ok(())
    }

    /// Where the journal is, and what else outlives the daemon.
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// The leases.
    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    /// The leases, to look for a free address: what is found counts once it is recorded.
    pub fn leases_mut(&mut self) -> &mut Leases {
        &mut self.leases
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    use nix::sys::memfd::{MFdFlags, memfd_create};

    use super::*;
    use crate::attach::leases::tests::lease;

    #[test]
    fn a_journal_that_is_removed_under_a_daemon_is_written_anew() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let open = || LeaseStore::open(&state, "boot").unwrap().0;
        let mut book = open();
        book.record(Record::Claimed(lease(1, "iot", &[]))).unwrap();
        fs::remove_dir_all(&state).unwrap();
        book.record(Record::Claimed(lease(2, "iot", &[]))).unwrap();
        book.keep().unwrap();
        book.record(Record::Claimed(lease(3, "iot", &[]))).unwrap();
        let length = fs::metadata(state.join(FILE)).unwrap().len();
        book.keep().unwrap();
        assert_eq!(fs::metadata(state.join(FILE)).unwrap().len(), length);
        assert_eq!(open().leases(), book.leases());
        assert_eq!(book.leases().iter().count(), 3);
        // Somebody else's in its place.
        fs::rename(state.join(FILE), state.join("old")).unwrap();
        fs::write(state.join(FILE), "").unwrap();
        book.keep().unwrap();
        assert_eq!(open().leases(), book.leases());
    }

    #[test]
    fn a_boot_that_cannot_be_written_down_is_known_all_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        let open = |boot| LeaseStore::open(directory.path(), boot).unwrap().0;
        let mut first = open("first");
        first.record(Record::Claimed(lease(1, "iot", &[]))).unwrap();
        let is_past_boot = |book: &LeaseStore| -> Vec<bool> {
            let leases = book.leases().iter();
            leases.map(|lease| lease.is_past_boot).collect()
        };

        let sealed = memfd_create(c"journal", MFdFlags::MFD_ALLOW_SEALING).unwrap();
        let mut sealed = fs::File::from(sealed);
        sealed.write_all(&fs::read(&path).unwrap()).unwrap();
        fcntl(&sealed, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE)).unwrap();
        fs::remove_file(&path).unwrap();
        symlink(format!("/proc/self/fd/{}", sealed.as_raw_fd()), &path).unwrap();
        let mut second = open("second");
        assert_eq!(second.leases().boot(), Some("second"));
        assert_eq!(is_past_boot(&second), [true]);
        let claimed = || Record::Claimed(lease(2, "iot", &[]));
        assert!(second.record(claimed()).is_err());
        assert_eq!(is_past_boot(&second), [true]);

        fs::remove_file(&path).unwrap();
        second.keep().unwrap();
        second.record(claimed()).unwrap();
        assert_eq!(is_past_boot(&second), [true, false]);
        assert_eq!(open("second").leases(), second.leases());
    }

    #[test]
    fn what_another_daemon_began_meanwhile_is_left_to_it() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let open = || {
            let lock = Lock::take(&state, Duration::ZERO).unwrap();
            let (book, _) = LeaseStore::open(&state, "boot").unwrap();
            book.under(Arc::new(lock))
        };
        let mut first = open();
        fs::remove_dir_all(&state).unwrap();
        let mut second = open();
        second
            .record(Record::Claimed(lease(1, "iot", &[])))
            .unwrap();
        assert!(matches!(first.keep(), Err(Error::StateInUse { .. })));
        second.keep().unwrap();
        drop(second);
        assert_eq!(open().leases().iter().count(), 1);
    }
}
