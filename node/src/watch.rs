//! Watches directories by inotify, and says what may have changed.

use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use crate::error::Error;

/// Directories that are watched for as long as this lives.
#[derive(Debug)]
pub struct Watch {
    watcher: RecommendedWatcher,
    directories: Vec<PathBuf>,
}

/// What may have changed.
#[derive(Debug)]
pub enum Change {
    /// These files.
    Files(Vec<PathBuf>),
    /// Anything: the kernel's queue ran over.
    Anything,
}

impl Watch {
    /// Watches `directories` and calls `tell`, from a thread of its own.
    ///
    /// # Errors
    /// [`Error::Watch`] when a directory cannot be watched.
    pub fn start(
        directories: Vec<PathBuf>,
        tell: impl Fn(Change) + Send + 'static,
    ) -> Result<Watch, Error> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Watch { path, source }
        };
        let first = directories.first().cloned().unwrap_or_default();
        let handler = move |event| {
            if let Some(change) = change(event) {
                tell(change);
            }
        };
        let mut watcher = notify::recommended_watcher(handler).map_err(failed(&first))?;
        for directory in &directories {
            watcher
                .watch(directory, RecursiveMode::NonRecursive)
                .map_err(failed(directory))?;
        }
        Ok(Watch {
            watcher,
            directories,
        })
    }

    /// Watches the directories again, should one have been removed and made anew.
    pub fn renew(&mut self) {
        for directory in &self.directories {
            // What is not there now will be seen by the next renewal.
            let _ = self.watcher.watch(directory, RecursiveMode::NonRecursive);
        }
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
        // Our own reading is an access too.
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(_)
        | EventKind::Create(_)
        | EventKind::Remove(_) => {
            let is_hidden = |path: &PathBuf| {
                path.file_name()
                    .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
            };
            let paths: Vec<_> = event
                .paths
                .into_iter()
                .filter(|path| !is_hidden(path))
                .collect();
            (!paths.is_empty()).then_some(Change::Files(paths))
        }
        _ => None,
    }
}
