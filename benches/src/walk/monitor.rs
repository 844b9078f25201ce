//! Notifications of the kernel in many namespaces: links that fall, and writes to tables.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    errno::Errno,
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv,
        setsockopt, socket, sockopt,
    },
};

use crate::harness::{command::hurry, netns::within};

/// `RTMGRP_LINK`, `RTMGRP_IPV4_ROUTE`, `RTMGRP_IPV6_ROUTE` and the bit of `RTNLGRP_NEXTHOP`.
const GROUPS: u32 = 1 | 0x40 | 0x400 | 1 << 31;
/// Bytes of notifications that one namespace may have waiting.
const BUFFER: usize = 8 << 20;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;
/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;

/// Kind of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A link that is not usable.
    LinkDown,
    /// A next hop, a group or a route was written.
    Table,
}

/// A notification.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    /// Time at which it was read.
    pub(crate) at: Instant,
    /// Position of its namespace.
    pub(crate) namespace: usize,
    /// Its kind.
    pub(crate) kind: Kind,
}

/// A socket in each namespace.
pub(crate) struct Monitor(Vec<OwnedFd>);

/// A thread that reads notifications.
pub(crate) struct Reading(JoinHandle<Result<Vec<Event>>>);

impl Monitor {
    /// Listens in these namespaces.
    ///
    /// # Errors
    /// When one cannot be entered.
    pub(crate) fn new<'a>(namespaces: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let open = || -> Result<OwnedFd> {
            let (family, protocol) = (AddressFamily::Netlink, SockProtocol::NetlinkRoute);
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let opened = socket(family, SockType::Raw, flags, protocol)?;
            setsockopt(&opened, sockopt::RcvBufForce, &BUFFER)?;
            bind(opened.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
            Ok(opened)
        };
        let namespaces = namespaces.into_iter();
        let sockets = namespaces.map(|netns| within(netns, open));
        Ok(Self(sockets.collect::<Result<_>>()?))
    }

    /// Reads in a thread of its own until `is_over` says so of all events so far and the time since
    /// the last of them, or `limit` has passed.
    pub(crate) fn read(
        self,
        limit: Duration,
        is_over: impl Fn(&[Event], Duration) -> bool + Send + 'static,
    ) -> Reading {
        Reading(thread::spawn(move || {
            hurry();
            self.read_here(limit, is_over)
        }))
    }

    fn read_here(
        &self,
        limit: Duration,
        is_over: impl Fn(&[Event], Duration) -> bool,
    ) -> Result<Vec<Event>> {
        let (start, mut events) = (Instant::now(), vec![]);
        let mut waiting: Vec<PollFd<'_>> = self
            .0
            .iter()
            .map(|it| PollFd::new(it.as_fd(), PollFlags::POLLIN))
            .collect();
        let mut buffer = vec![0; 256 << 10];
        loop {
            let last = events.last().map_or(start, |event: &Event| event.at);
            if is_over(&events, last.elapsed()) || start.elapsed() >= limit {
                return Ok(events);
            }
            let ready = poll(&mut waiting, PollTimeout::from(10u8))?;
            if ready == 0 {
                continue;
            }
            for (namespace, socket) in waiting.iter().enumerate() {
                if socket.any() == Some(true) {
                    self.drain(namespace, &mut buffer, &mut events)?;
                }
            }
        }
    }

    fn drain(&self, namespace: usize, buffer: &mut [u8], events: &mut Vec<Event>) -> Result<()> {
        loop {
            let length = match recv(self.0[namespace].as_raw_fd(), buffer, MsgFlags::empty()) {
                Ok(length) => length,
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR) => continue,
                Err(Errno::ENOBUFS) => bail!("notifications were lost"),
                Err(error) => return Err(error.into()),
            };
            let at = Instant::now();
            events.extend(kinds(&buffer[..length]).map(|kind| Event {
                at,
                namespace,
                kind,
            }));
        }
    }
}

impl Reading {
    /// The events, once it is over.
    ///
    /// # Errors
    /// When notifications were lost.
    pub(crate) fn finish(self) -> Result<Vec<Event>> {
        self.0.join().ok().context("the reader panicked")?
    }
}

/// Time from the first fall of a link to the first write in each namespace of `wanted`, after it.
pub(crate) fn first_writes(events: &[Event], wanted: &[usize]) -> BTreeMap<usize, Duration> {
    let Some(down) = events.iter().find(|event| event.kind == Kind::LinkDown) else {
        return BTreeMap::new();
    };
    let first = |namespace: &usize| {
        let is_it = |event: &&Event| {
            event.kind == Kind::Table && event.namespace == *namespace && event.at >= down.at
        };
        let found = events.iter().find(is_it)?;
        Some((*namespace, found.at - down.at))
    };
    wanted.iter().filter_map(first).collect()
}

/// The kinds of the messages in a datagram that are of use here.
fn kinds(mut bytes: &[u8]) -> impl Iterator<Item = Kind> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
        let message = bytes.get(..length.max(HEADER))?;
        bytes = bytes
            .get(length.max(HEADER).next_multiple_of(4)..)
            .unwrap_or_default();
        Some(kind(message))
    })
    .flatten()
}

fn kind(message: &[u8]) -> Option<Kind> {
    let word = |at: usize| {
        message
            .get(at..)?
            .first_chunk()
            .copied()
            .map(u32::from_ne_bytes)
    };
    match u16::from_ne_bytes(*message.get(4..)?.first_chunk()?) {
        RTM_NEWLINK => {
            // `struct ifinfomsg`: family, type, index, flags.
            let flags = word(HEADER + 8)?;
            let wanted = (libc::IFF_UP | libc::IFF_RUNNING) as u32;
            (flags & wanted != wanted).then_some(Kind::LinkDown)
        }
        RTM_NEWROUTE | RTM_DELROUTE | RTM_NEWNEXTHOP | RTM_DELNEXTHOP => Some(Kind::Table),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, flags: u32) -> Vec<u8> {
        let mut message = 32u32.to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.resize(HEADER + 8, 0);
        message.extend(flags.to_ne_bytes());
        message.resize(32, 0);
        message
    }

    #[test]
    fn messages_of_a_datagram_are_told_apart() {
        let up = (libc::IFF_UP | libc::IFF_RUNNING) as u32;
        let messages = [
            message(RTM_NEWLINK, up),
            message(RTM_NEWLINK, libc::IFF_UP as u32),
            message(RTM_NEWNEXTHOP, 0),
            message(1, 0),
            message(RTM_DELROUTE, 0),
        ];
        let found: Vec<Kind> = kinds(&messages.concat()).collect();
        assert_eq!(found, [Kind::LinkDown, Kind::Table, Kind::Table]);
        assert_eq!(kinds(&[1, 2, 3]).count(), 0);
        assert_eq!(kinds(&message(RTM_NEWNEXTHOP, 0)[..20]).count(), 0);
    }

    #[test]
    fn writes_count_from_the_fall_of_the_link() {
        let start = Instant::now();
        let event = |ms, namespace, kind| Event {
            at: start + Duration::from_millis(ms),
            namespace,
            kind,
        };
        let events = [
            event(1, 1, Kind::Table),
            event(2, 0, Kind::LinkDown),
            event(3, 2, Kind::Table),
            event(7, 1, Kind::Table),
            event(9, 1, Kind::Table),
        ];
        let found = first_writes(&events, &[1, 3]);
        assert_eq!(found, BTreeMap::from([(1, Duration::from_millis(5))]));
        assert!(first_writes(&events[2..], &[1]).is_empty());
    }
}
