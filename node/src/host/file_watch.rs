//! Watches directories, and says what may have changed.
//!
//! A program shares one inotify instance: there are few for a user. Without one, directories are
//! looked at by a timer until there is one again.

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::Error;

mod hub;
mod polling;
#[cfg(test)]
mod tests;

use hub::Hub;

/// Directories that are watched for as long as this lives.
#[derive(Debug)]
pub struct Watch {
    hub: Arc<Hub>,
    number: u64,
}

/// What may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// These files.
    Files(Vec<PathBuf>),
    /// Anything: the kernel's queue ran over.
    Anything,
}

impl Watch {
    /// Watches `directories` and calls `tell`, from a thread that others' changes are told from too:
    /// it must be quick.
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

    /// Watches the directories again, should one have been removed and made anew.
    pub fn renew(&mut self) {
        self.hub.renew(self.number);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.hub.leave(self.number);
    }
}
