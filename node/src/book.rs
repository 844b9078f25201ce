//! The leases and the journal that they live in: what is not written did not happen.

use std::fs;
use std::path::Path;

use crate::error::Error;
use crate::journal::{Damage, Journal};
use crate::leases::{Leases, Record};

/// Name of the journal in the state directory.
pub const FILE: &str = "leases.journal";

/// The journal is rewritten once it is above this many bytes and mostly history.
const COMPACT_BYTES: u64 = 1 << 20;

/// Leases with their journal.
#[derive(Debug)]
pub struct Book {
    journal: Journal,
    leases: Leases,
    compacted: u64,
}

impl Book {
    /// Reads the book in `state_dir`, or begins one, for the boot `boot`. What was damaged is told.
    ///
    /// # Errors
    /// [`Error::File`] when the journal cannot be read or written.
    pub fn open(state_dir: &Path, boot: &str) -> Result<(Book, Vec<Damage>), Error> {
        fs::create_dir_all(state_dir).map_err(Error::file("create", state_dir))?;
        let (journal, recovered) = Journal::open::<Record>(&state_dir.join(FILE))?;
        let leases = Leases::replay(&recovered.records);
        let mut book = Book {
            journal,
            leases,
            compacted: 0,
        };
        if book.leases.boot() != Some(boot) {
            book.record(Record::Boot {
                id: boot.to_owned(),
            })?;
        }
        Ok((book, recovered.damage))
    }

    /// Writes `record`, then takes the step.
    ///
    /// # Errors
    /// [`Error::File`]: the step was not taken.
    pub fn record(&mut self, record: Record) -> Result<(), Error> {
        self.journal.append(&record)?;
        self.leases.apply(&record);
        Ok(())
    }

    /// Rewrites the journal to what it amounts to.
    ///
    /// # Errors
    /// [`Error::File`]: the journal is as it was.
    pub fn compact(&mut self) -> Result<(), Error> {
        self.journal.compact(&self.leases.to_records())?;
        self.compacted = self.journal.len();
        Ok(())
    }

    /// Compacts when that gives back most of a large file.
    ///
    /// # Errors
    /// As [`Book::compact`].
    pub fn compact_when_worth_it(&mut self) -> Result<(), Error> {
        if self.journal.len() > COMPACT_BYTES.max(2 * self.compacted) {
            self.compact()?;
        }
        Ok(())
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
