//! Processes of a lab, found by their network namespace: complete also after a crash before an id
//! was written, and without processes of others.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// Process, distinguished from a later one with the same id by its start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    /// Process id.
    pub(crate) id: i32,
    /// Field 22 of `/proc/PID/stat`: clock ticks since boot.
    pub(crate) started: u64,
}

impl Process {
    /// The process with this id, unless it is dead or a zombie.
    pub(crate) fn of(id: i32) -> Option<Process> {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        parse_stat(&stat).map(|started| Process { id, started })
    }

    /// True while it runs.
    pub(crate) fn is_alive(self) -> bool {
        Process::of(self.id) == Some(self)
    }

    /// True when SIGKILL is pending: it runs a moment longer, and does nothing more.
    pub(crate) fn is_dying(self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id));
        status.is_ok_and(|status| has_kill_pending(&status))
    }

    /// Kills it, if it still runs.
    pub(crate) fn kill(self) {
        self.signal(Signal::SIGKILL);
    }

    /// Sends it a signal, if it still runs.
    pub(crate) fn signal(self, signal: Signal) {
        if self.is_alive() {
            // It may have ended meanwhile.
            let _ = kill(Pid::from_raw(self.id), signal);
        }
    }
}

/// The start time in `/proc/PID/stat`; none for a zombie.
fn parse_stat(stat: &str) -> Option<u64> {
    // The name may hold spaces and brackets; what follows the last bracket may not.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// True when `ShdPnd` of `/proc/PID/status`, a set of signals in hexadecimal, holds SIGKILL.
fn has_kill_pending(status: &str) -> bool {
    let set = status
        .lines()
        .find_map(|line| line.strip_prefix("ShdPnd:"))
        .and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    set.is_some_and(|set| set >> (Signal::SIGKILL as u32 - 1) & 1 == 1)
}

/// Processes whose network namespace is one of `names`, except this one.
fn inside(names: &[String]) -> Vec<Process> {
    let namespaces: HashSet<(u64, u64)> = names
        .iter()
        .filter_map(|name| identity(&probe::namespace::path(name)))
        .collect();
    if namespaces.is_empty() {
        return Vec::new();
    }
    let own = std::process::id().cast_signed();
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|&id| id != own)
        .filter(|id| {
            identity(Path::new(&format!("/proc/{id}/ns/net")))
                .is_some_and(|namespace| namespaces.contains(&namespace))
        })
        .filter_map(Process::of)
        .collect()
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Kills all processes in the namespaces `names` and waits for their end.
///
/// Returns the processes that are left after `limit`.
pub(crate) fn end_all(names: &[String], limit: Duration) -> Vec<Process> {
    let deadline = Instant::now() + limit;
    loop {
        let left = inside(names);
        if left.is_empty() || Instant::now() >= deadline {
            return left;
        }
        for process in left {
            process.kill();
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_read_behind_any_name() {
        let rest = "1 1 1 0 -1 4194560 100 0 0 0 0 0 0 0 20 0 1 0 777 1000 1";
        assert_eq!(parse_stat(&format!("12 (a) S {rest}")), Some(777));
        assert_eq!(parse_stat(&format!("12 (a) b) R {rest}")), Some(777));
        assert_eq!(parse_stat(&format!("12 (a) Z {rest}")), None, "a zombie");
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn a_pending_kill_is_seen() {
        let pending = |set: &str| has_kill_pending(&format!("Name:\tx\nShdPnd:\t{set}\n"));
        assert!(pending("0000000000000100"));
        assert!(pending("0000000000004100"), "beside SIGTERM");
        assert!(!pending("0000000000004000"));
        assert!(!has_kill_pending(""));
    }

    #[test]
    fn this_process_lives_and_no_later_one_is_taken_for_it() {
        let own = Process::of(std::process::id().cast_signed()).unwrap();
        assert!(own.is_alive());
        assert!(
            !Process {
                started: own.started + 1,
                ..own
            }
            .is_alive()
        );
    }
}
