//! Deletes an attachment.
//!
//! Deleting an interface takes the kernel some 15 ms, nearly all of it after both ends are gone from
//! their namespaces: it waits until no processor can still hold a reference (`rcu_barrier` in
//! `netdev_run_todo`). No end, order, move or batch avoids that (measured); only not waiting does.
//! A system call cannot be left early, so [`unwire_pod`] lets a child process make it and returns
//! when the kernel announces that the interface is gone, after 1 to 2 ms.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::{Duration, Instant},
};

use libc::{ENODEV, POLLIN};
use nix::{
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, Pid, close, fork, pipe},
};

use super::link;
use crate::{
    Error,
    mac::Mac,
    netlink::{AF_UNSPEC, Batch, RTM_DELLINK, Socket, ifinfomsg, read_u16, read_u32},
    netns::Netns,
};

/// `RTNLGRP_LINK`: where the kernel announces interfaces.
const LINK_EVENTS: u32 = libc::RTNLGRP_LINK;
/// A kernel that is busy with other interfaces may take its time.
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;

/// Deletes the interface `interface` with the alias `alias`, either end of an attachment, and with it the other end. False
/// when it was absent. Returns when the kernel is done with it.
///
/// # Errors
/// [`Error::Foreign`] when an interface of that name does not carry our mark, or the alias of another attachment.
pub fn unwire(netns: &Netns, interface: &str, alias: &str) -> Result<bool, Error> {
    remove(&mut Socket::open_in(netns)?, interface, alias)
}

/// As [`unwire`], for an interface without a lease, whatever its attachment.
///
/// # Errors
/// [`Error::Foreign`] when an interface of that name does not carry our mark.
pub fn unwire_unowned(netns: &Netns, interface: &str) -> Result<bool, Error> {
    remove_if(
        &mut Socket::open_in(netns)?,
        interface,
        link::Seen::is_marked,
    )
}

/// Deletes every interface with the alias `owner` in the pod's namespace. Returns how many there were, once they are gone from
/// that namespace and the Forwarder's. An end that has no alias yet is the node's to delete, by its lease.
///
/// # Assumptions
/// The calling process has one thread and ends soon: a child of it may outlive the call by some
/// 20 ms, and is left to the next reaper.
pub fn unwire_pod(pod: &Netns, owner: &str) -> Result<usize, Error> {
    let (socket, events) = pod.run(|| (Socket::open(), events()))?;
    let (mut socket, events) = (socket?, events?);
    let links = link::list(&mut socket)?;
    let owned: Vec<_> = links
        .into_iter()
        .filter(|seen| seen.alias == owner)
        .collect();
    for seen in &owned {
        delete_in_child(&mut socket, &events, seen.index)?;
    }
    Ok(owned.len())
}

/// An interface in a pod's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodInterface {
    /// Its name.
    pub name: String,
    /// Its alias, empty when there is none.
    pub alias: String,
    /// Its link-layer address.
    pub mac: Mac,
}

/// All interfaces in the pod's namespace.
pub fn pod_interfaces(pod: &Netns) -> Result<Vec<PodInterface>, Error> {
    let links = link::list(&mut Socket::open_in(pod)?)?.into_iter();
    let interface = |seen: link::Seen| PodInterface {
        name: seen.name,
        alias: seen.alias,
        mac: seen.mac,
    };
    Ok(links.map(interface).collect())
}

/// Deletes the interface called `name` if it carries our mark and no other alias; false when there is none.
pub(super) fn remove(socket: &mut Socket, name: &str, alias: &str) -> Result<bool, Error> {
    remove_if(socket, name, |seen| seen.is_marked_as(alias))
}

fn remove_if(
    socket: &mut Socket,
    name: &str,
    is_meant: impl FnOnce(&link::Seen) -> bool,
) -> Result<bool, Error> {
    match link::find(socket, name)? {
        None => Ok(false),
        Some(seen) if is_meant(&seen) => delete(socket, seen.index).map(|()| true),
        Some(_) => Err(Error::Foreign {
            object: format!("interface {name}"),
        }),
    }
}

/// Deletes by index. Absent is success.
fn delete(socket: &mut Socket, index: u32) -> Result<(), Error> {
    let mut batch = Batch::new();
    batch.message(RTM_DELLINK, 0, &ifinfomsg(AF_UNSPEC, index, 0, 0));
    match socket.run(&mut batch)?.into_iter().next() {
        Some(source) if source.errno != ENODEV => Err(Error::Refused {
            object: format!("interface {index}"),
            source,
        }),
        _ => Ok(()),
    }
}

fn delete_in_child(
    socket: &mut Socket,
    events: &netlink_sys::Socket,
    index: u32,
) -> Result<(), Error> {
    let Ok((done, running)) = pipe() else {
        return delete(socket, index);
    };
    // SAFETY: by the assumption of `unwire_pod` no other thread holds a lock that the child needs.
    match unsafe { fork() } {
        Err(_) => delete(socket, index),
        Ok(ForkResult::Child) => child(socket, index),
        Ok(ForkResult::Parent { child }) => {
            drop(running);
            match wait(events, &done, index, child)? {
                true => Ok(()),
                // The child says no more than that it failed; asking again says why.
                false => delete(socket, index),
            }
        }
    }
}

/// Deletes and ends. Whoever waits for the end of the parent's output must not wait for this.
fn child(socket: &mut Socket, index: u32) -> ! {
    for stream in 0..3 {
        let _ = close(stream);
    }
    let status = i32::from(delete(socket, index).is_err());
    // SAFETY: `_exit` ends the process without running what belongs to the parent.
    unsafe { libc::_exit(status) }
}

/// Waits until the kernel announces that `index` is gone, or the child ends. False when it failed.
fn wait(
    events: &netlink_sys::Socket,
    done: &OwnedFd,
    index: u32,
    child: Pid,
) -> Result<bool, Error> {
    let end = Instant::now() + TIME_LIMIT;
    let mut is_deaf = false;
    loop {
        let event = if is_deaf { -1 } else { events.as_raw_fd() };
        let ready = poll([event, done.as_fd().as_raw_fd()], end)?;
        if ready[0] {
            match announces(events, index) {
                Ok(true) => return Ok(true),
                Ok(false) => continue,
                // Announcements were lost: the child's end confirms it later.
                Err(_) => is_deaf = true,
            }
        }
        if ready[1] {
            return Ok(matches!(waitpid(child, None), Ok(WaitStatus::Exited(_, 0))));
        }
    }
}

fn poll(descriptors: [i32; 2], end: Instant) -> Result<[bool; 2], Error> {
    let mut polled = descriptors.map(|fd| libc::pollfd {
        fd,
        events: POLLIN,
        revents: 0,
    });
    let rest = end.saturating_duration_since(Instant::now()).as_millis();
    let rest = i32::try_from(rest).unwrap_or(i32::MAX);
    // SAFETY: the pointer and length are those of a live array.
    match unsafe { libc::poll(polled.as_mut_ptr(), 2, rest) } {
        0 => Err(Error::Timeout { limit: TIME_LIMIT }),
        -1 => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok([false; 2]),
            error => Err(Error::system("wait for", "an interface to go", error)),
        },
        _ => Ok(polled.map(|entry| entry.revents != 0)),
    }
}

/// Opens a socket for announcements in the calling thread's namespace.
fn events() -> Result<netlink_sys::Socket, Error> {
    let failed = |error: io::Error| Error::system("listen on", "netlink socket", error);
    let mut socket = netlink_sys::Socket::new(libc::NETLINK_ROUTE as isize).map_err(failed)?;
    socket.bind_auto().map_err(failed)?;
    socket.add_membership(LINK_EVENTS).map_err(failed)?;
    socket.set_non_blocking(true).map_err(failed)?;
    Ok(socket)
}

/// Reads one datagram: does it say that `index` is gone?
fn announces(events: &netlink_sys::Socket, index: u32) -> io::Result<bool> {
    let mut buffer = Vec::with_capacity(16 * 1024);
    events.recv(&mut buffer, 0)?;
    let mut rest = &buffer[..];
    while let Some(length) = read_u32(rest).map(|length| length as usize) {
        let Some(message) = rest.get(..length).filter(|message| message.len() >= HEADER) else {
            break;
        };
        let is_gone = read_u16(&message[4..]) == Some(RTM_DELLINK);
        if is_gone && message.get(HEADER + 4..).and_then(read_u32) == Some(index) {
            return Ok(true);
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}
