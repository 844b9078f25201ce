//! Lease store: leases and their journal. A change takes effect once it is written.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::attach::leases::{Leases, Record};
use crate::error::Error;
use store::journal::{Damage, Journal};
use store::lock::Lock;

/// File name of the journal in the state directory.
pub const FILE: &str = "leases.journal";

/// Size in bytes above which a journal that is mostly history is compacted.
const COMPACT_BYTES: u64 = 1 << 20;

/// Leases with their journal.
#[derive(Debug)]
pub struct LeaseStore {
    journal: Journal,
    leases: Leases,
    /// Boot record that could not be written, as on a full disk.
    unwritten: Option<Record>,
    compacted: u64,
    state_dir: PathBuf,
    lock: Option<Arc<Lock>>,
}

impl LeaseStore {
    /// Opens the lease store in `state_dir`, or creates one, for the boot `boot`. Returns the
    /// damaged ranges. A full disk is no error before the first lease: the rest of the daemon does
    /// not need to write.
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
                    "lease journal not writable, no leases until it is"
                );
            }
        }
        Ok((book, recovered.damage))
    }

    /// Compacts the journal only while this daemon holds the lock of the state directory.
    #[must_use]
    pub(crate) fn under(self, lock: Arc<Lock>) -> LeaseStore {
        LeaseStore {
            lock: Some(lock),
            ..self
        }
    }

    /// Writes `record` to the journal, then applies it.
    ///
    /// # Errors
    /// [`Error::File`]: the record is not applied.
    pub fn record(&mut self, record: Record) -> Result<(), Error> {
        self.catch_up()?;
        self.journal.append(&record)?;
        self.leases.apply(&record);
        Ok(())
    }

    /// Writes the boot record before any record of that boot.
    fn catch_up(&mut self) -> Result<(), Error> {
        if let Some(boot) = &self.unwritten {
            self.journal.append(boot)?;
            self.unwritten = None;
        }
        Ok(())
    }

    /// Compacts the journal to the current state.
    ///
    /// # Errors
    /// [`Error::File`]: the journal is unchanged.
    pub fn compact(&mut self) -> Result<(), Error> {
        self.journal.compact(&self.leases.to_records())?;
        self.unwritten = None;
        self.compacted = self.journal.len();
        Ok(())
    }

    /// Compacts a large journal that is mostly history. Recreates the journal and its directory
    /// after they were removed.
    ///
    /// # Errors
    /// As [`LeaseStore::compact`]; [`Error::StateInUse`] when another daemon has locked the
    /// directory since.
    pub fn keep(&mut self) -> Result<(), Error> {
        if let Some(lock) = &self.lock {
            lock.keep()?;
        }
        if !self.journal.is_there() {
            tracing::warn!("lease journal was removed, written again");
            fs::create_dir_all(&self.state_dir).map_err(Error::file("create", &self.state_dir))?;
            return self.compact();
        }
        if self.journal.len() > COMPACT_BYTES.max(2 * self.compacted) {
            self.compact()?;
        }
        Ok(())
    }

    /// State directory of the journal and other files that survive the daemon.
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// The leases.
    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    /// Leases, to search for a free address, which is taken once it is recorded.
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
        // Another file in its place.
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
