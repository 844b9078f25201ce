//! Network namespaces that have a name: a bind mount at `/run/netns/<name>`, as `ip netns` keeps them.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
    thread,
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
    sys::{
        stat::Mode,
        statfs::{NSFS_MAGIC, fstatfs},
    },
};

use topology::hash;

use crate::Error;

/// Mount directory of named namespaces, as used by `ip netns`.
pub const DIRECTORY: &str = "/run/netns";

/// `_IO(0xb7, 3)`: the type of a namespace (`include/uapi/linux/nsfs.h`).
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;

/// The namespace of the calling thread. `/proc/self` would be the main thread's.
const OWN: &str = "/proc/thread-self/ns/net";

/// An open network namespace. The namespace lives at least as long as this value.
#[derive(Debug)]
pub struct Netns {
    file: File,
    label: String,
}

impl Netns {
    /// Opens the namespace mounted at [`path`]`(name)`.
    ///
    /// # Errors
    /// [`Error::NoNamespace`] when there is none of that name.
    pub fn open(name: &str) -> Result<Self, Error> {
        match Self::open_path(&path(name)) {
            Err(Error::System { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Err(Error::NoNamespace {
                    netns: name.to_owned(),
                })
            }
            // An empty file: a `create` that was killed before it mounted.
            Err(Error::NotNamespace { .. }) => Err(Error::NoNamespace {
                netns: name.to_owned(),
            }),
            result => result,
        }
    }

    /// Opens a namespace by path, such as `CNI_NETNS` or `/proc/PID/ns/net`. Other files, FIFOs and devices among them, are
    /// checked and never opened.
    ///
    /// # Errors
    /// [`Error::NotNamespace`] for anything but a network namespace.
    pub fn open_path(path: &Path) -> Result<Self, Error> {
        let label = path.display().to_string();
        let failed = |source: io::Error| Error::system("open network namespace", &label, source);
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
        let handle = open(path, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
        if !is_on_nsfs(&handle) {
            return Err(Error::NotNamespace { path: label });
        }
        // The same file, whatever became of the path meanwhile.
        let again = format!("/proc/self/fd/{}", handle.as_raw_fd());
        let file = File::open(again).map_err(failed)?;
        match is_of_network(&file) {
            true => Ok(Self { file, label }),
            false => Err(Error::NotNamespace { path: label }),
        }
    }

    /// The namespace that the calling thread is in.
    pub fn current() -> Result<Self, Error> {
        Self::open_path(Path::new(OWN))
    }

    /// Moves the calling thread into this namespace, for good.
    pub fn enter(&self) -> Result<(), Error> {
        setns(&self.file, CloneFlags::CLONE_NEWNET)
            .map_err(|error| Error::system("enter network namespace", &self.label, error))
    }

    /// Runs `work` on a worker thread that is inside this namespace; the caller's thread stays where it is.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        on_worker(|| self.enter().map(|()| work()))?
    }

    /// The namespace's inode number, its identity until the next boot.
    pub fn inode(&self) -> Result<u64, Error> {
        let metadata = self.file.metadata();
        Ok(metadata
            .map_err(|error| Error::system("read", &self.label, error))?
            .ino())
    }

    /// Device and inode number of the namespace, by which `stat` knows it.
    pub fn identity(&self) -> Result<(u64, u64), Error> {
        let metadata = self.file.metadata();
        let metadata = metadata.map_err(|error| Error::system("read", &self.label, error))?;
        Ok((metadata.dev(), metadata.ino()))
    }
}

/// True for namespaces of all types.
fn is_on_nsfs(file: &impl AsFd) -> bool {
    fstatfs(file).is_ok_and(|stat| stat.filesystem_type() == NSFS_MAGIC)
}

/// True for a network namespace. `file` is on the file system of namespaces.
fn is_of_network(file: &File) -> bool {
    // SAFETY: the request takes no argument and changes nothing.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) };
    kind == libc::CLONE_NEWNET
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl AsRawFd for Netns {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.file.as_raw_fd()
    }
}

/// Mount path of the namespace called `name`.
pub fn path(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// The names of all mounted namespaces, in byte order.
pub fn list() -> Result<Vec<String>, Error> {
    let entries = match std::fs::read_dir(DIRECTORY) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::system("list", DIRECTORY, error)),
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort_unstable();
    Ok(names)
}

/// Makes the namespace `name`; false when it was there already.
pub fn create(name: &str) -> Result<bool, Error> {
    if Netns::open(name).is_ok() {
        return Ok(false);
    }
    prepare_directory()?;
    on_worker(|| create_here(name))??;
    Ok(true)
}

/// Removes the name `name`; the namespace goes when its last user does. False when it was absent.
pub fn delete(name: &str) -> Result<bool, Error> {
    let path = path(name);
    match umount2(&path, MntFlags::MNT_DETACH) {
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
        Err(error) => return Err(Error::system("unmount", path.display().to_string(), error)),
    }
    match std::fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::system("remove", path.display().to_string(), error)),
    }
}

/// Moves the calling thread into a new namespace and mounts that at `name`.
///
/// # Assumptions
/// The thread is a worker without other users, and [`prepare_directory`] was called.
pub(crate) fn create_here(name: &str) -> Result<(), Error> {
    let target = path(name);
    let label = || target.display().to_string();
    File::create(&target).map_err(|error| Error::system("create", label(), error))?;
    unshare(CloneFlags::CLONE_NEWNET)
        .map_err(|error| Error::system("create network namespace", name, error))?;
    spread_by_own_seed(name);
    mount(
        Some(OWN),
        &target,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )
    .map_err(|error| Error::system("mount network namespace at", label(), error))
}

/// Gives the namespace that the calling thread is in a seed of its own for multipath hashes.
///
/// With one seed for all, a flow that took the first of two legs here takes the first of two
/// everywhere (hash polarisation): some shortest paths would never be used.
fn spread_by_own_seed(name: &str) {
    // Zero would mean the seed that all share.
    let seed = (hash::texts(&[name]) as u32).max(1);
    // Absent before Linux 6.11: then the seed is shared.
    let _ = std::fs::write(
        "/proc/sys/net/ipv4/fib_multipath_hash_seed",
        seed.to_string(),
    );
}

/// Makes [`DIRECTORY`] a shared mount of its own, so that other mount namespaces see what comes and goes.
pub(crate) fn prepare_directory() -> Result<(), Error> {
    let failed = |error: Errno| Error::system("share mounts of", DIRECTORY, error);
    std::fs::create_dir_all(DIRECTORY)
        .map_err(|error| Error::system("create", DIRECTORY, error))?;
    let share = || {
        let flags = MsFlags::MS_SHARED | MsFlags::MS_REC;
        mount(None::<&str>, DIRECTORY, None::<&str>, flags, None::<&str>)
    };
    match share() {
        // Not a mount point yet.
        Err(Errno::EINVAL) => {
            let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
            mount(
                Some(DIRECTORY),
                DIRECTORY,
                None::<&str>,
                flags,
                None::<&str>,
            )
            .map_err(failed)?;
            share().map_err(failed)
        }
        result => result.map_err(failed),
    }
}

/// Runs `work` on a new thread and waits for it. A panic there goes on here.
pub(crate) fn on_worker<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, Error> {
    thread::scope(|scope| {
        let worker = thread::Builder::new()
            .name("netns".to_owned())
            .spawn_scoped(scope, work)
            .map_err(|error| Error::system("start", "worker thread", error))?;
        Ok(worker
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}
