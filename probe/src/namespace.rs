//! Work inside a network namespace, on a thread of its own.

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use nix::sched::{CloneFlags, setns};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Mount directory of named network namespaces, as used by `ip netns`.
pub const DIRECTORY: &str = "/run/netns";

/// The file of a namespace: a name under [`DIRECTORY`], or a path as it is.
pub fn path(netns: &str) -> PathBuf {
    // An absolute `netns` replaces the directory.
    PathBuf::from(DIRECTORY).join(netns)
}

/// Runs `work` on a thread that has joined the namespace, and returns what it returned.
///
/// # Errors
/// When the namespace does not exist or may not be joined, and what `work` fails with.
pub fn within<T: Send>(netns: &str, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let file = open(netns)?;
    std::thread::scope(|scope| {
        let joined = std::thread::Builder::new().spawn_scoped(scope, move || {
            setns(&file, CloneFlags::CLONE_NEWNET)?;
            work()
        })?;
        joined
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Opens the file of a namespace; the error names it.
///
/// # Errors
/// What `open` says, with the path.
pub fn open(netns: &str) -> io::Result<File> {
    let path = path(netns);
    File::open(&path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// Opens a non-blocking UDP socket in `netns`, bound to `address` (port 0: any free one).
///
/// # Errors
/// When the namespace cannot be joined or the address is not there.
pub fn udp(netns: &str, address: SocketAddr) -> io::Result<Socket> {
    within(netns, move || {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::DGRAM,
            Some(Protocol::UDP),
        )?;
        socket.set_nonblocking(true)?;
        // A burst must wait for a reader that is kept from the processor, not be dropped.
        socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
        socket.bind(&SockAddr::from(address))?;
        Ok(socket)
    })
}

/// Opens a non-blocking raw ICMP or ICMPv6 socket in `netns`, bound to `source`.
///
/// # Errors
/// When the namespace cannot be joined, or without `CAP_NET_RAW` in it.
pub fn icmp(netns: &str, source: IpAddr) -> io::Result<Socket> {
    let (domain, protocol) = match source {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    within(netns, move || {
        let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
        socket.set_nonblocking(true)?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
        socket.bind(&SockAddr::from(SocketAddr::new(source, 0)))?;
        Ok(socket)
    })
}

/// The kernel doubles it and caps it at `net.core.rmem_max`.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_a_path_both_say_where_a_namespace_is() {
        assert_eq!(path("bm-iot-a"), PathBuf::from("/run/netns/bm-iot-a"));
        assert_eq!(path("/proc/1/ns/net"), PathBuf::from("/proc/1/ns/net"));
    }

    #[test]
    fn a_missing_namespace_is_named_in_the_error() {
        let error = within("there-is-no-such-namespace", || Ok(())).unwrap_err();
        assert!(
            error.to_string().contains("there-is-no-such-namespace"),
            "{error}"
        );
    }
}
