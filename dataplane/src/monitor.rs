//! Kernel event monitor of many namespaces through one socket.
//!
//! The kernel hands a socket with `NETLINK_LISTEN_ALL_NSID` the notifications of every namespace that has a number (nsid) in
//! the socket's own one. So a namespace costs a number and a name here, not a socket and a thread.

use std::{
    collections::{HashMap, VecDeque},
    os::fd::{AsFd, AsRawFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use crate::{
    Error,
    linux::read_link,
    netlink::{
        AF_UNSPEC, Batch, NETNSA_FD, NETNSA_NSID, RTM_DELLINK, RTM_DELNEXTHOP, RTM_GETNSID,
        RTM_NEWLINK, RTM_NEWNSID, Socket, attributes, messages, read_u32,
    },
    netns::Netns,
};

/// `RTNLGRP_LINK`.
const GROUP_LINK: u32 = 1;
/// `RTNLGRP_NEXTHOP`. Route groups are left out: our own routes, by the million, would come back through them.
const GROUP_NEXTHOP: u32 = 32;
/// A link notification is below 4 KiB.
const DATAGRAM: usize = 32 * 1024;
/// Bytes of `struct rtgenmsg`, padded.
const RTGENMSG: [u8; 4] = [AF_UNSPEC, 0, 0, 0];

/// Event in a watched namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A link was added, changed its usability, or was deleted. Reported once for each change. With
    /// a link that is down the kernel flushes its nexthop object, groups without another member,
    /// and their routes, without notifications.
    Link {
        /// Name of the namespace.
        netns: Arc<str>,
        /// Interface name.
        link: String,
        /// Up and with carrier. False also after the deletion.
        is_up: bool,
        /// False after the deletion.
        exists: bool,
    },
    /// A nexthop object or group was deleted, and its routes with it: observe again. Own deletions
    /// are reported too.
    Routing {
        /// Name of the namespace.
        netns: Arc<str>,
    },
    /// Notifications were lost: observe everything again.
    Resync,
}

/// Watches namespaces. Shared by reference: one thread waits in [`Monitor::next`], others add namespaces.
#[derive(Debug)]
pub struct Monitor {
    listener: Socket,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// For numbers.
    socket: Socket,
    name_by_nsid: HashMap<u32, Arc<str>>,
    /// Last reported state of each link: (nsid, interface) to up.
    up_by_link: HashMap<(u32, u32), bool>,
    queue: VecDeque<Event>,
}

impl Monitor {
    /// A monitor that belongs to the calling thread's namespace ("host") and watches nothing yet.
    ///
    /// # Errors
    /// [`Error::System`] without `CAP_NET_BROADCAST` in the host's user namespace.
    pub fn new() -> Result<Self, Error> {
        let listener = Socket::open()?;
        let failed = |error| Error::system("listen on", "netlink socket", error);
        let inner = listener.inner();
        inner.set_listen_all_namespaces(true).map_err(failed)?;
        for group in [GROUP_LINK, GROUP_NEXTHOP] {
            inner.add_membership(group).map_err(failed)?;
        }
        let state = State {
            socket: Socket::open()?,
            name_by_nsid: HashMap::new(),
            up_by_link: HashMap::new(),
            queue: VecDeque::new(),
        };
        Ok(Self {
            listener,
            state: Mutex::new(state),
        })
    }

    /// Watches one more namespace. Watching it twice changes nothing.
    ///
    /// Changes before this call raise no event: observe after it.
    pub fn watch(&self, netns: &str) -> Result<(), Error> {
        let open = Netns::open(netns)?;
        let mut state = self.state();
        let nsid = state.number(&open)?;
        state.up_by_link.retain(|&(known, _), _| known != nsid);
        state.name_by_nsid.insert(nsid, netns.into());
        Ok(())
    }

    /// Stops watching a namespace. Call it for a deleted one before another is watched under its
    /// name.
    pub fn forget(&self, netns: &str) {
        let mut state = self.state();
        let State {
            name_by_nsid,
            up_by_link,
            ..
        } = &mut *state;
        name_by_nsid.retain(|_, name| name.as_ref() != netns);
        up_by_link.retain(|(nsid, _), _| name_by_nsid.contains_key(nsid));
    }

    /// Next event; `None` after `limit` without one. For one thread at a time.
    ///
    /// # Errors
    /// [`Error::System`] when the socket fails, which no test has seen; lost notifications are [`Event::Resync`].
    pub fn next(&self, limit: Duration) -> Result<Option<Event>, Error> {
        let deadline = std::time::Instant::now() + limit;
        loop {
            if let Some(event) = self.state().queue.pop_front() {
                return Ok(Some(event));
            }
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            // Rounded up, so that the last part of a millisecond is not spent in a busy loop.
            let left = u16::try_from(left.as_micros().div_ceil(1000)).unwrap_or(u16::MAX);
            let mut waited = [PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
            match poll(&mut waited, PollTimeout::from(left)) {
                Ok(0) if std::time::Instant::now() >= deadline => return Ok(None),
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => self.receive()?,
                Err(error) => return Err(Error::system("wait on", "netlink socket", error)),
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The maps are whole between any two statements that can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn receive(&self) -> Result<(), Error> {
        let mut buffer = [0; DATAGRAM];
        match receive(self.listener.as_fd().as_raw_fd(), &mut buffer) {
            Ok((length, Some(nsid))) => self.state().read(nsid, &buffer[..length]),
            // The host's own interfaces, or an answer.
            Ok((_, None)) | Err(Errno::EAGAIN | Errno::EINTR) => Ok(()),
            Err(Errno::ENOBUFS) => {
                let mut state = self.state();
                state.up_by_link.clear();
                state.queue.clear();
                state.queue.push_back(Event::Resync);
                Ok(())
            }
            Err(error) => Err(Error::system("receive from", "netlink socket", error)),
        }
    }
}

impl State {
    /// The number of a namespace in the host's, given now if it has none.
    fn number(&mut self, netns: &Netns) -> Result<u32, Error> {
        let descriptor = netns.as_raw_fd().cast_unsigned();
        let mut batch = Batch::new();
        // -1: any free number.
        batch
            .message(RTM_NEWNSID, 0, &RTGENMSG)
            .u32(NETNSA_NSID, u32::MAX)
            .u32(NETNSA_FD, descriptor);
        let refused = |source| Error::Refused {
            object: "namespace number".to_owned(),
            source,
        };
        match self.socket.run(&mut batch)?.pop() {
            Some(rejection) if rejection.errno != libc::EEXIST => return Err(refused(rejection)),
            _ => {}
        }
        batch
            .message(RTM_GETNSID, 0, &RTGENMSG)
            .u32(NETNSA_FD, descriptor);
        let mut number = None;
        self.socket.dump(&mut batch, |_, payload| {
            let mut found = attributes(payload.get(4..).unwrap_or_default());
            number = found
                .find(|a| a.kind == NETNSA_NSID)
                .and_then(|a| read_u32(a.value));
        })?;
        number
            .filter(|&number| number != u32::MAX)
            .ok_or(Error::Malformed {
                reason: "the number of a namespace",
            })
    }

    /// Reads the notifications of one namespace.
    fn read(&mut self, nsid: u32, bytes: &[u8]) -> Result<(), Error> {
        let Some(netns) = self.name_by_nsid.get(&nsid).cloned() else {
            return Ok(());
        };
        messages(bytes, |kind, _, _, payload| {
            match kind {
                RTM_NEWLINK | RTM_DELLINK => {
                    let Some((link, seen)) = read_link(payload) else {
                        return Ok(());
                    };
                    let exists = kind == RTM_NEWLINK;
                    let is_up = exists && seen.is_up;
                    let key = (nsid, seen.index);
                    let told = match exists {
                        true => self.up_by_link.insert(key, is_up) == Some(is_up),
                        false => self.up_by_link.remove(&key).is_none(),
                    };
                    if !told {
                        let netns = netns.clone();
                        self.queue.push_back(Event::Link {
                            netns,
                            link,
                            is_up,
                            exists,
                        });
                    }
                }
                RTM_DELNEXTHOP => {
                    let event = Event::Routing {
                        netns: netns.clone(),
                    };
                    if self.queue.back() != Some(&event) {
                        self.queue.push_back(event);
                    }
                }
                _ => {}
            }
            Ok(())
        })
    }
}

/// Reads one datagram and the number of the namespace that it comes from.
fn receive(descriptor: i32, buffer: &mut [u8]) -> nix::Result<(usize, Option<u32>)> {
    let mut vector = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let mut control = [0_u64; 16];
    // SAFETY: all-zero bytes are a valid `msghdr`: null pointers with zero lengths.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control) as _;
    // SAFETY: the header points to one vector and one control buffer, both alive and of the lengths given.
    let length = unsafe { libc::recvmsg(descriptor, &raw mut header, libc::MSG_DONTWAIT) };
    let length = Errno::result(length)?.cast_unsigned();
    let mut nsid = None;
    // SAFETY: the kernel filled the control buffer, and the macros stay within `msg_controllen`.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(&raw const header);
        while !message.is_null() {
            let kind = ((*message).cmsg_level, (*message).cmsg_type);
            if kind == (libc::SOL_NETLINK, libc::NETLINK_LISTEN_ALL_NSID) {
                nsid = Some(libc::CMSG_DATA(message).cast::<u32>().read_unaligned());
            }
            message = libc::CMSG_NXTHDR(&raw const header, message);
        }
    }
    Ok((length, nsid))
}
