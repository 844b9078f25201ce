//! A netlink socket: batches out, errors in, dumps.

use std::{
    fmt, io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    time::Duration,
};

use nix::sys::{
    socket::{MsgFlags, recv, send, setsockopt, sockopt},
    time::TimeVal,
};

use super::{
    attribute::{attributes, read_str, read_u16, read_u32},
    batch::{Batch, HEADER},
    consts::*,
};
use crate::{Error, error::Rejection, netns::Netns};

/// Messages in one send. Beyond 128 nothing is gained (measured); errors of one send must fit the receive buffer.
const MESSAGES_PER_SEND: usize = 128;
/// Bytes in one send, below the default send buffer of 208 KiB.
const BYTES_PER_SEND: usize = 96 * 1024;
/// 8 MiB: the default of 208 KiB overflows on many errors at once, and the lost answers are waited for in vain.
const RECEIVE_BUFFER: usize = 8 * 1024 * 1024;
/// The kernel answers while the request is sent, so this passes only when an answer was lost.
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// Dumps come in pieces of at most 32 KiB when the reader offers that much.
const PIECE: usize = 64 * 1024;

/// A socket that belongs to the namespace in which it was opened, wherever its thread goes later.
pub struct Socket {
    inner: netlink_sys::Socket,
    sequence: u32,
    buffer: Vec<u8>,
    sent: u64,
}

impl Socket {
    /// Opens a routing socket in the calling thread's namespace.
    pub fn open() -> Result<Self, Error> {
        Self::open_protocol(libc::NETLINK_ROUTE)
    }

    /// Opens a socket of another netlink family, such as `NETLINK_NETFILTER`.
    pub fn open_protocol(protocol: i32) -> Result<Self, Error> {
        let failed = |error: io::Error| Error::system("open", "netlink socket", error);
        let protocol = isize::try_from(protocol).expect("isize holds an i32 on Linux");
        let mut inner = netlink_sys::Socket::new(protocol).map_err(failed)?;
        // A socket without a port number of its own is sent no notifications.
        inner.bind_auto().map_err(failed)?;
        inner.set_ext_ack(true).map_err(failed)?;
        // Answers need not repeat the request.
        inner.set_cap_ack(true).map_err(failed)?;
        if protocol == libc::NETLINK_ROUTE as isize {
            inner.set_netlink_get_strict_chk(true).map_err(failed)?;
        }
        // Without privilege the default buffer has to do: errors then surface as a resync.
        let _ = setsockopt(&inner, sockopt::RcvBufForce, &RECEIVE_BUFFER);
        let limit = TimeVal::new(TIME_LIMIT.as_secs().cast_signed(), 0);
        setsockopt(&inner, sockopt::ReceiveTimeout, &limit).map_err(|e| failed(e.into()))?;
        Ok(Self {
            inner,
            sequence: 0,
            buffer: Vec::new(),
            sent: 0,
        })
    }

    /// Opens a routing socket in `netns`, on a worker thread: the caller's thread stays where it is.
    pub fn open_in(netns: &Netns) -> Result<Self, Error> {
        netns.run(Self::open)?
    }

    /// For membership of groups.
    pub(crate) fn inner(&self) -> &netlink_sys::Socket {
        &self.inner
    }

    /// Messages that changed something or tried to, since the socket was opened.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Requests of any kind, since the socket was opened.
    pub fn requests(&self) -> u32 {
        self.sequence
    }

    /// Sends all messages in as few sends as can be, and empties the batch. Every message is tried, also after one was refused.
    ///
    /// Returns the refusals in order; none means all was done.
    ///
    /// # Errors
    /// The result of the batch is unknown: [`Error::Resync`], [`Error::Timeout`], [`Error::System`].
    pub fn run(&mut self, batch: &mut Batch) -> Result<Vec<Rejection>, Error> {
        let mut rejections = Vec::new();
        let mut first = 0;
        let mut result = Ok(());
        while first < batch.len() && result.is_ok() {
            let last = batch.chunk(first, MESSAGES_PER_SEND, BYTES_PER_SEND);
            result = self.run_chunk(batch, first, last, &mut rejections);
            first = last;
        }
        batch.clear();
        result.map(|()| rejections)
    }

    fn run_chunk(
        &mut self,
        batch: &mut Batch,
        first: usize,
        last: usize,
        rejections: &mut Vec<Rejection>,
    ) -> Result<(), Error> {
        let base = self.sequence.wrapping_add(1);
        let count = u32::try_from(last - first).expect("a chunk is small");
        self.sequence = self.sequence.wrapping_add(count);
        self.sent += u64::from(count);
        self.send(batch.seal(first, last, base, true))?;
        let mut done = false;
        while !done {
            self.receive(|kind, sequence, _, payload| {
                let offset = sequence.wrapping_sub(base);
                if kind == NLMSG_ERROR && offset < count {
                    let index = first + offset as usize;
                    if let Some(rejection) = read_error(index, payload) {
                        rejections.push(rejection);
                    }
                    done |= offset + 1 == count;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Sends the one message of `batch` as a dump request and hands every answer (type, bytes after the netlink
    /// header) to `each`. Empties the batch.
    ///
    /// # Errors
    /// [`Error::Resync`] when the dump was interrupted by a change or overflowed; [`Error::Refused`] when refused.
    pub fn dump(
        &mut self,
        batch: &mut Batch,
        mut each: impl FnMut(u16, &[u8]),
    ) -> Result<(), Error> {
        self.sequence = self.sequence.wrapping_add(1);
        let wanted = self.sequence;
        let request = batch.seal(0, 1, wanted, false);
        let asked = request.get(4..).and_then(read_u16).unwrap_or_default();
        let result = self.send(request);
        batch.clear();
        result?;
        let (mut done, mut interrupted) = (false, false);
        while !done {
            self.receive(|kind, sequence, flags, payload| {
                if sequence != wanted {
                    return Ok(());
                }
                interrupted |= flags & NLM_F_DUMP_INTR != 0;
                match kind {
                    NLMSG_DONE | NLMSG_ERROR => {
                        done = true;
                        refusal(asked, payload)?;
                    }
                    _ => {
                        each(kind, payload);
                        done |= flags & NLM_F_MULTI == 0;
                    }
                }
                Ok(())
            })?;
        }
        if interrupted {
            return Err(Error::Resync {
                reason: "a dump was interrupted by a change",
            });
        }
        Ok(())
    }

    fn send(&self, bytes: &[u8]) -> Result<(), Error> {
        match send(self.inner.as_raw_fd(), bytes, MsgFlags::empty()) {
            Ok(_) => Ok(()),
            Err(error) => Err(Error::system("send to", "netlink socket", error)),
        }
    }

    /// Reads one datagram and hands over its messages: type, sequence, flags, bytes after the header.
    fn receive(
        &mut self,
        mut each: impl FnMut(u16, u32, u16, &[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.buffer.resize(PIECE, 0);
        let length = loop {
            match recv(self.inner.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                Ok(length) => break length,
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) => return Err(Error::Timeout { limit: TIME_LIMIT }),
                Err(nix::Error::ENOBUFS) => {
                    return Err(Error::Resync {
                        reason: "the receive buffer overflowed",
                    });
                }
                Err(error) => return Err(Error::system("receive from", "netlink socket", error)),
            }
        };
        messages(&self.buffer[..length], |kind, sequence, flags, payload| {
            each(kind, sequence, flags, payload)
        })
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            inner,
            sequence,
            sent,
            ..
        } = self;
        f.debug_struct("Socket")
            .field("descriptor", &inner.as_raw_fd())
            .field("sequence", sequence)
            .field("sent", sent)
            .finish_non_exhaustive()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

/// Hands over the messages of one datagram: type, sequence, flags, bytes after the header.
pub(crate) fn messages(
    mut bytes: &[u8],
    mut each: impl FnMut(u16, u32, u16, &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    const TORN: Error = Error::Malformed {
        reason: "a whole message",
    };
    while bytes.len() >= HEADER {
        let length = read_u32(bytes).map_or(0, |length| length as usize);
        let kind = read_u16(&bytes[4..]).ok_or(TORN)?;
        let flags = read_u16(&bytes[6..]).ok_or(TORN)?;
        let sequence = read_u32(&bytes[8..]).ok_or(TORN)?;
        each(
            kind,
            sequence,
            flags,
            bytes.get(HEADER..length).ok_or(TORN)?,
        )?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(())
}

/// The refusal in an error message; none for an ACK.
fn read_error(index: usize, payload: &[u8]) -> Option<Rejection> {
    let code = read_u32(payload)?.cast_signed();
    if code == 0 {
        return None;
    }
    // `struct nlmsgerr`: the code and the request's header (the request itself is left out: NETLINK_CAP_ACK).
    let words = payload.get(4 + HEADER..).unwrap_or_default();
    let message = attributes(words).find(|attribute| attribute.kind == NLMSGERR_ATTR_MSG);
    let message = message
        .map(|attribute| read_str(attribute.value))
        .unwrap_or_default();
    Some(Rejection {
        index,
        errno: -code,
        message,
    })
}

/// The end of a dump carries an error number too.
fn refusal(asked: u16, payload: &[u8]) -> Result<(), Error> {
    match read_error(0, payload) {
        None => Ok(()),
        Some(source) if source.errno == libc::EINTR => Err(Error::Resync {
            reason: "a dump was interrupted by a change",
        }),
        Some(source) => Err(Error::Refused {
            object: format!("a dump (message type {asked})"),
            source,
        }),
    }
}
