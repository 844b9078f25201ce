//! ICMP errors of routers about probes, from a socket's error queue.

use std::{
    io::{self, IoSliceMut},
    net::IpAddr,
    os::fd::AsRawFd,
};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
use socket2::Socket;

use super::packet::PROBE_BYTES;

/// True when a socket error reports an ICMP error about an earlier probe.
pub(super) fn is_answer(error: &io::Error) -> bool {
    let kinds = [
        nix::libc::EHOSTUNREACH,
        nix::libc::ENETUNREACH,
        nix::libc::ECONNREFUSED,
    ];
    error
        .raw_os_error()
        .is_some_and(|number| kinds.contains(&number) || number == nix::libc::EPROTO)
}

/// ICMP error of a router about a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Expired(IpAddr),
    Unreachable(IpAddr),
}

/// Takes one answer off the error queue, with the data of the probe that it is about.
pub(super) fn read_error(socket: &Socket) -> io::Result<Option<(Vec<u8>, Answer)>> {
    let mut data = [0u8; PROBE_BYTES + 1];
    let mut control = nix::cmsg_space!([u8; 256]);
    loop {
        let mut vectors = [IoSliceMut::new(&mut data)];
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let received =
            recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut vectors, Some(&mut control), flags);
        let message = match received {
            Ok(message) => message,
            Err(nix::errno::Errno::EAGAIN) => return Ok(None),
            Err(nix::errno::Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        };
        let length = message.bytes;
        let answer = message.cmsgs()?.find_map(|control| answer_in(&control));
        if let Some(answer) = answer {
            return Ok(Some((data[..length].to_vec(), answer)));
        }
    }
}

fn answer_in(control: &ControlMessageOwned) -> Option<Answer> {
    const V4_TIME_EXCEEDED: u8 = 11;
    const V4_UNREACHABLE: u8 = 3;
    const V6_TIME_EXCEEDED: u8 = 3;
    const V6_UNREACHABLE: u8 = 1;
    let (error, router, expired, unreachable) = match control {
        ControlMessageOwned::Ipv4RecvErr(error, Some(from)) => {
            let router = IpAddr::from(from.sin_addr.s_addr.to_ne_bytes());
            (error, router, V4_TIME_EXCEEDED, V4_UNREACHABLE)
        }
        ControlMessageOwned::Ipv6RecvErr(error, Some(from)) => {
            let router = IpAddr::from(from.sin6_addr.s6_addr);
            (error, router, V6_TIME_EXCEEDED, V6_UNREACHABLE)
        }
        _ => return None,
    };
    match error.ee_type {
        kind if kind == expired => Some(Answer::Expired(router)),
        kind if kind == unreachable => Some(Answer::Unreachable(router)),
        _ => None,
    }
}
