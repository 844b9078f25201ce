//! Reading and writing below `/proc/sys/net` of the calling thread's namespace.
//!
//! The directories `ipv4` and `ipv6` of all namespaces have one parent, so to look one up takes as long as there are
//! namespaces. They are opened once here, and settings relative to them.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::OwnedFd,
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, open, openat},
    sys::stat::Mode,
};

/// Directory of the sysctls of the calling thread's namespace.
pub(super) const ROOT: &str = "/proc/sys/net";

/// The two directories of one namespace.
#[derive(Debug)]
pub(super) struct Directories {
    ipv4: OwnedFd,
    /// None in a kernel without IPv6.
    ipv6: Option<OwnedFd>,
}

impl Directories {
    /// Directories of the calling thread's namespace.
    pub(super) fn open() -> io::Result<Self> {
        Self::open_below(Path::new(ROOT))
    }

    fn open_below(root: &Path) -> io::Result<Self> {
        let directory = |family: &str| {
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            open(&root.join(family), flags, Mode::empty())
        };
        Ok(Self {
            ipv4: directory("ipv4")?,
            ipv6: match directory("ipv6") {
                Err(Errno::ENOENT) => None,
                opened => Some(opened?),
            },
        })
    }

    /// True when the setting exists and has another value. One of a family that the kernel lacks does not exist.
    pub(super) fn differs(&self, path: &str, value: &str) -> bool {
        let mut now = [0; 64];
        let length = self
            .file(path, OFlag::O_RDONLY)
            .and_then(|mut file| file.read(&mut now));
        length.is_ok_and(|length| now[..length].trim_ascii() != value.as_bytes())
    }

    /// Writes one setting.
    ///
    /// # Errors
    /// `NotFound` for one that this kernel does not have.
    pub(super) fn write(&self, path: &str, value: &str) -> io::Result<()> {
        self.file(path, OFlag::O_WRONLY)?
            .write_all(value.as_bytes())
    }

    fn file(&self, path: &str, flags: OFlag) -> io::Result<File> {
        let (family, below) = path.split_once('/').ok_or(io::ErrorKind::NotFound)?;
        let directory = match family {
            "ipv4" => &self.ipv4,
            _ => self.ipv6.as_ref().ok_or(io::ErrorKind::NotFound)?,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_ipv6_has_its_ipv4_settings_written() {
        let root = std::env::temp_dir().join(format!("bm-settings-{}", std::process::id()));
        std::fs::create_dir_all(root.join("ipv4")).unwrap();
        let file = root.join("ipv4/ip_forward");
        std::fs::write(&file, "0\n").unwrap();
        let directories = Directories::open_below(&root).unwrap();
        assert!(directories.differs("ipv4/ip_forward", "1"));
        directories.write("ipv4/ip_forward", "1").unwrap();
        assert!(std::fs::read_to_string(&file).unwrap().starts_with('1'));
        let path = "ipv6/conf/all/forwarding";
        assert!(!directories.differs(path, "1"));
        let refused = directories.write(path, "1").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::NotFound);
        std::fs::remove_dir_all(&root).unwrap();
        assert!(
            Directories::open_below(&root).is_err(),
            "no settings at all is an error"
        );
    }
}
