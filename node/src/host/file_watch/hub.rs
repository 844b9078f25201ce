//! One inotify instance per process, shared by all directory watchers.
//!
//! Lock order: `way` before `listeners`, never the reverse. inotify's thread calls listeners, and
//! is waited for when another directory is added.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{ErrorKind, RecursiveMode, Watcher};

use super::Change;
use super::polling::{EVERY, Polling};
use crate::error::Error;

/// Callback of a listener.
pub(super) type Tell = Box<dyn Fn(Change) + Send>;

/// inotify instance.
pub(super) type Inotify = Box<dyn Watcher + Send>;

static SHARED: Mutex<Weak<Hub>> = Mutex::new(Weak::new());

pub(super) struct Hub {
    way: Mutex<Way>,
    listeners: Arc<Listeners>,
}

enum Way {
    Inotify(Inotify),
    Polling { _thread: Polling },
}

/// Registered listeners.
#[derive(Debug, Default)]
pub(super) struct Listeners(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    last: u64,
    by_number: BTreeMap<u64, Listener>,
}

struct Listener {
    directories: Vec<Directory>,
    tell: Tell,
}

/// Directory by its configured and its canonical path: under two names it is one for inotify.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Directory {
    given: PathBuf,
    real: PathBuf,
    /// Device, inode and time of birth: a number is used again for the next directory. None while it is not there.
    file: Option<(u64, u64, Option<SystemTime>)>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.listeners.fmt(formatter)
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.directories.fmt(formatter)
    }
}

impl Hub {
    /// Hub of this process.
    pub(super) fn shared() -> Arc<Hub> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let hub = Arc::new(Hub::new(inotify));
            *shared = Arc::downgrade(&hub);
            hub
        })
    }

    /// Hub that uses `inotify`, or polls where it fails.
    pub(super) fn new(inotify: impl FnOnce(&Arc<Listeners>) -> notify::Result<Inotify>) -> Hub {
        let listeners = Arc::default();
        let way = match inotify(&listeners) {
            Ok(watcher) => Way::Inotify(watcher),
            Err(error) => poll(&error, &listeners),
        };
        Hub {
            way: Mutex::new(way),
            listeners,
        }
    }

    /// Registers a listener, which receives nothing before [`Hub::watch`].
    pub(super) fn listen(&self, directories: Vec<PathBuf>, tell: Tell) -> u64 {
        let mut all = self.listeners.lock();
        all.last += 1;
        let number = all.last;
        let directories = directories.into_iter().map(Directory::new).collect();
        all.by_number.insert(number, Listener { directories, tell });
        number
    }

    /// Starts to watch a listener's directories.
    pub(super) fn watch(&self, number: u64) -> Result<(), Error> {
        let mut way = self.way();
        let Way::Inotify(watcher) = &mut *way else {
            return self.listeners.look(number);
        };
        for Directory {
            given: path, real, ..
        } in self.listeners.directories(number)
        {
            match watcher.watch(&real, RecursiveMode::NonRecursive) {
                Ok(()) => {}
                Err(error) if is_exhausted(&error) => {
                    *way = poll(&error, &self.listeners);
                    return self.listeners.look(number);
                }
                Err(source) => return Err(Error::Watch { path, source }),
            }
        }
        Ok(())
    }

    /// Watches directories again that may have been replaced; with inotify if it is available
    /// again.
    pub(super) fn renew(&self, number: u64) {
        let before = self.listeners.directories(number);
        let is_another = self.listeners.renew(number);
        self.rewatch(number, &before);
        if is_another {
            // Nobody has watched the new one so far.
            self.listeners.tell_one(number, &Change::Anything);
        }
    }

    fn rewatch(&self, number: u64, before: &[Directory]) {
        let mut way = self.way();
        if let Way::Inotify(watcher) = &mut *way {
            self.let_go(watcher, before);
            for Directory { real, .. } in self.listeners.directories(number) {
                match watcher.watch(&real, RecursiveMode::NonRecursive) {
                    Err(error) if is_exhausted(&error) => {
                        *way = poll(&error, &self.listeners);
                        return;
                    }
                    // An absent directory is found by the next renewal.
                    Ok(()) | Err(_) => {}
                }
            }
        } else if let Some(watcher) = self.inotify_again() {
            *way = Way::Inotify(watcher);
            tracing::info!("directories watched by inotify again");
            drop(way);
            self.listeners.tell(&Change::Anything);
        }
    }

    fn inotify_again(&self) -> Option<Inotify> {
        let mut watcher = inotify(&self.listeners).ok()?;
        for directory in self.listeners.all_directories() {
            match watcher.watch(&directory, RecursiveMode::NonRecursive) {
                Err(error) if is_exhausted(&error) => return None,
                // As above.
                Ok(()) | Err(_) => {}
            }
        }
        Some(watcher)
    }

    /// Removes a listener, and watches without another listener.
    pub(super) fn leave(&self, number: u64) {
        let mut way = self.way();
        let gone = self.listeners.directories(number);
        self.listeners.lock().by_number.remove(&number);
        if let Way::Inotify(watcher) = &mut *way {
            self.let_go(watcher, &gone);
        }
    }

    /// Removes watches of `directories` without a listener.
    fn let_go(&self, watcher: &mut Inotify, directories: &[Directory]) {
        let left = self.listeners.all_directories();
        for Directory { real, .. } in directories.iter().filter(|it| !left.contains(&it.real)) {
            // The directory may be gone.
            let _ = watcher.unwatch(real);
        }
    }

    fn way(&self) -> MutexGuard<'_, Way> {
        // Every change leaves the value whole, so a panic of another thread does not corrupt it.
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listeners {
    fn lock(&self) -> MutexGuard<'_, All> {
        // As above.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls the affected listeners.
    pub(super) fn tell(&self, change: &Change) {
        for listener in self.lock().by_number.values() {
            listener.hear(change);
        }
    }

    pub(super) fn all_directories(&self) -> Vec<PathBuf> {
        let all = self.lock();
        let directories = all.by_number.values().flat_map(|it| &it.directories);
        let mut directories: Vec<PathBuf> = directories.map(|it| it.real.clone()).collect();
        directories.sort();
        directories.dedup();
        directories
    }

    fn directories(&self, number: u64) -> Vec<Directory> {
        let all = self.lock();
        let listener = all.by_number.get(&number);
        listener.map_or_else(Vec::new, |it| it.directories.clone())
    }

    fn tell_one(&self, number: u64, change: &Change) {
        if let Some(listener) = self.lock().by_number.get(&number) {
            listener.hear(change);
        }
    }

    /// True when a directory of the listener is another one by now.
    fn renew(&self, number: u64) -> bool {
        let mut all = self.lock();
        let Some(listener) = all.by_number.get_mut(&number) else {
            return false;
        };
        let directories = listener.directories.iter();
        let renewed: Vec<_> = directories
            .map(|it| Directory::new(it.given.clone()))
            .collect();
        let is_another = renewed != listener.directories;
        listener.directories = renewed;
        is_another
    }

    /// Checks that a listener's directories exist, as inotify would.
    fn look(&self, number: u64) -> Result<(), Error> {
        for Directory { given, real, .. } in self.directories(number) {
            fs::read_dir(real).map_err(Error::file("watch", given))?;
        }
        Ok(())
    }
}

impl Directory {
    fn new(given: PathBuf) -> Directory {
        let real = given.canonicalize().unwrap_or_else(|_| given.clone());
        let file = fs::metadata(&real).ok();
        let file = file.map(|it| (it.dev(), it.ino(), it.created().ok()));
        Directory { given, real, file }
    }

    /// `path` below the configured name of the directory, if it is in there or is it.
    fn own(&self, path: &Path) -> Option<PathBuf> {
        if path == self.real {
            return Some(self.given.clone());
        }
        let is_in_there = path.parent() == Some(&self.real);
        let name = path.file_name().filter(|_| is_in_there)?;
        Some(self.given.join(name))
    }
}

impl Listener {
    fn hear(&self, change: &Change) {
        let Change::Files(paths) = change else {
            return (self.tell)(Change::Anything);
        };
        let own = |path: &PathBuf| self.directories.iter().find_map(|it| it.own(path));
        let paths: Vec<PathBuf> = paths.iter().filter_map(own).collect();
        if !paths.is_empty() {
            (self.tell)(Change::Files(paths));
        }
    }
}

/// inotify instance that calls `listeners`.
fn inotify(listeners: &Arc<Listeners>) -> notify::Result<Inotify> {
    let listeners = Arc::clone(listeners);
    let watcher = notify::recommended_watcher(move |event| {
        if let Some(change) = change(event) {
            listeners.tell(&change);
        }
    })?;
    Ok(Box::new(watcher))
}

/// Falls back to polling, and logs the reason.
fn poll(error: &notify::Error, listeners: &Arc<Listeners>) -> Way {
    let limit = match error.kind {
        ErrorKind::MaxFilesWatch => "max_user_watches",
        _ => "max_user_instances",
    };
    let value = fs::read_to_string(Path::new("/proc/sys/fs/inotify").join(limit));
    let value = value.unwrap_or_default();
    tracing::warn!(
        %error,
        "directories are polled every {} s, as inotify is exhausted: raise fs.inotify.{limit}, \
         now {}, which all programs of a user share",
        EVERY.as_secs(),
        value.trim()
    );
    let _thread = Polling::start(Arc::clone(listeners));
    Way::Polling { _thread }
}

/// True when a limit of inotify is exhausted, independent of the directory.
fn is_exhausted(error: &notify::Error) -> bool {
    match &error.kind {
        ErrorKind::MaxFilesWatch => true,
        ErrorKind::Io(error) => {
            error.kind() == io::ErrorKind::OutOfMemory || error.kind() == io::ErrorKind::StorageFull
        }
        _ => false,
    }
}

fn change(event: notify::Result<notify::Event>) -> Option<Change> {
    let Ok(event) = event else {
        return Some(Change::Anything);
    };
    if event.need_rescan() {
        return Some(Change::Anything);
    }
    match event.kind {
        // Our own reads are access events too.
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(_)
        | EventKind::Create(_)
        | EventKind::Remove(_) => {
            let paths = event.paths.into_iter();
            let paths: Vec<_> = paths.filter(|path| !is_hidden(path)).collect();
            (!paths.is_empty()).then_some(Change::Files(paths))
        }
        _ => None,
    }
}

/// True for a temporary file.
pub(super) fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}
