//! Watches directories and reports changed files.
//!
//! A process shares one inotify instance: the number for a user is small. Without one, directories
//! are polled until an instance is available.

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::Error;

mod hub;
mod polling;
#[cfg(test)]
mod tests;

use hub::Hub;

/// Watched directories; dropping it ends the watch.
#[derive(Debug)]
pub struct Watch {
    hub: Arc<Hub>,
    number: u64,
}

/// Reported change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Changed files.
    Files(Vec<PathBuf>),
    /// Overflow of the kernel's queue: any file may have changed.
    Anything,
}

impl Watch {
    /// Watches `directories` and calls `tell` from a thread that is shared by all watches: `tell`
    /// must be quick.
    ///
    /// # Errors
    /// [`Error::Watch`] when a directory cannot be watched.
    pub fn start(
        directories: Vec<PathBuf>,
        tell: impl Fn(Change) + Send + 'static,
    ) -> Result<Watch, Error> {
        Watch::on(Hub::shared(), directories, Box::new(tell))
    }

    fn on(hub: Arc<Hub>, directories: Vec<PathBuf>, tell: hub::Tell) -> Result<Watch, Error> {
        let number = hub.listen(directories, tell);
        let watch = Watch { hub, number };
        watch.hub.watch(number)?;
        Ok(watch)
    }

    /// Watches the directories again, in case one was removed and recreated.
    pub fn renew(&mut self) {
        self.hub.renew(self.number);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.hub.leave(self.number);
    }
}
