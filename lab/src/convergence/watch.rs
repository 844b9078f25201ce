//! Statuses reported by the daemons: files in one directory, watched as a whole.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crds::{Forwarder, ForwarderStatus};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::state::directory::is_object;

/// Last status of each Forwarder, by name of its object.
pub(crate) type Statuses = BTreeMap<String, ForwarderStatus>;

/// Reads all statuses once. An unreadable one is absent: it is rewritten soon.
pub(crate) fn read_all(directory: &Path) -> Statuses {
    let Ok(entries) = fs::read_dir(directory) else {
        return Statuses::new();
    };
    entries
        .flatten()
        .filter_map(|entry| read(&entry.path()))
        .collect()
}

fn read(path: &Path) -> Option<(String, ForwarderStatus)> {
    if !is_object(path) {
        return None;
    }
    let name = path.file_stem()?.to_str()?.to_owned();
    let text = fs::read_to_string(path).ok()?;
    Some((name, parse(&text)?))
}

/// A status, alone or within its Forwarder object.
fn parse(text: &str) -> Option<ForwarderStatus> {
    if let Ok(forwarder) = serde_saphyr::from_str::<Forwarder>(text) {
        return Some(forwarder.status);
    }
    serde_saphyr::from_str(text).ok()
}

/// The statuses as they change.
pub(crate) struct Watch {
    directory: PathBuf,
    inotify: Inotify,
    statuses: Statuses,
}

impl Watch {
    /// Starts the watch, then reads the existing statuses.
    ///
    /// # Errors
    /// The directory is absent, or inotify instances are exhausted.
    pub(crate) fn new(directory: &Path) -> io::Result<Watch> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let flags =
            AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_DELETE;
        inotify.add_watch(directory, flags)?;
        let statuses = read_all(directory);
        Ok(Watch {
            directory: directory.to_owned(),
            inotify,
            statuses,
        })
    }

    /// The last known statuses.
    pub(crate) fn statuses(&self) -> &Statuses {
        &self.statuses
    }

    /// Waits until `is_done` holds, checked after each change; false after `until`.
    ///
    /// # Errors
    /// Errors of inotify.
    pub(crate) fn wait(
        &mut self,
        until: Instant,
        mut is_done: impl FnMut(&Statuses) -> bool,
    ) -> io::Result<bool> {
        loop {
            if is_done(&self.statuses) {
                return Ok(true);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            self.read_changes(left.min(LOOK_AGAIN))?;
        }
    }

    /// Waits for changes for at most `limit`, and reads them.
    fn read_changes(&mut self, limit: Duration) -> io::Result<()> {
        let mut polled = [PollFd::new(
            std::os::fd::AsFd::as_fd(&self.inotify),
            PollFlags::POLLIN,
        )];
        let milliseconds = u16::try_from(limit.as_millis()).unwrap_or(u16::MAX);
        match poll(&mut polled, PollTimeout::from(milliseconds)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let events = match self.inotify.read_events() {
            Ok(events) => events,
            Err(nix::errno::Errno::EAGAIN) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let overflowed = |mask: AddWatchFlags| mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
        if events.iter().any(|event| overflowed(event.mask)) {
            self.statuses = read_all(&self.directory);
            return Ok(());
        }
        let mut names: Vec<_> = events.into_iter().filter_map(|event| event.name).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let path = self.directory.join(name);
            match read(&path) {
                Some((name, status)) => drop(self.statuses.insert(name, status)),
                None => self.forget(&path),
            }
        }
        Ok(())
    }

    fn forget(&mut self, path: &Path) {
        let name = path.file_stem().and_then(|name| name.to_str());
        if let (Some(name), true, false) = (name, is_object(path), path.exists()) {
            self.statuses.remove(name);
        }
    }
}

/// Interval of checks without a file change: the condition may depend on the daemons' processes
/// too.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use store::atomic::publish;

    fn status(epoch: &str) -> ForwarderStatus {
        ForwarderStatus {
            epoch: epoch.to_owned(),
            ..ForwarderStatus::default()
        }
    }

    #[test]
    fn a_change_wakes_the_one_who_waits() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        let mut watch = Watch::new(&path).unwrap();
        let writer = std::thread::spawn(move || {
            let yaml = serde_saphyr::to_string(&status("0123456789abcdef")).unwrap();
            publish(&path.join("iot.edge-a.yaml"), yaml.as_bytes()).unwrap();
        });
        let until = Instant::now() + Duration::from_secs(30);
        let seen = watch
            .wait(until, |statuses| {
                statuses
                    .get("iot.edge-a")
                    .is_some_and(|s| s.epoch == "0123456789abcdef")
            })
            .unwrap();
        writer.join().unwrap();
        assert!(seen, "{:?}", watch.statuses());
    }

    #[test]
    fn a_status_is_read_alone_and_within_its_object() {
        let mut forwarder = Forwarder::new("a", crds::ForwarderSpec::default());
        forwarder.status = status("0000000000000001");
        let alone = serde_saphyr::to_string(&forwarder.status).unwrap();
        let within = serde_saphyr::to_string(&forwarder).unwrap();
        assert_eq!(parse(&alone), Some(forwarder.status.clone()));
        assert_eq!(parse(&within), Some(forwarder.status));
    }
}
