//! Labs without root: inside a user namespace, whose root user owns the lab's namespaces.
//!
//! ```text
//! first `up` ---> holder: unshare user+net+mount, own /run/netns, then sleep
//! every verb ---> setns into the holder's namespaces, then go on as if root
//! last `down` --> ends the holder, and with it all that is left
//! ```
//! The holder is this program again, under a hidden verb; it is found by a file with its id.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{getegid, geteuid};

use crate::hosts::processes::Process;
use crate::state::directory;
use crate::state::paths::Place;
use console::failure::Failure;

/// Joins the namespaces of this user's holder, and starts it on demand; no-op for root.
///
/// # Errors
/// [`Failure::Failed`] when the host does not allow it, with the reason.
///
/// # Assumptions
/// The process has one thread: the kernel demands it.
pub(crate) fn enter(place: &Place) -> Result<(), Failure> {
    if place.is_privileged {
        return Ok(());
    }
    let explain = |error: io::Error| {
        Failure::Failed(format!(
            "a lab needs root, or user namespaces, and this machine refuses them: {error} (see \
             sysctl kernel.unprivileged_userns_clone, user.max_user_namespaces and \
             kernel.apparmor_restrict_unprivileged_userns)"
        ))
    };
    place.create()?;
    let lock = open_lock(&place.base.join(HOLDER_LOCK)).map_err(explain)?;
    let _lock =
        Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| explain(error.into()))?;
    let holder = match holder(place) {
        Some(holder) => holder,
        None => start(place).map_err(explain)?,
    };
    join(holder).map_err(explain)
}

/// Joins the holder if there is one; false without one: then no lab of this user runs.
///
/// # Errors
/// [`Failure::Failed`] when the holder exists and cannot be joined.
pub(crate) fn enter_existing(place: &Place) -> Result<bool, Failure> {
    if place.is_privileged {
        return Ok(true);
    }
    let Some(holder) = holder(place) else {
        return Ok(false);
    };
    match join(holder) {
        Ok(()) => Ok(true),
        Err(error) => Err(Failure::Failed(format!(
            "failed to join the lab's namespaces: {error}"
        ))),
    }
}

/// Ends the holder after the last lab.
pub(crate) fn leave(place: &Place) {
    if place.is_privileged
        || directory::Directory::all(place)
            .iter()
            .any(directory::Directory::is_lab)
    {
        return;
    }
    if let Some(holder) = holder(place) {
        holder.kill();
    }
    for name in [HOLDER, HOLDER_LOCK] {
        // An absent file counts as removed.
        let _ = fs::remove_file(place.base.join(name));
    }
}

const HOLDER: &str = ".holder";
const HOLDER_LOCK: &str = ".holder.lock";

/// Opens the lock without following links and without truncation.
fn open_lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(0o600);
    options.custom_flags(nix::libc::O_NOFOLLOW).open(path)
}

fn holder(place: &Place) -> Option<Process> {
    let bytes = fs::read(place.base.join(HOLDER)).ok()?;
    let process: Process = serde_json::from_slice(&bytes).ok()?;
    process.is_alive().then_some(process)
}

/// Starts this program as the holder and waits for its ready message.
fn start(place: &Place) -> io::Result<Process> {
    let mut holder = Command::new("/proc/self/exe")
        .args(["lab", "hold-namespaces"])
        .arg(&place.base)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?;
    let mut word = String::new();
    if let Some(stdout) = holder.stdout.take() {
        BufReader::new(stdout).read_line(&mut word)?;
    }
    if word.trim() != READY {
        // The holder ends by itself after any other message.
        let _ = holder.wait();
        let reason = if word.is_empty() {
            "the holder died"
        } else {
            word.trim()
        };
        return Err(io::Error::other(reason.to_owned()));
    }
    self::holder(place).ok_or_else(|| io::Error::other("the holder died"))
}

const READY: &str = "ready";

fn join(holder: Process) -> io::Result<()> {
    let directory = std::env::current_dir();
    let open = |kind: &str| File::open(format!("/proc/{}/ns/{kind}", holder.id));
    let (user, mounts, network) = (open("user")?, open("mnt")?, open("net")?);
    setns(user, CloneFlags::CLONE_NEWUSER)?;
    setns(mounts, CloneFlags::CLONE_NEWNS)?;
    setns(network, CloneFlags::CLONE_NEWNET)?;
    // Joining a mount namespace moves to its root: `-f FILE` is relative to the earlier directory.
    directory.and_then(std::env::set_current_dir)
}

/// Hidden verb: creates the namespaces, reports that on stdout, and sleeps until it is killed.
///
/// # Errors
/// Refusal of the kernel; also printed on stdout for the starter.
pub(crate) fn hold(base: &Path) -> Result<(), Failure> {
    let made = make_namespaces(base).and_then(|()| {
        let own = Process::of(std::process::id().cast_signed());
        let bytes = serde_json::to_vec(&own).map_err(io::Error::other)?;
        store::atomic::publish(&base.join(HOLDER), &bytes).map_err(|error| error.source)
    });
    let word = made
        .as_ref()
        .map_or_else(ToString::to_string, |()| READY.to_owned());
    let told = writeln!(io::stdout(), "{word}").and_then(|()| io::stdout().flush());
    // Without a reader nobody would end this process.
    if let Err(error) = made.and(told) {
        return Err(Failure::Failed(error.to_string()));
    }
    loop {
        std::thread::park();
    }
}

fn make_namespaces(base: &Path) -> io::Result<()> {
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)?;
    // Without this the kernel lets only root write a group map (user_namespaces(7)).
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1"))?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
    mount_run(base)
}

/// Gives the mount namespace a `/run/netns` of its own. Where the machine has none to mount over,
/// all of `/run` is covered, and what of it holds our state is bound into it again.
fn mount_run(base: &Path) -> io::Result<()> {
    let netns = Path::new(probe::namespace::DIRECTORY);
    if netns.is_dir() {
        return mount_tmpfs(netns);
    }
    // The real path: a bind keeps the directory, not the name of a link to it.
    let base = base.canonicalize()?;
    let kept = base
        .starts_with("/run")
        .then(|| open_path(&base))
        .transpose()?;
    mount_tmpfs(Path::new("/run"))?;
    fs::create_dir_all(netns)?;
    if let Some(kept) = kept {
        fs::create_dir_all(&base)?;
        let source = PathBuf::from(format!("/proc/self/fd/{}", kept.as_raw_fd()));
        mount(
            Some(&source),
            &base,
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )?;
    }
    Ok(())
}

fn mount_tmpfs(at: &Path) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    Ok(mount(
        Some("tmpfs"),
        at,
        Some("tmpfs"),
        flags,
        Some("mode=0755"),
    )?)
}

fn open_path(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_PATH)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_not_taken_through_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let victim = directory.path().join("victim");
        fs::write(&victim, "mine").unwrap();
        let lock = directory.path().join(HOLDER_LOCK);
        std::os::unix::fs::symlink(&victim, &lock).unwrap();
        assert!(open_lock(&lock).is_err());
        assert_eq!(fs::read(&victim).unwrap(), b"mine");
    }
}
