//! A disk without room for the last known state.

use std::fs;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use e2e::{ApiServer, eventually, free_port};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use node::objects::{Snapshot, Source};
use tempfile::TempDir;

use crate::away::ensure_same;
use crate::bed::{Bed, Follower, SOON, cache, kubeconfig_at};

const NODE: &str = "full-1";

/// In a thread of its own, and so are its mounts.
pub(crate) fn a_full_disk_stops_nothing_and_heals() -> Result<()> {
    // Of its own: what others change is written to the disk, too. And not started in there.
    let bed = Bed::on(ApiServer::options())?;
    let ended = thread::spawn(move || fill_and_heal(&bed)).join();
    ended.unwrap_or_else(|_| Err(anyhow!("it panicked")))
}

/// A directory with room for little.
fn small() -> Result<TempDir> {
    unshare(CloneFlags::CLONE_NEWNS).context("mounts of its own")?;
    let nothing = None::<&str>;
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(nothing, "/", nothing, flags, nothing).context("private mounts")?;
    let directory = TempDir::new()?;
    let options = Some("size=256k,nr_inodes=64");
    let kind = Some("tmpfs");
    mount(kind, directory.path(), kind, MsFlags::empty(), options).context("a tmpfs")?;
    Ok(directory)
}

/// Takes all bytes, or all names of files.
fn fill(directory: &Path, by_bytes: bool) -> Result<()> {
    let filler = directory.join("filler");
    fs::create_dir(&filler)?;
    let chunk: &[u8] = if by_bytes { &[0; 4096] } else { b"" };
    let full = (0..4096).find_map(|number| {
        let path = filler.join(number.to_string());
        // Bytes go into one file, so that names are left.
        let path = if by_bytes { filler.join("0") } else { path };
        let file = fs::File::options().create(true).append(true).open(path);
        file.and_then(|mut file| std::io::Write::write_all(&mut file, chunk))
            .err()
    });
    let error = full.context("it is never full")?;
    ensure!(error.kind() == std::io::ErrorKind::StorageFull, "{error}");
    Ok(())
}

/// Snapshot of a daemon that starts without an API server.
fn found(bed: &Bed, here: &Follower) -> Result<Snapshot> {
    let copy = TempDir::new()?;
    copy_all(&cache(&here.directory), &cache(&copy))?;
    let nowhere = kubeconfig_at(&bed.server, free_port()?)?;
    let mut other = Follower::at(NODE, &nowhere, copy)?;
    Ok(other.source.load())
}

fn copy_all(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_all(&entry.path(), &to)?;
        } else if let Err(error) = fs::copy(entry.path(), to) {
            // One that is being replaced.
            ensure!(error.kind() == std::io::ErrorKind::NotFound, "{error}");
        }
    }
    Ok(())
}

fn fill_and_heal(bed: &Bed) -> Result<()> {
    bed.namespace("full")?;
    bed.forwarder("full", "iot", "a", NODE, &[])?;
    let mut here = Follower::at(NODE, &bed.server.kubeconfig(), small()?)?;
    let mut keys = vec!["full.iot.a"];
    here.until_forwarders(&keys)?;
    here.until_kept()?;
    for (by_bytes, name, key) in [(true, "b", "full.iot.b"), (false, "c", "full.iot.c")] {
        let kept = found(bed, &here)?;
        ensure!(
            kept.is_complete && kept.forwarders.keys().eq(&keys),
            "{kept:?}"
        );
        fill(here.directory.path(), by_bytes)?;
        bed.forwarder("full", "iot", name, NODE, &["x"])?;
        keys.push(key);
        let now = here.until_forwarders(&keys)?;
        eventually("it is told", SOON, || {
            let problem = here.source.health().not_kept().context("not yet")?;
            ensure!(problem.contains("No space left on device"), "{problem}");
            Ok(())
        })?;
        let left = found(bed, &here)?;
        ensure!(!left.is_complete, "what is there is older: {left:?}");
        ensure_same(&here.source.load(), &now)?;

        fs::remove_dir_all(here.directory.path().join("filler"))?;
        eventually("it is kept again", SOON, || {
            ensure!(here.source.health().not_kept().is_none(), "not yet");
            Ok(())
        })?;
        here.until_kept()?;
        let kept = found(bed, &here)?;
        ensure!(
            kept.is_complete && kept.forwarders == now.forwarders,
            "{kept:?}"
        );
        let names = fs::read_dir(cache(&here.directory).join("forwarders"))?;
        ensure!(names.count() == keys.len(), "nothing torn is left");
    }
    Ok(())
}
