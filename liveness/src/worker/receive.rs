//! Datagrams of a receiving socket, with what the kernel says of them.

use std::io::IoSliceMut;
use std::os::fd::RawFd;
use std::time::Duration;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::sys::time::TimeSpec;

/// Bytes that are read of a datagram; a control packet has 24, one with authentication up to 52.
const MOST: usize = 128;

/// A received datagram.
#[derive(Debug)]
pub(super) struct Datagram<'a> {
    pub(super) bytes: &'a [u8],
    /// Index of the interface.
    pub(super) interface: u32,
    pub(super) ttl: u8,
    /// The time of reception, on the wall clock.
    pub(super) stamp: Option<Duration>,
}

/// Memory for one datagram, used again and again.
pub(super) struct Received {
    bytes: [u8; MOST],
    control: Vec<u8>,
}

impl Received {
    pub(super) fn new() -> Received {
        Received {
            bytes: [0; MOST],
            control: nix::cmsg_space!(TimeSpec, i32, libc::in6_pktinfo),
        }
    }

    /// The next datagram of a socket; none when it is empty.
    pub(super) fn next(&mut self, socket: RawFd) -> Option<Datagram<'_>> {
        let mut parts = [IoSliceMut::new(&mut self.bytes)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let message = recvmsg::<()>(socket, &mut parts, Some(&mut self.control), flags).ok()?;
        let (mut interface, mut ttl, mut stamp) = (0, 0, None);
        for control in message.cmsgs().ok()? {
            match control {
                ControlMessageOwned::Ipv4Ttl(it) | ControlMessageOwned::Ipv6HopLimit(it) => {
                    ttl = u8::try_from(it).unwrap_or(0);
                }
                ControlMessageOwned::Ipv4PacketInfo(info) => {
                    interface = u32::try_from(info.ipi_ifindex).unwrap_or(0);
                }
                ControlMessageOwned::Ipv6PacketInfo(info) => interface = info.ipi6_ifindex,
                ControlMessageOwned::ScmTimestampns(received) => stamp = Some(received.into()),
                _ => {}
            }
        }
        let length = message.bytes;
        Some(Datagram {
            bytes: &self.bytes[..length],
            interface,
            ttl,
            stamp,
        })
    }
}
