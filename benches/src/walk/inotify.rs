//! All inotify instances of root, taken and given back.

use std::{
    fs, io,
    os::fd::{FromRawFd, OwnedFd},
};

use anyhow::{Result, ensure};
use nix::libc;

/// Instances that this process holds; the kernel gives them back when it ends in any way.
pub(crate) struct Taken {
    _instances: Vec<OwnedFd>,
}

impl Taken {
    /// Takes instances until there are no more.
    ///
    /// # Errors
    /// When the limit of open files comes first.
    pub(crate) fn all() -> Result<Self> {
        let limit = fs::read_to_string("/proc/sys/fs/inotify/max_user_instances")?;
        let limit: usize = limit.trim().parse()?;
        let open_files = dataplane::descriptors::raise_limit()?;
        ensure!(
            open_files > limit as u64 + 256,
            "only {open_files} open files"
        );
        let mut instances = vec![];
        loop {
            // SAFETY: no memory is handed over.
            let raw = unsafe { libc::inotify_init1(libc::IN_CLOEXEC) };
            if raw < 0 {
                let error = io::Error::last_os_error();
                ensure!(error.raw_os_error() == Some(libc::EMFILE), "{error}");
                return Ok(Self {
                    _instances: instances,
                });
            }
            // SAFETY: a new descriptor, which nobody else owns.
            instances.push(unsafe { OwnedFd::from_raw_fd(raw) });
        }
    }
}
