//! Capabilities of the daemon: dropped to the necessary ones before its first thread starts.
//!
//! In a cluster its container is privileged, because only then the host sees its network
//! namespaces. So the daemon drops the capabilities that it does not need, for good: neither it nor
//! the plugin that it runs can regain them.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use caps::errors::CapsError;
use caps::{CapSet, Capability};
use nix::sys::statvfs::{FsFlags, statvfs};

use crate::error::Error;

/// Kept capabilities with their purpose.
pub const KEPT: [(Capability, &str); 7] = [
    (
        Capability::CAP_NET_ADMIN,
        "links, addresses, routes, and their settings",
    ),
    (
        Capability::CAP_NET_BROADCAST,
        "events of links in all namespaces",
    ),
    (
        Capability::CAP_NET_RAW,
        "packets of the liveness detector, over the very link that they test",
    ),
    (
        Capability::CAP_SYS_NICE,
        "the liveness detector before other threads, however busy the node is",
    ),
    (
        Capability::CAP_SYS_ADMIN,
        "making, naming and entering network namespaces",
    ),
    (
        Capability::CAP_SYS_PTRACE,
        "finding the network namespace of a running pod",
    ),
    (
        Capability::CAP_DAC_OVERRIDE,
        "directories of the runtime that belong to another user",
    ),
];

/// Directory of the network's sysctls.
const SETTINGS: &str = "/proc/sys/net";

/// Drops all capabilities except [`KEPT`], in all sets of the calling thread, and so of its later
/// threads and programs.
///
/// # Errors
/// [`Error::Start`] when the kernel refuses.
pub fn confine() -> Result<(), Error> {
    drop_all().map_err(|error| Error::Start {
        what: "with fewer rights",
        source: io::Error::other(error),
    })
}

fn drop_all() -> Result<(), CapsError> {
    let kept: HashSet<Capability> = KEPT.iter().map(|(capability, _)| *capability).collect();
    caps::clear(None, CapSet::Ambient)?;
    // A process without CAP_SETPCAP cannot lower the bounding set; its parent has limited it
    // already.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        let bound = caps::read(None, CapSet::Bounding)?;
        for capability in bound.difference(&kept) {
            caps::drop(None, CapSet::Bounding, *capability)?;
        }
    }
    let permitted = caps::read(None, CapSet::Permitted)?;
    let kept = permitted.intersection(&kept).copied().collect();
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    caps::clear(None, CapSet::Inheritable)
}

/// Missing privileges of this container, as sentences; empty without any.
pub fn obstacles() -> Vec<String> {
    let has = |capability: &Capability| {
        caps::has_cap(None, CapSet::Effective, *capability).unwrap_or(false)
    };
    let missing = KEPT.iter().filter(|(capability, _)| !has(capability));
    let missing =
        missing.map(|(capability, what)| format!("{capability} is missing: it is for {what}"));
    let mut all: Vec<String> = missing.collect();
    let settings = Path::new(SETTINGS);
    if statvfs(settings).is_ok_and(|of| of.flags().contains(FsFlags::ST_RDONLY)) {
        all.push(format!(
            "{SETTINGS} is read-only: the container is not privileged"
        ));
    }
    all
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_confined_thread_has_what_is_kept_and_no_more() {
        let before = caps::read(None, CapSet::Permitted).unwrap();
        let kept: HashSet<Capability> = KEPT.iter().map(|(capability, _)| *capability).collect();
        let expected: HashSet<Capability> = before.intersection(&kept).copied().collect();
        // With more capabilities, as processes of pods may have.
        let mut pod = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        let netns = format!("/proc/{}/ns/net", pod.id());
        // Capabilities are per thread: the other tests keep theirs.
        let confined = thread::spawn(move || {
            confine().unwrap();
            confine().unwrap();
            let read = |set| caps::read(None, set).unwrap();
            // Its child threads have no more either.
            let child = thread::spawn(|| caps::read(None, CapSet::Effective).unwrap());
            let sets = [CapSet::Effective, CapSet::Permitted].map(read);
            let none = [CapSet::Inheritable, CapSet::Ambient].map(read);
            let seen = std::fs::metadata(netns);
            let child = child.join().unwrap();
            let hears = dataplane::monitor::Monitor::new();
            (sets, none, read(CapSet::Bounding), child, seen, hears)
        });
        let (sets, none, bounding, child, seen, hears) = confined.join().unwrap();
        pod.kill().unwrap();
        pod.wait().unwrap();
        assert_eq!(sets, [expected.clone(), expected.clone()]);
        assert_eq!(child, expected);
        assert!(none.iter().all(HashSet::is_empty));
        if before.contains(&Capability::CAP_NET_BROADCAST) {
            assert!(hears.is_ok(), "{hears:?}");
        }
        if before.contains(&Capability::CAP_SETPCAP) {
            assert!(bounding.is_subset(&kept), "{bounding:?}");
            assert!(seen.is_ok(), "{seen:?}");
        }
        assert_eq!(caps::read(None, CapSet::Permitted).unwrap(), before);
    }

    #[test]
    fn what_is_missing_is_told() {
        let obstacles = thread::spawn(|| {
            caps::clear(None, CapSet::Effective).unwrap();
            obstacles()
        });
        let obstacles = obstacles.join().unwrap();
        assert!(
            obstacles[0].starts_with("CAP_NET_ADMIN is missing"),
            "{obstacles:?}"
        );
        assert!(obstacles.len() >= KEPT.len());
    }
}
