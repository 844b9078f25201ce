//! Removal of orphaned objects, each after two proofs and a second census.

use super::{
    Error,
    census::{census, shown},
    leases::leases,
    paths::Paths,
};
use cni::node_protocol::{self, Reply, Request};
use crds::diagnosis::report::{Collected, Kind, Leak};
use dataplane::{LinuxKernel, netns::Netns};
use std::{
    fs,
    io::{self, BufReader, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

/// Timeout of the daemon's answer to a release.
const ANSWER: Duration = Duration::from_secs(10);

/// Removes every object that two consecutive censuses report as orphaned with two proofs.
///
/// # Errors
/// As [`census`]. Failed removals are part of the report.
pub(crate) fn gc(paths: &Paths, dry_run: bool) -> Result<Collected, Error> {
    let first = census(paths)?;
    let (removable, kept) = first
        .leaks
        .into_iter()
        .partition(|leak: &Leak| leak.removable);
    let mut collected = Collected {
        dry_run,
        kept,
        removed: removable,
        unknown: first.unknown,
    };
    if dry_run || collected.removed.is_empty() {
        return Ok(collected);
    }
    // An object that the daemon was creating during the first census is complete now.
    let second = census(paths)?.leaks;
    for leak in std::mem::take(&mut collected.removed) {
        if !second.contains(&leak) {
            continue;
        }
        match remove(&leak, paths) {
            Ok(()) => collected.removed.push(leak),
            Err(error) => {
                let why = format!("{}; not removed: {error}", leak.why);
                collected.kept.push(Leak { why, ..leak });
            }
        }
    }
    Ok(collected)
}

fn remove(leak: &Leak, paths: &Paths) -> Result<(), String> {
    match leak.kind {
        Kind::Namespace => remove_namespace(&leak.name),
        Kind::Link | Kind::Attachment | Kind::PodInterface => {
            let netns = Netns::open(&leak.netns).map_err(|error| error.to_string())?;
            // It refuses interfaces without our alias.
            let gone = dataplane::attachment::unwire_unowned(&netns, &leak.name);
            gone.map(drop).map_err(|error| error.to_string())
        }
        Kind::Lease => release(&leak.name, paths).map_err(|error| error.to_string()),
        Kind::QueueFile | Kind::LinkState | Kind::StrayFile => match fs::remove_file(&leak.name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.to_string()),
            _ => Ok(()),
        },
        Kind::NextHop | Kind::Socket => Err("it is the daemon's to remove".to_owned()),
    }
}

fn remove_namespace(name: &str) -> Result<(), String> {
    let mut linux = LinuxKernel::new().map_err(|error| error.to_string())?;
    let applied = dataplane::remove(&mut linux, [name.to_owned()]);
    match applied.failures.first() {
        Some(failure) => Err(failure.source.to_string()),
        None => Ok(()),
    }
}

/// Releases a lease through the daemon, which owns the journal and frees it after its own two
/// proofs.
fn release(name: &str, paths: &Paths) -> io::Result<()> {
    let other = |error: Error| io::Error::other(error.to_string());
    let leases = leases(paths).map_err(other)?.leases;
    let Some(lease) = leases.iter().find(|lease| shown(lease) == name) else {
        return Ok(());
    };
    let mut stream = UnixStream::connect(&paths.socket)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.write_all(&node_protocol::encode(&Request::Release {
        key: lease.key.clone(),
        netns: None,
        pod: None,
    }))?;
    match node_protocol::read::<Reply>(&mut BufReader::new(stream))? {
        Some(Reply::Released(_)) => Ok(()),
        other => Err(io::Error::other(format!("the daemon answered {other:?}"))),
    }
}
