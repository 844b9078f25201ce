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
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
};

use crate::Error;

/// Where named namespaces are mounted. `ip netns` looks here too.
pub const DIRECTORY: &str = "/run/netns";

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
            Ok(netns) if !netns.is_namespace() => {
                // An empty file: a `create` that was killed before it mounted.
                Err(Error::NoNamespace {
                    netns: name.to_owned(),
                })
            }
            result => result,
        }
    }

    /// Opens a namespace by path, such as `CNI_NETNS` or `/proc/PID/ns/net`.
    pub fn open_path(path: &Path) -> Result<Self, Error> {
        let label = path.display().to_string();
        match File::open(path) {
            Ok(file) => Ok(Self { file, label }),
            Err(source) => Err(Error::system("open network namespace", label, source)),
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

    /// False for a plain file.
    fn is_namespace(&self) -> bool {
        // NS_GET_NSTYPE answers only on a namespace's own file system.
        nix::sys::statfs::fstatfs(&self.file)
            .is_ok_and(|stat| stat.filesystem_type() == nix::sys::statfs::NSFS_MAGIC)
    }
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

/// Where the namespace called `name` is mounted.
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
/// The thread is a worker that nobody else uses, and [`prepare_directory`] was called.
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
    let mix = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    // FNV-1a. Zero would mean the seed that all share.
    let seed = name.bytes().fold(0x811c_9dc5, mix).max(1);
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
