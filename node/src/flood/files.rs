//! The files of the reports, which the engine reads and writes too.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use super::store::Action;
use crate::error::Error;
use crate::link_state::directory::{file_of, forwarder_of, write};
use crate::link_state::{Report, Which};
use crate::watch::Change;

/// The directory of the reports.
#[derive(Debug)]
pub(super) struct Files {
    path: PathBuf,
    /// Which directory it was when all of it was last read.
    identity: Option<(u64, u64)>,
}

impl Files {
    /// Uses the directory `path`, making it if need be.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be made.
    pub(super) fn open(path: &Path) -> Result<Files, Error> {
        fs::create_dir_all(path).map_err(Error::file("create", path))?;
        Ok(Files {
            path: path.to_owned(),
            identity: None,
        })
    }

    /// What the file of a Forwarder holds. One that is not readable counts as none.
    pub(super) fn read(&self, forwarder: &str) -> Option<Report> {
        let bytes = fs::read(file_of(&self.path, forwarder)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// What all files hold.
    pub(super) fn read_all(&mut self) -> BTreeMap<String, Report> {
        self.identity = self.current();
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| forwarder_of(&entry.path()));
        names
            .filter_map(|name| self.read(&name).map(|report| (name, report)))
            .collect()
    }

    /// True when the directory is another one than was read.
    pub(super) fn is_replaced(&self) -> bool {
        self.identity.is_none() || self.identity != self.current()
    }

    /// Does what is to be done.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(super) fn apply(&self, action: &Action) -> Result<(), Error> {
        match action {
            Action::Write(forwarder, report) => write(&self.path, forwarder, report),
            Action::Remove(forwarder) => {
                let path = file_of(&self.path, forwarder);
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != ErrorKind::NotFound => {
                        Err(Error::file("remove", path)(error))
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    fn current(&self) -> Option<(u64, u64)> {
        let metadata = fs::metadata(&self.path).ok()?;
        Some((metadata.dev(), metadata.ino()))
    }
}

/// Which files may have changed: a slot, not a queue.
#[derive(Debug, Default)]
pub(super) struct Changed {
    which: Mutex<Option<Which>>,
    wake: Notify,
}

impl Changed {
    /// Takes word from the watch of the directory.
    pub(super) fn tell(&self, change: Change) {
        let mut which = self.which.lock().unwrap_or_else(PoisonError::into_inner);
        let names = match change {
            Change::Anything => {
                *which = Some(Which::All);
                Vec::new()
            }
            Change::Files(paths) => paths.iter().filter_map(|path| forwarder_of(path)).collect(),
        };
        for name in names {
            match &mut *which {
                Some(Which::All) => {}
                Some(Which::Some(known)) => drop(known.insert(name)),
                None => *which = Some(Which::Some([name].into())),
            }
        }
        drop(which);
        self.wake.notify_one();
    }

    /// Waits for word. Nothing is lost when it is not waited for to the end.
    pub(super) async fn take(&self) -> Which {
        loop {
            let which = self
                .which
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            if let Some(which) = which {
                return which;
            }
            self.wake.notified().await;
        }
    }
}
