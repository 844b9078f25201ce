//! Packets on the link, as the kernel of the far end sees them.

use std::io::IoSliceMut;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;
use bfd::Packet;
use dataplane::netns::Netns;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType,
    SockaddrStorage, recvmsg, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeSpec, TimeVal};

/// A control packet on the link.
#[derive(Clone, Debug)]
pub(crate) struct Captured {
    /// The kernel's time, since the epoch.
    pub(crate) at: Duration,
    pub(crate) from: IpAddr,
    pub(crate) source_port: u16,
    pub(crate) ttl: u8,
    pub(crate) packet: Packet,
}

/// A capture that runs until it is dropped.
pub(crate) struct Capture {
    packets: Arc<Mutex<Vec<Captured>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    pub(crate) fn start(netns: &str) -> Result<Self> {
        let open = || -> nix::Result<OwnedFd> {
            let (family, protocol) = (AddressFamily::Packet, SockProtocol::EthAll);
            let it = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, protocol)?;
            setsockopt(&it, sockopt::ReceiveTimestampns, &true)?;
            setsockopt(&it, sockopt::ReceiveTimeout, &TimeVal::new(0, 100_000))?;
            Ok(it)
        };
        let socket = Netns::open(netns)?.run(open)??;
        let packets = Arc::new(Mutex::new(Vec::new()));
        let is_over = Arc::new(AtomicBool::new(false));
        let (own, is_own_over) = (Arc::clone(&packets), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || {
            while !is_own_over.load(Ordering::Relaxed) {
                if let Some(captured) = next(&socket) {
                    own.lock().expect("nobody panicked").push(captured);
                }
            }
        });
        Ok(Self {
            packets,
            is_over,
            thread: Some(thread),
        })
    }

    /// Packets so far from an address.
    pub(crate) fn from(&self, address: IpAddr) -> Vec<Captured> {
        let packets = self.packets.lock().expect("nobody panicked");
        let is_from = |captured: &&Captured| captured.from == address;
        packets.iter().filter(is_from).cloned().collect()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn next(socket: &OwnedFd) -> Option<Captured> {
    let mut bytes = [0; 256];
    let mut space = nix::cmsg_space!(TimeSpec);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let (raw, flags) = (socket.as_raw_fd(), MsgFlags::empty());
    let message = recvmsg::<SockaddrStorage>(raw, &mut parts, Some(&mut space), flags).ok()?;
    let at = message.cmsgs().ok()?.find_map(|control| match control {
        ControlMessageOwned::ScmTimestampns(at) => Some(Duration::from(at)),
        _ => None,
    })?;
    let length = message.bytes;
    parse(at, bytes.get(..length)?)
}

/// A datagram to the port of control packets, without options or extension headers.
fn parse(at: Duration, bytes: &[u8]) -> Option<Captured> {
    const UDP: u8 = 17;
    let (header, ttl, protocol, from) = match bytes.first()? >> 4 {
        4 => {
            let from: [u8; 4] = bytes.get(12..16)?.try_into().ok()?;
            (20, bytes[8], bytes[9], IpAddr::from(from))
        }
        6 => {
            let from: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            (40, bytes[7], bytes[6], IpAddr::from(from))
        }
        _ => return None,
    };
    let udp = bytes.get(header..)?;
    let port = |at: usize| Some(u16::from_be_bytes(udp.get(at..at + 2)?.try_into().ok()?));
    if protocol != UDP || port(2)? != bfd::PORT {
        return None;
    }
    Some(Captured {
        at,
        from,
        source_port: port(0)?,
        ttl,
        packet: bfd::decode(udp.get(8..)?).ok()?,
    })
}
