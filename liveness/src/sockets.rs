//! Sockets in a Forwarder's namespace.
//!
//! Packets are sent by a packet socket: over this very link, whatever the routes are. They are received by a UDP socket, as the kernel
//! takes in any packet of the link.

use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{c_int, c_void, sock_fprog, sockaddr_ll, socklen_t};
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{setsockopt, sockopt};

use crate::filter;
use crate::link::Family;

/// Bytes that wait for the thread when it does not run: some hundred packets of each of a thousand links.
const BUFFER: usize = 8 << 20;

/// The sockets of one namespace.
#[derive(Debug)]
pub(crate) struct Sockets {
    receive: UdpSocket,
    send: OwnedFd,
    family: Family,
}

impl Sockets {
    /// Opens both in the namespace of the calling thread.
    pub(crate) fn open(family: Family) -> io::Result<Sockets> {
        let address = match family {
            Family::V4 => SocketAddr::from((Ipv4Addr::UNSPECIFIED, bfd::PORT)),
            Family::V6 => SocketAddr::from((Ipv6Addr::UNSPECIFIED, bfd::PORT)),
        };
        let receive = bind(address, family)?;
        receive.set_nonblocking(true)?;
        setsockopt(&receive, sockopt::ReceiveTimestampns, &true)?;
        match family {
            Family::V4 => {
                setsockopt(&receive, sockopt::Ipv4RecvTtl, &true)?;
                setsockopt(&receive, sockopt::Ipv4PacketInfo, &true)?;
            }
            Family::V6 => {
                setsockopt(&receive, sockopt::Ipv6RecvHopLimit, &true)?;
                setsockopt(&receive, sockopt::Ipv6RecvPacketInfo, &true)?;
            }
        }
        // Without the privilege the system's largest buffer has to do.
        let _ = setsockopt(&receive, sockopt::RcvBufForce, &BUFFER)
            .or_else(|_| setsockopt(&receive, sockopt::RcvBuf, &BUFFER));
        let sockets = Sockets {
            receive,
            send: packet_socket()?,
            family,
        };
        sockets.accept_from(&[])?;
        Ok(sockets)
    }

    pub(crate) fn receiver(&self) -> BorrowedFd<'_> {
        self.receive.as_fd()
    }

    /// Takes packets of these interfaces only, and none that a router forwarded.
    pub(crate) fn accept_from(&self, interfaces: &[u32]) -> io::Result<()> {
        let mut program = filter::program(self.family, interfaces.iter().copied());
        let program = sock_fprog {
            len: u16::try_from(program.len()).map_err(io::Error::other)?,
            filter: program.as_mut_ptr(),
        };
        set_option(&self.receive, libc::SO_ATTACH_FILTER, &program)
    }

    /// Sends a datagram with all its headers over an interface to the other end of its link.
    pub(crate) fn send(&self, interface: u32, peer: [u8; 6], datagram: &[u8]) -> io::Result<()> {
        let protocol = match self.family {
            Family::V4 => libc::ETH_P_IP,
            Family::V6 => libc::ETH_P_IPV6,
        };
        // SAFETY: all-zero bytes are a valid value of this plain struct.
        let mut address: sockaddr_ll = unsafe { mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (protocol as u16).to_be();
        address.sll_ifindex = c_int::try_from(interface).map_err(io::Error::other)?;
        address.sll_halen = 6;
        address.sll_addr[..6].copy_from_slice(&peer);
        // SAFETY: both pointers are to values that outlive the call, with their sizes.
        let sent = unsafe {
            libc::sendto(
                self.send.as_raw_fd(),
                datagram.as_ptr().cast::<c_void>(),
                datagram.len(),
                libc::MSG_DONTWAIT,
                (&raw const address).cast(),
                mem::size_of::<sockaddr_ll>() as socklen_t,
            )
        };
        match sent {
            ..0 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }
}

/// Index of an interface in the namespace of the calling thread; none when there is no such interface.
pub(crate) fn index_of(interface: &str) -> Option<u32> {
    if_nametoindex(interface).ok()
}

fn bind(address: SocketAddr, family: Family) -> io::Result<UdpSocket> {
    if family == Family::V4 {
        return UdpSocket::bind(address);
    }
    // Bound for IPv6 alone: another topology's IPv4 socket may not be in the way.
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn6, bind, socket};
    let SocketAddr::V6(address) = address else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Inet6, SockType::Datagram, flags, None)?;
    setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    bind(socket.as_raw_fd(), &SockaddrIn6::from(address))?;
    Ok(UdpSocket::from(socket))
}

fn packet_socket() -> io::Result<OwnedFd> {
    // Protocol 0: it receives nothing.
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers are passed.
    let socket = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(socket) })
}

fn set_option<T>(socket: &impl AsFd, option: c_int, value: &T) -> io::Result<()> {
    // SAFETY: the pointer is to a value that outlives the call, with its size.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            std::ptr::from_ref(value).cast(),
            mem::size_of::<T>() as socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
