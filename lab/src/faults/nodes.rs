//! Faults of nodes: daemons that are stopped or dead, and an underlay in parts.

use std::collections::BTreeSet;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::Signal;

use crate::hosts::{daemons, processes::Process, underlay};
use crate::state::directory::{Burn, Directory, Faults, Record};
use console::failure::Failure;

/// Brings daemons, underlay and load to the state of the record; `before` are the faults until now. A refused part does not
/// keep the others from theirs.
///
/// # Errors
/// [`Failure::Failed`] with the first part that could not be changed.
pub(crate) fn enforce(
    directory: &Directory,
    record: &Record,
    before: &Faults,
) -> Result<(), Failure> {
    let now = &record.faults;
    let mut result = Ok(());
    if !(before.partition.is_empty() && now.partition.is_empty()) {
        result = result.and(part(record));
    }
    if let Some(burn) = before.burn.filter(|_| now.burn.is_none()) {
        process(burn).signal(Signal::SIGTERM);
    }
    for node in now.killed_daemons.iter() {
        result = result.and(kill(directory, node));
    }
    let signalled = [
        (Signal::SIGCONT, &before.frozen - &now.frozen),
        (Signal::SIGSTOP, now.frozen.clone()),
    ];
    for (signal, nodes) in signalled {
        for node in nodes {
            if let Some(daemon) = daemons::running(directory, &node) {
                daemon.signal(signal);
            }
        }
    }
    for node in &before.killed_daemons - &now.killed_daemons {
        result = result.and(start(directory, record, &node));
    }
    result
}

/// Groups of nodes, so that every node is in one: those that are in none form the last.
pub(crate) fn whole(groups: Vec<BTreeSet<String>>, record: &Record) -> Vec<BTreeSet<String>> {
    let is_left = |node: &&String| !groups.iter().any(|group| group.contains(*node));
    let rest: BTreeSet<String> = record.hosts.keys().filter(is_left).cloned().collect();
    let all = groups.into_iter().chain([rest]);
    let all: Vec<_> = all.filter(|group| !group.is_empty()).collect();
    if all.len() < 2 { Vec::new() } else { all }
}

/// Connects the hosts of each group, and no others.
fn part(record: &Record) -> Result<(), Failure> {
    let group_of = |node: &String| {
        let mut groups = record.faults.partition.iter();
        groups.position(|group| group.contains(node)).unwrap_or(0)
    };
    let hosts = record.hosts.iter();
    let groups: Vec<(u32, usize)> = hosts
        .map(|(node, host)| (host.number, group_of(node)))
        .collect();
    underlay::part(&record.underlay, &groups)
}

fn kill(directory: &Directory, node: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + crate::STOP_LIMIT;
    while let Some(daemon) = daemons::running(directory, node) {
        daemon.kill();
        if Instant::now() >= deadline {
            let id = daemon.id;
            return Err(Failure::Failed(format!("failed to end process {id}")));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Starts a daemon, and waits until it answers the plugin.
fn start(directory: &Directory, record: &Record, node: &str) -> Result<(), Failure> {
    let Some(host) = record.hosts.get(node) else {
        return Ok(());
    };
    daemons::start(directory, node, host)?;
    let deadline = Instant::now() + STARTING;
    while !answers(&directory.socket(node)) {
        if Instant::now() >= deadline {
            let words = daemons::last_words(directory, node);
            return Err(Failure::TimedOut(format!(
                "the daemon of {node} does not answer:\n{words}"
            )));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

fn answers(socket: &Path) -> bool {
    UnixStream::connect(socket).is_ok()
}

/// The process of a burn.
pub(crate) fn process(burn: Burn) -> Process {
    Process {
        id: burn.process,
        started: burn.started,
    }
}

/// Seconds since 1970, the clock of a burn.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_secs()
}

/// Pause between two looks at a process.
const PAUSE: Duration = Duration::from_millis(5);
/// Timeout of a daemon's start.
const STARTING: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::directory::Host;

    #[test]
    fn nodes_without_a_group_form_the_last_one_and_one_group_is_no_partition() {
        let hosts = ["n1", "n2", "n3"].map(|name| (name.to_owned(), Host::default()));
        let record = Record {
            hosts: hosts.into(),
            ..Record::default()
        };
        #[rustfmt::skip]
        let cases: [(&[&str], &str); 5] = [
            (&["n1"],                  "n1|n2,n3"),
            (&["n1,n2", "n3"],         "n1,n2|n3"),
            (&["n1", "n2"],            "n1|n2|n3"),
            (&["n1,n2,n3"],            ""),
            (&[],                      ""),
        ];
        for (groups, expected) in cases {
            let group = |text: &&str| text.split(',').map(str::to_owned).collect();
            let parts = whole(groups.iter().map(group).collect(), &record);
            let joined = |group: &BTreeSet<String>| group.iter().cloned().collect::<Vec<_>>();
            let text: Vec<String> = parts.iter().map(|group| joined(group).join(",")).collect();
            assert_eq!(text.join("|"), expected, "{groups:?}");
        }
    }
}
