//! UDP flows from one namespace to another, with the kernel's time of each arrival.

use std::{
    io::{self, IoSliceMut},
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::{
    socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt},
    time::TimeSpec,
};

use super::record::{Flow, Record};
use crate::harness::{command::hurry, netns::within};

/// Number of flows, each with a source port of its own.
pub(crate) const FLOWS: usize = 16;
/// Time between two packets of a flow.
pub(crate) const INTERVAL: Duration = Duration::from_millis(2);
/// Source ports that flows take in turn. In a resilient group the old ones stay off a repaired link.
const SOURCES: std::ops::Range<usize> = 20_000..30_000;
const PORT: u16 = 41_900;
/// The receiver may sleep for so many bytes (of buffers) without a loss.
const BUFFER: usize = 16 << 20;
/// Time that packets may be on their way after the last was sent.
const LINGER: Duration = Duration::from_millis(100);

/// Two namespaces and the address of the second.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    /// Namespace that sends.
    pub(crate) from: String,
    /// Namespace that receives.
    pub(crate) sink: String,
    /// Address in `sink`.
    pub(crate) to: Ipv4Addr,
}

/// Number and time of each arrival of each flow.
type Arrivals = Vec<Vec<(usize, Duration)>>;

/// Flows that run; dropped, they stop.
pub(crate) struct Traffic {
    shared: Arc<Shared>,
    sender: Option<JoinHandle<Vec<Vec<Duration>>>>,
    receiver: Option<JoinHandle<io::Result<Arrivals>>>,
}

#[derive(Default)]
struct Shared {
    stop_sending: AtomicBool,
    stop_receiving: AtomicBool,
    progress: [Progress; FLOWS],
}

/// A flow's present run without a loss: times of its first and its last arrival, in ns.
#[derive(Default)]
struct Progress {
    since: AtomicU64,
    until: AtomicU64,
}

/// Time since the epoch, of the same clock as the kernel's times of arrival.
pub(crate) fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

impl Traffic {
    /// Opens the sockets and starts to send.
    ///
    /// # Errors
    /// When a namespace or a socket cannot be opened.
    pub(crate) fn start(path: &Path) -> Result<Self> {
        let sink = within(&path.sink, || Ok(sink()?))?;
        let sources = within(&path.from, || Ok(sources()?))?;
        let to = SocketAddrV4::new(path.to, PORT);
        let shared = Arc::new(Shared::default());
        let (sending, receiving) = (Arc::clone(&shared), Arc::clone(&shared));
        Ok(Self {
            shared,
            sender: Some(thread::spawn(move || send(&sending, &sources, to))),
            receiver: Some(thread::spawn(move || receive(&receiving, &sink))),
        })
    }

    /// Waits until each flow has arrived without a loss for `at_least`, counted from `since`.
    ///
    /// # Errors
    /// When that did not come about within `limit`.
    pub(crate) fn wait_unbroken(
        &self,
        since: Duration,
        at_least: Duration,
        limit: Duration,
    ) -> Result<()> {
        let start = Instant::now();
        let is_unbroken = |progress: &Progress| {
            let from = nanoseconds(since).max(progress.since.load(Ordering::Relaxed));
            let until = progress.until.load(Ordering::Relaxed);
            until.saturating_sub(from) >= nanoseconds(at_least)
        };
        while !self.shared.progress.iter().all(is_unbroken) {
            let broken = self.shared.progress.iter().filter(|it| !is_unbroken(it));
            let count = broken.count();
            ensure!(
                start.elapsed() < limit,
                "{count} of {FLOWS} flows are not without loss for {at_least:?} within {limit:?}"
            );
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Stops, and waits for packets on their way.
    ///
    /// # Errors
    /// When the receiver failed.
    pub(crate) fn finish(mut self) -> Result<Record> {
        let ended = "traffic ends once";
        self.shared.stop_sending.store(true, Ordering::Relaxed);
        let sent = self.sender.take().expect(ended).join();
        thread::sleep(LINGER);
        self.shared.stop_receiving.store(true, Ordering::Relaxed);
        let arrived = self.receiver.take().expect(ended).join();
        let sent = sent.ok().context("the sender panicked")?;
        let arrived = arrived.ok().context("the receiver panicked")??;
        let flows = sent.into_iter().zip(arrived);
        let flow = |(sent, arrived)| Flow { sent, arrived };
        Ok(Record(flows.map(flow).collect()))
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.shared.stop_sending.store(true, Ordering::Relaxed);
        self.shared.stop_receiving.store(true, Ordering::Relaxed);
        let _ = self.sender.take().map(JoinHandle::join);
        let _ = self.receiver.take().map(JoinHandle::join);
    }
}

/// Not connected: an ICMP error would take the place of the next packet.
fn sources() -> io::Result<Vec<UdpSocket>> {
    static USED: AtomicUsize = AtomicUsize::new(0);
    let used = USED.fetch_add(FLOWS, Ordering::Relaxed) % SOURCES.len();
    let ports = SOURCES.cycle().skip(used);
    let bind = |port: usize| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port as u16));
    ports.take(FLOWS).map(bind).collect()
}

fn sink() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT))?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    setsockopt(&socket, sockopt::RcvBufForce, &BUFFER)?;
    socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    Ok(socket)
}

fn send(shared: &Shared, sources: &[UdpSocket], to: SocketAddrV4) -> Vec<Vec<Duration>> {
    hurry();
    let mut sent = vec![vec![]; sources.len()];
    let mut next = Instant::now();
    while !shared.stop_sending.load(Ordering::Relaxed) {
        for (flow, source) in sources.iter().enumerate() {
            let packet = [flow as u32, sent[flow].len() as u32].map(u32::to_be_bytes);
            sent[flow].push(now());
            // A refusal is a loss as any other: the packet does not arrive.
            let _ = source.send_to(packet.as_flattened(), to);
        }
        // Late: go on from here, without a burst.
        next = (next + INTERVAL).max(Instant::now());
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    sent
}

fn receive(shared: &Shared, sink: &UdpSocket) -> io::Result<Arrivals> {
    let mut arrived = vec![vec![]; FLOWS];
    let mut space = nix::cmsg_space!(TimeSpec);
    while !shared.stop_receiving.load(Ordering::Relaxed) {
        let Some((flow, number, at)) = next(sink, &mut space)? else {
            continue;
        };
        let progress = &shared.progress[flow];
        let is_next = arrived[flow]
            .last()
            .is_some_and(|last: &(usize, _)| last.0 + 1 == number);
        if !is_next {
            progress.since.store(nanoseconds(at), Ordering::Relaxed);
        }
        progress.until.store(nanoseconds(at), Ordering::Relaxed);
        arrived[flow].push((number, at));
    }
    Ok(arrived)
}

/// Flow, number and the kernel's time of the next packet; none after a while without one.
fn next(sink: &UdpSocket, space: &mut [u8]) -> io::Result<Option<(usize, usize, Duration)>> {
    let mut bytes = [0; 16];
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let (raw, flags) = (sink.as_raw_fd(), MsgFlags::empty());
    let message = match recvmsg::<SockaddrStorage>(raw, &mut parts, Some(space), flags) {
        Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => return Ok(None),
        message => message?,
    };
    let at = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::ScmTimestampns(at) => Some(Duration::from(at)),
        _ => None,
    });
    let length = message.bytes;
    let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
    let (flow, number) = (word(0) as usize, word(4) as usize);
    Ok(at
        .filter(|_| length == 8 && flow < FLOWS)
        .map(|at| (flow, number, at)))
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
