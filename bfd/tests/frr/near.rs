//! Our end: one session, with two sockets and a thread. What a detector in a daemon does, in small.

use std::io::{IoSliceMut, Write, pipe};
use std::net::{SocketAddr, UdpSocket};
use std::num::{NonZeroU8, NonZeroU32};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use bfd::{
    Actions, Change, Config, Event, Interval, Lateness, Lookup, Packet, Session, State, Time,
};
use dataplane::netns::Netns;
use e2e::eventually;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

use crate::bed::{Bed, Family};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A change of state, and all that says when it was due.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) change: Change,
    /// Since the kernel received the last packet before it.
    pub(crate) silence: Duration,
    /// The detection time until then.
    pub(crate) detection_time: Duration,
    pub(crate) lateness: Duration,
}

/// A packet that was sent, with the lateness of its step.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) at: Time,
    pub(crate) packet: Packet,
    pub(crate) lateness: Option<Duration>,
}

/// All that happened at our end.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) changes: Vec<Seen>,
    pub(crate) sent: Vec<Sent>,
    pub(crate) heard: Vec<(Time, Packet)>,
    pub(crate) refused: usize,
    pub(crate) lateness: Lateness,
    pub(crate) session: Option<Session>,
}

enum Order {
    Event(Event),
    Sleep(Duration),
    End,
}

/// Our end, running.
pub(crate) struct Near {
    log: Arc<Mutex<Log>>,
    orders: Sender<Order>,
    wake: std::io::PipeWriter,
    thread: Option<JoinHandle<()>>,
}

pub(crate) fn config(tx: u32, rx: u32, multiplier: u8) -> Result<Config> {
    let [tx, rx] = [tx, rx].map(Interval::from_millis);
    Ok(Config::new(
        tx,
        rx,
        NonZeroU8::new(multiplier).context("zero")?,
    )?)
}

impl Near {
    /// Starts a session with FRR's end.
    pub(crate) fn start(bed: &Bed, discriminator: u32, config: Config) -> Result<Self> {
        let family = bed.family();
        let sockets = Netns::open(bed.near())?.run(|| Sockets::open(family))??;
        let (orders, inbox) = channel();
        let (reader, wake) = pipe()?;
        let log = Arc::new(Mutex::new(Log::default()));
        let discriminator = NonZeroU32::new(discriminator).context("zero")?;
        let origin = Instant::now();
        let session = Session::new(
            discriminator,
            config,
            discriminator.get().into(),
            Time::default(),
        );
        let mut sessions = Lookup::default();
        sessions.insert(discriminator, (), session)?;
        let mut end = End {
            sessions,
            discriminator,
            sockets,
            origin,
            heard: None,
            log: Arc::clone(&log),
        };
        let thread = std::thread::spawn(move || end.run(&inbox, &reader));
        Ok(Self {
            log,
            orders,
            wake,
            thread: Some(thread),
        })
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().expect("the thread did not panic")
    }

    pub(crate) fn session(&self) -> Result<Session> {
        self.log().session.clone().context("it has not run yet")
    }

    pub(crate) fn order(&self, event: Event) -> Result<()> {
        self.send(Order::Event(event))
    }

    /// Lets the thread do nothing, as on a machine without time for it.
    pub(crate) fn sleep(&self, duration: Duration) -> Result<()> {
        self.send(Order::Sleep(duration))
    }

    fn send(&self, order: Order) -> Result<()> {
        self.orders
            .send(order)
            .map_err(|_| anyhow!("the thread ended"))?;
        (&self.wake).write_all(&[0]).context("the thread ended")
    }

    /// Waits until the session is in a state.
    pub(crate) fn wait_for(&self, state: State) -> Result<()> {
        eventually(&format!("{state} here"), PATIENCE, || {
            let session = self.session()?;
            ensure!(session.state() == state, "{session:?}");
            Ok(())
        })
    }

    /// Waits until the log says something.
    pub(crate) fn wait<T>(&self, what: &str, look: impl Fn(&Log) -> Option<T>) -> Result<T> {
        eventually(what, PATIENCE, || look(&self.log()).context("not yet"))
    }

    /// The change of state that came after the first `skipped` ones.
    pub(crate) fn change(&self, skipped: usize) -> Result<Seen> {
        self.wait("a change of state", |log| log.changes.get(skipped).cloned())
    }
}

impl Drop for Near {
    fn drop(&mut self) {
        let _ = self.send(Order::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One socket receives for all sessions of a namespace, another one sends for this session.
struct Sockets {
    receive: UdpSocket,
    send: UdpSocket,
}

impl Sockets {
    fn open(family: Family) -> Result<Self> {
        let [own, peer] = family.addresses();
        let receive = UdpSocket::bind(SocketAddr::new(own, bfd::PORT))?;
        receive.set_nonblocking(true)?;
        setsockopt(&receive, sockopt::ReceiveTimestampns, &true)?;
        let mut ports = bfd::SOURCE_PORTS;
        let bind = |port| UdpSocket::bind(SocketAddr::new(own, port)).ok();
        let send = ports.find_map(bind).context("no source port is free")?;
        let ttl = i32::from(bfd::TTL);
        match family {
            Family::V4 => {
                setsockopt(&receive, sockopt::Ipv4RecvTtl, &true)?;
                setsockopt(&send, sockopt::Ipv4Ttl, &ttl)?;
            }
            Family::V6 => {
                setsockopt(&receive, sockopt::Ipv6RecvHopLimit, &true)?;
                setsockopt(&send, sockopt::Ipv6Ttl, &ttl)?;
            }
        }
        send.connect(SocketAddr::new(peer, bfd::PORT))?;
        Ok(Self { receive, send })
    }

    /// The next datagram: bytes, TTL, and the time since the kernel received it.
    fn next(&self) -> Option<(Vec<u8>, u8, Duration)> {
        let mut bytes = [0; 128];
        let mut space = nix::cmsg_space!(TimeSpec, i32);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let socket = self.receive.as_raw_fd();
        let message =
            recvmsg::<SockaddrStorage>(socket, &mut parts, Some(&mut space), flags).ok()?;
        let (mut ttl, mut age) = (0, Duration::ZERO);
        for control in message.cmsgs().ok()? {
            match control {
                ControlMessageOwned::Ipv4Ttl(it) | ControlMessageOwned::Ipv6HopLimit(it) => {
                    ttl = u8::try_from(it).unwrap_or(0);
                }
                ControlMessageOwned::ScmTimestampns(received) => {
                    let now = clock_gettime(ClockId::CLOCK_REALTIME).ok()?;
                    age = Duration::from(now).saturating_sub(received.into());
                }
                _ => {}
            }
        }
        let length = message.bytes;
        Some((bytes[..length].to_vec(), ttl, age))
    }
}

struct End {
    sessions: Lookup<(), Session>,
    discriminator: NonZeroU32,
    sockets: Sockets,
    origin: Instant,
    heard: Option<Time>,
    log: Arc<Mutex<Log>>,
}

impl End {
    fn run(&mut self, orders: &Receiver<Order>, reader: &std::io::PipeReader) {
        loop {
            let deadline = self.session().deadline();
            let left = deadline.map(|deadline| deadline.since(self.now()));
            let mut sources = [self.sockets.receive.as_fd(), reader.as_fd()]
                .map(|source| PollFd::new(source, PollFlags::POLLIN));
            let _ = ppoll(&mut sources, left.map(TimeSpec::from), None);
            if sources[1].any().unwrap_or_default() {
                let _ = std::io::Read::read(&mut &*reader, &mut [0]);
                match orders.recv() {
                    Ok(Order::Event(event)) => self.step(event),
                    Ok(Order::Sleep(duration)) => std::thread::sleep(duration),
                    Ok(Order::End) | Err(_) => return,
                }
            }
            self.read();
            let due = self.session().deadline();
            if due.is_some_and(|due| due <= self.now()) {
                self.step(Event::Timer);
            }
        }
    }

    fn now(&self) -> Time {
        Time::from_origin(self.origin.elapsed())
    }

    fn session(&mut self) -> &mut Session {
        let session = self.sessions.session(self.discriminator);
        session.expect("it was inserted")
    }

    fn read(&mut self) {
        while let Some((bytes, ttl, age)) = self.sockets.next() {
            let received = Time::from_origin(self.origin.elapsed().saturating_sub(age));
            let packet = bfd::receive(&bytes, ttl).ok();
            let packet = packet.filter(|packet| self.sessions.find(packet, &()).is_ok());
            let Some(packet) = packet else {
                self.log.lock().expect("nobody panicked").refused += 1;
                continue;
            };
            self.step(Event::Packet { packet, received });
            self.heard = Some(received);
            let mut log = self.log.lock().expect("nobody panicked");
            log.heard.push((received, packet));
        }
    }

    fn step(&mut self, event: Event) {
        let now = self.now();
        let detection_time = self.session().detection_time().unwrap_or_default();
        let actions: Actions = self.session().step(now, event);
        if let Some(packet) = actions.send {
            // Without a path the packet is lost.
            let _ = self.sockets.send.send(&bfd::encode(&packet));
        }
        let session = self.session().clone();
        let mut log = self.log.lock().expect("nobody panicked");
        if let Some(packet) = actions.send {
            log.sent.push(Sent {
                at: now,
                packet,
                lateness: actions.lateness,
            });
        }
        if let Some(change) = actions.change {
            log.changes.push(Seen {
                change,
                silence: now.since(self.heard.unwrap_or_default()),
                detection_time,
                lateness: actions.lateness.unwrap_or_default(),
            });
        }
        if let Some(lateness) = actions.lateness {
            log.lateness.count(lateness, actions.is_extended);
        }
        log.session = Some(session);
    }
}
