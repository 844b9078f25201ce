//! Snapshot of the database as files `<forwarder>.json`, for the start of the daemon and for
//! diagnosis. Written by a thread of its own after the change; no other part waits for it or reads
//! it.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use linkstate::{Report, decode, encode};

use super::{Inner, LinkStates};
use crate::error::Error;
use ::telemetry::chain;
use store::atomic;

/// Debounce interval between two rounds of writes. A flapping link costs one file a round;
/// diagnosis lags by as much.
const PAUSE: Duration = Duration::from_millis(20);
/// Interval between two retries of failed writes.
const RETRY: Duration = Duration::from_secs(2);

/// Longest interval between two checks that the directory still exists.
const LOOK: Duration = Duration::from_secs(5);

/// Longest key in bytes that is a file's name: with those of its temporary file, 255 fit.
const MAX_PLAIN: usize = 200;

/// Receives the current problem of the files; `None` without one.
pub type OnProblem = Box<dyn Fn(Option<String>) + Send>;

/// Reports in the files of `directory`. Unreadable files are skipped.
pub fn read(directory: &Path) -> Vec<Report> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let reports = paths.filter_map(|path| {
        let report = decode(&fs::read(&path).ok()?).ok()?;
        (file_of(directory, &report.forwarder) == path).then_some(report)
    });
    reports.collect()
}

/// Path of a Forwarder's file. A long key is cut and ends in a hash.
pub fn file_of(directory: &Path, forwarder: &str) -> PathBuf {
    if forwarder.len() <= MAX_PLAIN {
        return directory.join(format!("{forwarder}.json"));
    }
    let hash = topology::hash::texts(&[forwarder]);
    directory.join(format!("{forwarder:.180}~{hash:016x}.json"))
}

/// Snapshot writer thread; dropping it ends the thread after a last round.
#[derive(Debug)]
pub struct Writer {
    link_states: Arc<LinkStates>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts a thread that writes the reports of `link_states` into `directory`.
    ///
    /// # Errors
    /// [`Error::Start`] when the thread cannot be started.
    pub fn start(
        link_states: Arc<LinkStates>,
        directory: PathBuf,
        on_problem: OnProblem,
    ) -> Result<Writer, Error> {
        let is_over = Arc::new(AtomicBool::new(false));
        let (source, over) = (Arc::clone(&link_states), Arc::clone(&is_over));
        let thread = thread::Builder::new()
            .name("snapshot".into())
            .spawn(move || follow(&source, &directory, &on_problem, &over))
            .map_err(|source| Error::Start {
                what: "the snapshot of link states",
                source,
            })?;
        Ok(Writer {
            link_states,
            is_over,
            thread: Some(thread),
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        self.link_states.wake_snapshot();
        // The panic was logged already.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn follow(
    link_states: &LinkStates,
    directory: &Path,
    on_problem: &OnProblem,
    is_over: &AtomicBool,
) {
    let mut is_failing = false;
    loop {
        let mut behind = link_states.take_unsaved(is_over);
        if is_gone(directory) {
            behind.extend(link_states.saved());
        }
        let result = save(link_states, directory, &mut behind);
        link_states.give_back_unsaved(behind);
        match &result {
            Err(error) => on_problem(Some(chain(error))),
            Ok(()) if is_failing => on_problem(None),
            Ok(()) => {}
        }
        is_failing = result.is_err();
        if is_over.load(Ordering::Acquire) {
            return;
        }
        link_states.pause_snapshot(if is_failing { RETRY } else { PAUSE }, is_over);
    }
}

fn is_gone(directory: &Path) -> bool {
    matches!(directory.try_exists(), Ok(false))
}

/// Writes the files of `behind`, and keeps the failed ones in it.
///
/// # Errors
/// The first failure.
fn save(
    link_states: &LinkStates,
    directory: &Path,
    behind: &mut BTreeSet<String>,
) -> Result<(), Error> {
    if !behind.is_empty() && !directory.exists() {
        fs::create_dir_all(directory).map_err(Error::file("create", directory))?;
    }
    let mut result = Ok(());
    behind.retain(|forwarder| {
        let saved = save_one(link_states, &file_of(directory, forwarder), forwarder);
        let is_failed = saved.is_err();
        if result.is_ok() {
            result = saved;
        }
        is_failed
    });
    result
}

fn save_one(link_states: &LinkStates, path: &Path, forwarder: &str) -> Result<(), Error> {
    match link_states.valid_or_own(forwarder) {
        Some(report) => Ok(atomic::publish(path, &encode(&report))?),
        None => match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::file("remove", path)(error))
            }
            _ => Ok(()),
        },
    }
}

impl LinkStates {
    /// Report that the file of a Forwarder holds.
    fn valid_or_own(&self, forwarder: &str) -> Option<Arc<Report>> {
        let inner = self.lock();
        let node = inner.owners.node_of(forwarder).unwrap_or(&self.node);
        inner.lsdb.get(node, forwarder).cloned()
    }

    /// Forwarders whose report is written to a file.
    fn saved(&self) -> BTreeSet<String> {
        let inner = self.lock();
        let reports = inner.lsdb.reports();
        reports.map(|report| report.forwarder.clone()).collect()
    }

    /// Waits until files are outdated, at most for [`LOOK`].
    fn take_unsaved(&self, is_over: &AtomicBool) -> BTreeSet<String> {
        let inner = self.lock();
        let is_idle =
            |inner: &mut Inner| inner.unsaved.is_empty() && !is_over.load(Ordering::Acquire);
        let waited = self.has_unsaved.wait_timeout_while(inner, LOOK, is_idle);
        let (mut inner, _) = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut inner.unsaved)
    }

    fn give_back_unsaved(&self, mut behind: BTreeSet<String>) {
        self.lock().unsaved.append(&mut behind);
    }

    /// Waits for `pause`, shorter after a stop request.
    fn pause_snapshot(&self, pause: Duration, is_over: &AtomicBool) {
        let goes_on = |_: &mut Inner| !is_over.load(Ordering::Acquire);
        let waited = self
            .has_unsaved
            .wait_timeout_while(self.lock(), pause, goes_on);
        drop(waited);
    }

    fn wake_snapshot(&self) {
        // Under the lock, so that the notification cannot fall between check and wait.
        let _held = self.lock();
        self.has_unsaved.notify_all();
    }
}
