//! Thread "liveness": reads, steps and sends; it opens nothing and waits for nobody.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bfd::{Packet, Time};
use linkstate::PathVerdict;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::clock::{self, Stamps};
use crate::inbox::{Command, Inbox};
use crate::link::Link;
use crate::sessions::{Action, Place, Sessions};
use crate::sockets::Sockets;
use crate::statistics::{Snapshot, Statistics};

mod channel;
mod receive;

use channel::Channel;
use receive::Received;

/// Sessions that are due within this time are stepped together.
const COALESCE: Duration = Duration::from_micros(250);
/// Least time between two looks: what arrives meanwhile is read together, as one look for each packet would cost a context switch for
/// each. Kernel timestamps keep it out of all detection times.
const PACE: Duration = Duration::from_micros(500);
/// Longest time that a planned stop takes.
const LONGEST_STOP: Duration = Duration::from_millis(800);
/// Least time between two publications of counters: they take a look at each session.
const COUNT: Duration = Duration::from_millis(500);
/// Ready sockets of one look, and datagrams that are read of each.
const READY: usize = 64;
/// Looks at the sockets between two steps of timers, where few of them are ready.
const LOOKS: usize = 8;
/// Keys of what is no namespace's socket.
const INBOX: u64 = 0;
const TIMER: u64 = 1;
const FIRST_SOCKET: u64 = 2;

/// Receiver of verdicts. Called by the detector's thread: it must not wait.
pub trait Verdicts: Send + Sync {
    /// The verdict on the link of an own interface changed.
    fn path_changed(&self, netns: &str, interface: &str, verdict: PathVerdict);
}

/// State of the thread.
pub(crate) struct Worker {
    inbox: Arc<Inbox>,
    verdicts: Arc<dyn Verdicts>,
    statistics: Arc<Statistics>,
    epoll: Epoll,
    timer: TimerFd,
    sessions: Sessions,
    channels: BTreeMap<u32, Channel>,
    actions: Vec<Action>,
    /// The last time at which all sockets were empty.
    drained: Time,
    armed: Option<Time>,
    ports: u16,
    counted: Snapshot,
    counted_at: Time,
    /// True when sessions came or went since the counters were published.
    is_uncounted: bool,
    is_over: bool,
}

impl Worker {
    pub(crate) fn new(
        inbox: Arc<Inbox>,
        verdicts: Arc<dyn Verdicts>,
        statistics: Arc<Statistics>,
    ) -> io::Result<Worker> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        epoll.add(
            inbox.descriptor(),
            EpollEvent::new(EpollFlags::EPOLLIN, INBOX),
        )?;
        epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
        Ok(Worker {
            inbox,
            verdicts,
            statistics,
            epoll,
            timer,
            sessions: Sessions::new(random),
            channels: BTreeMap::new(),
            actions: Vec::new(),
            drained: clock::now(),
            armed: None,
            ports: 0,
            counted: Snapshot::default(),
            counted_at: Time::default(),
            is_uncounted: false,
            is_over: false,
        })
    }

    /// Runs until a stop is ordered, and tells peers of it.
    pub(crate) fn run(mut self) {
        prefer();
        let mut buffer = Received::new();
        while !self.is_over {
            let rest = PACE.saturating_sub(clock::now().since(self.drained));
            if !rest.is_zero() {
                thread::sleep(rest);
            }
            self.arm();
            self.read(EpollTimeout::NONE, &mut buffer);
            // Whatever came meanwhile was received before the timers that are due now.
            let is_drained = self.drain(&mut buffer);
            let now = clock::now();
            if is_drained {
                self.drained = now;
            }
            self.sessions.expire(now, &mut self.actions);
            self.act();
            if now.since(self.counted_at) >= COUNT {
                self.count(now);
            }
        }
        self.say_goodbye();
    }

    /// Reads all sockets; false when packets came faster than they are read: a flood of one link must not stop the timers of the others.
    fn drain(&mut self, buffer: &mut Received) -> bool {
        let looks = LOOKS + LOOKS * self.channels.len() / READY;
        (0..looks).any(|_| !self.read(EpollTimeout::ZERO, buffer))
    }

    /// Sets the timer to the next deadline.
    fn arm(&mut self) {
        let deadline = self.sessions.deadline();
        let deadline = match (deadline, self.is_uncounted) {
            (None, true) => Some(self.counted_at + COUNT),
            _ => deadline,
        };
        if deadline == self.armed {
            return;
        }
        let result = match deadline {
            Some(at) => {
                let since_origin = (at + COALESCE).since(Time::default());
                let at = Expiration::OneShot(TimeSpec::from(since_origin));
                self.timer.set(at, TimerSetTimeFlags::TFD_TIMER_ABSTIME)
            }
            None => self.timer.unset(),
        };
        if let Err(errno) = result {
            tracing::error!(%errno, "timer of the liveness detector not set");
        }
        self.armed = deadline;
    }

    /// Waits, and reads what is ready; false when nothing was.
    fn read(&mut self, timeout: EpollTimeout, buffer: &mut Received) -> bool {
        let mut ready = [EpollEvent::empty(); READY];
        let count = self.epoll.wait(&mut ready, timeout).unwrap_or(0);
        let mut is_read = false;
        for event in &ready[..count] {
            match event.data() {
                INBOX => {
                    self.is_uncounted = true;
                    for command in self.inbox.take() {
                        self.follow(command);
                    }
                }
                TIMER => {
                    // Read by its expiration: set again, it is not ready any more.
                    let _ = self.timer.unset();
                    self.armed = None;
                }
                key => {
                    is_read = true;
                    self.receive(
                        u32::try_from(key - FIRST_SOCKET).unwrap_or_default(),
                        buffer,
                    );
                }
            }
        }
        self.act();
        is_read
    }

    fn receive(&mut self, number: u32, buffer: &mut Received) {
        let Some(channel) = self.channels.get(&number) else {
            return;
        };
        let stamps = Stamps::since(self.drained);
        let now = clock::now();
        for _ in 0..READY {
            let Some(datagram) = buffer.next(channel.sockets.receiver().as_raw_fd()) else {
                return;
            };
            let place = Place {
                namespace: number,
                interface: datagram.interface,
            };
            let packet = bfd::receive(datagram.bytes, datagram.ttl);
            let received = stamps.time(datagram.stamp);
            let is_taken = packet.is_ok_and(|packet| {
                self.sessions
                    .take(place, packet, received, now, &mut self.actions)
            });
            match is_taken {
                true => self.counted.received += 1,
                false => self.counted.refused += 1,
            }
        }
    }

    fn follow(&mut self, command: Command) {
        let (now, actions) = (clock::now(), &mut self.actions);
        match command {
            Command::Bind {
                number,
                netns,
                sockets,
                links,
            } => self.bind(number, netns, sockets, links),
            Command::Release(number) => {
                self.sessions.set(number, Vec::new(), now, actions);
                if let Some(channel) = self.channels.remove(&number) {
                    let _ = self.epoll.delete(channel.sockets.receiver());
                }
            }
            Command::PeerStopped(node) => self.sessions.pause(&node, now, actions),
            Command::PeerBack(node) => self.sessions.resume(&node, now, actions),
            Command::PeerLost(node) => self.sessions.end_pause(&node, now, actions),
            Command::Stop => self.is_over = true,
        }
    }

    fn bind(
        &mut self,
        number: u32,
        netns: Arc<str>,
        sockets: Option<Sockets>,
        links: Vec<(u32, Link)>,
    ) {
        if let Some(sockets) = sockets {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, FIRST_SOCKET + u64::from(number));
            if let Err(errno) = self.epoll.add(sockets.receiver(), event) {
                tracing::error!(netns = &*netns, %errno, "liveness of links not watched");
                return;
            }
            self.channels.insert(number, Channel::new(netns, sockets));
        }
        let Some(channel) = self.channels.get_mut(&number) else {
            return;
        };
        channel.follow(&links, &mut self.ports);
        self.sessions
            .set(number, links, clock::now(), &mut self.actions);
    }

    /// Sends packets, and passes verdicts on.
    fn act(&mut self) {
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            match action {
                Action::Send(place, packet) => self.send(place, &packet),
                Action::Judged(place, verdict) => self.pass_on(place, verdict),
            }
        }
        // Its memory is used again.
        self.actions = actions;
    }

    fn send(&mut self, place: Place, packet: &Packet) {
        let Some(channel) = self.channels.get(&place.namespace) else {
            return;
        };
        match channel.send(place.interface, packet) {
            true => self.counted.sent += 1,
            false => self.counted.unsent += 1,
        }
    }

    fn pass_on(&mut self, place: Place, verdict: PathVerdict) {
        let Some(channel) = self.channels.get(&place.namespace) else {
            return;
        };
        if let Some(path) = self.sessions.path(place) {
            self.verdicts
                .path_changed(&channel.netns, &path.interface, verdict);
        }
    }

    fn count(&mut self, now: Time) {
        (self.counted_at, self.is_uncounted) = (now, false);
        self.counted.lateness = self.sessions.lateness();
        self.counted.stretch = self.sessions.stretch().factor();
        (self.counted.up, self.counted.down) = self.sessions.count();
        self.statistics.set(self.counted);
    }

    /// Tells all peers that this end stops on purpose.
    fn say_goodbye(&mut self) {
        let (interval, times) = self.sessions.repetition();
        let times = times.max(1);
        let pause = interval.min(LONGEST_STOP / times);
        for repetition in 0..times {
            if repetition > 0 {
                thread::sleep(pause);
            }
            self.sessions.disable(clock::now(), &mut self.actions);
            // Own verdicts stand for the next process.
            self.actions
                .retain(|action| matches!(action, Action::Send(..)));
            self.act();
            if self.channels.is_empty() {
                return;
            }
        }
    }
}

/// Asks the scheduler to run this thread before others, where that is permitted.
fn prefer() {
    let priority = libc::sched_param { sched_priority: 1 };
    let policy = libc::SCHED_RR | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the pointer is to a value that outlives the call.
    let result = unsafe { libc::sched_setscheduler(0, policy, &raw const priority) };
    if result != 0 {
        let error = io::Error::last_os_error();
        tracing::info!(%error, "liveness detector runs without real-time priority");
    }
}

/// A number that nobody can guess.
fn random() -> u32 {
    let mut bytes = [0; 4];
    // SAFETY: the pointer is to a buffer of that length.
    let filled = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    match filled {
        4 => u32::from_ne_bytes(bytes),
        // The kernel always fills so few bytes once it has booted.
        _ => std::process::id(),
    }
}
