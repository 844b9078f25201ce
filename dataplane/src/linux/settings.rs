//! Reading and writing below `/proc/sys/net` of the calling thread's namespace.
//!
//! The directories `ipv4` and `ipv6` of all namespaces have one parent, so to look one up takes as long as there are
//! namespaces. They are opened once here, and what is below them from there.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::OwnedFd,
    path::Path,
};

use nix::{
    fcntl::{OFlag, open, openat},
    sys::stat::Mode,
};

/// The two directories of one namespace.
#[derive(Debug)]
pub(super) struct Directories {
    ipv4: OwnedFd,
    ipv6: OwnedFd,
}

impl Directories {
    /// Those of the calling thread's namespace.
    pub(super) fn open() -> io::Result<Self> {
        let directory = |path: &str| {
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            open(Path::new(path), flags, Mode::empty())
        };
        Ok(Self {
            ipv4: directory("/proc/sys/net/ipv4")?,
            ipv6: directory("/proc/sys/net/ipv6")?,
        })
    }

    /// True when the setting exists and has another value.
    pub(super) fn differs(&self, path: &str, value: &str) -> bool {
        let mut now = [0; 64];
        let length = self
            .file(path, OFlag::O_RDONLY)
            .and_then(|mut file| file.read(&mut now));
        length.is_ok_and(|length| now[..length].trim_ascii() != value.as_bytes())
    }

    /// Writes one setting.
    pub(super) fn write(&self, path: &str, value: &str) -> io::Result<()> {
        self.file(path, OFlag::O_WRONLY)?
            .write_all(value.as_bytes())
    }

    fn file(&self, path: &str, flags: OFlag) -> io::Result<File> {
        let (family, below) = path.split_once('/').ok_or(io::ErrorKind::NotFound)?;
        let directory = if family == "ipv4" {
            &self.ipv4
        } else {
            &self.ipv6
        };
        Ok(openat(
            directory,
            Path::new(below),
            flags | OFlag::O_CLOEXEC,
            Mode::empty(),
        )?
        .into())
    }
}
