//! Deletes namespaces and devices of namespaces that have lost their names.
//!
//! A namespace exists as long as a process is in it, even without its name. So our objects in it are deleted before the name:
//! tunnels, whose identifiers belong to the host's namespace, and the other ends of its links are free then.

use std::panic::resume_unwind;
use std::thread::{self, Builder, ScopedJoinHandle};

use super::observe;
use crate::{
    Error,
    kernel::Applied,
    netlink::*,
    netns::{self, Netns},
    observed::SeenLink,
    state::{LINK_GROUP, Link, LinkKind},
};

/// Namespaces that are emptied at one time: deleting an interface waits some 15 ms for all processors, and the waits overlap.
const AT_ONCE: usize = 16;
/// Bytes of `struct rtgenmsg`, padded.
const RTGENMSG: [u8; 4] = [AF_UNSPEC, 0, 0, 0];

/// Deletes namespaces by name, our interfaces in them first. Absent is deleted.
pub(super) fn namespaces(names: &[&str], applied: &mut Applied) {
    namespaces_on(|| Builder::new().name("netns".to_owned()), names, applied);
}

/// Deletes namespaces, each on a thread by `builder`. Where none can be started, the namespace is a failure, tried again later.
fn namespaces_on(builder: impl Fn() -> Builder, names: &[&str], applied: &mut Applied) {
    for some in names.chunks(AT_ONCE) {
        let outcomes: Vec<_> = thread::scope(|scope| {
            let start = |name| {
                let started = builder().spawn_scoped(scope, move || namespace(name));
                started.map_err(|error| Error::system("start", "worker thread", error))
            };
            let workers: Vec<_> = some.iter().copied().map(start).collect();
            let join = |worker: ScopedJoinHandle<_>| {
                worker.join().unwrap_or_else(|panic| resume_unwind(panic))
            };
            let outcomes = workers.into_iter().map(|worker| worker.and_then(join));
            outcomes.zip(some).collect()
        });
        for (outcome, name) in outcomes {
            match outcome {
                Ok(deleted) => applied.writes += u64::from(deleted),
                Err(source) => applied.fail(name, "network namespace", source),
            }
        }
    }
}

/// Deletes one namespace. Runs on a thread of its own, whose namespace changes.
fn namespace(name: &str) -> Result<bool, Error> {
    match Netns::open(name) {
        Ok(netns) => {
            netns.enter()?;
            interfaces(&mut Socket::open()?)?;
        }
        Err(Error::NoNamespace { .. }) => {}
        Err(error) => return Err(error),
    }
    netns::delete(name)
}

/// Deletes all our interfaces in the socket's namespace: the group at once, then what has lost it and still has our alias.
fn interfaces(socket: &mut Socket) -> Result<(), Error> {
    let is_ours = |link: &&SeenLink| link.is_ours;
    if !observe::links(socket)?.values().any(|link| is_ours(&link)) {
        return Ok(());
    }
    let mut batch = Batch::new();
    batch
        .message(RTM_DELLINK, 0, &ifinfomsg(AF_UNSPEC, 0, 0, 0))
        .u32(IFLA_GROUP, LINK_GROUP);
    // Refused when there is none of the group.
    socket.run(&mut batch)?;
    batch.clear();
    for link in observe::links(socket)?.values().filter(is_ours) {
        batch.message(RTM_DELLINK, 0, &ifinfomsg(AF_UNSPEC, link.index, 0, 0));
    }
    let mut refused = socket.run(&mut batch)?.into_iter();
    match refused.find(|source| source.errno != libc::ENODEV) {
        None => Ok(()),
        Some(source) => Err(Error::Refused {
            object: "interfaces of a namespace".to_owned(),
            source,
        }),
    }
}

/// Deletes tunnels of beemesh that are the same as `link`, in whichever namespace that has a number in the socket's. Returns how
/// many there were.
pub(super) fn stray_tunnels(socket: &mut Socket, link: &Link) -> Result<u64, Error> {
    let LinkKind::Vxlan {
        vni, port, local, ..
    } = &link.kind
    else {
        return Ok(0);
    };
    let is_same = |seen: &SeenLink| {
        let wanted = Some((*vni, *port, Some(*local)));
        seen.is_ours && seen.kind == "vxlan" && seen.mac == link.mac && seen.vxlan == wanted
    };
    let strays = numbered(socket, is_same)?;
    delete_numbered(socket, &strays)
}

/// An interface in another namespace: that one's number in the socket's, and its index there.
pub(super) type Numbered = (u32, u32);

/// Interfaces that are meant, of all namespaces that have a number in the socket's.
pub(super) fn numbered(
    socket: &mut Socket,
    is_meant: impl Fn(&SeenLink) -> bool,
) -> Result<Vec<Numbered>, Error> {
    let mut found = Vec::new();
    for number in numbers(socket)? {
        let mut here = Vec::new();
        let mut batch = Batch::new();
        batch
            .message(RTM_GETLINK, NLM_F_DUMP, &ifinfomsg(AF_UNSPEC, 0, 0, 0))
            .u32(IFLA_TARGET_NETNSID, number)
            .u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
        let dumped = socket.dump(&mut batch, |_, payload| {
            let seen = observe::link(payload).filter(|(_, seen)| is_meant(seen));
            here.extend(seen.map(|(_, seen)| (number, seen.index)));
        });
        match dumped {
            Ok(()) => found.append(&mut here),
            // The namespace ended meanwhile.
            Err(Error::Refused { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Deletes interfaces of other namespaces; returns how many there were. One of a pair goes with the other.
pub(super) fn delete_numbered(socket: &mut Socket, all: &[Numbered]) -> Result<u64, Error> {
    let mut deleted = 0;
    for &(number, index) in all {
        let mut batch = Batch::new();
        batch
            .message(RTM_DELLINK, 0, &ifinfomsg(AF_UNSPEC, index, 0, 0))
            .u32(IFLA_TARGET_NETNSID, number);
        match socket.run(&mut batch)?.into_iter().next() {
            None => deleted += 1,
            Some(source) if matches!(source.errno, libc::ENODEV | libc::EINVAL) => {}
            Some(source) => {
                let object = format!("interface {index} of namespace {number}");
                return Err(Error::Refused { object, source });
            }
        }
    }
    Ok(deleted)
}

/// The numbers of other namespaces in the socket's.
fn numbers(socket: &mut Socket) -> Result<Vec<u32>, Error> {
    let mut batch = Batch::new();
    batch.message(RTM_GETNSID, NLM_F_DUMP, &RTGENMSG);
    let mut numbers = Vec::new();
    socket.dump(&mut batch, |_, payload| {
        let mut found = attributes(payload.get(RTGENMSG.len()..).unwrap_or_default());
        let number = found.find(|attribute| attribute.kind == NETNSA_NSID);
        numbers.extend(number.and_then(|attribute| read_u32(attribute.value)));
    })?;
    numbers.retain(|number| *number != u32::MAX);
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_of_threads_is_a_failure_of_each_namespace() {
        let mut applied = Applied::default();
        // A stack that is larger than the address space.
        namespaces_on(
            || Builder::new().stack_size(1 << 50),
            &["a", "b"],
            &mut applied,
        );
        let failed: Vec<&str> = applied.failures.iter().map(|it| &*it.netns).collect();
        assert_eq!((failed, applied.writes), (vec!["a", "b"], 0));
        let is_transient = applied.failures.iter().all(|it| it.source.is_transient());
        assert!(is_transient, "{:?}", applied.failures);
    }
}
