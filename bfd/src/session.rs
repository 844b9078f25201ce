//! One end of a session: events in, actions out (RFC 5880, section 6).

use core::num::NonZeroU32;
use core::time::Duration;

mod outcome;
mod timing;

pub use outcome::{Actions, Cause, Change, Event, Remote};
pub use timing::SLOW;

use crate::config::Config;
use crate::diagnostic::Diagnostic;
use crate::jitter::{Jitter, Share};
use crate::lateness::Extension;
use crate::packet::Packet;
use crate::poll::Poll;
use crate::state::State;
use crate::time::{Interval, Time};

/// One end of a session, in the active role and in asynchronous mode. Starts in state Down and sends at its first deadline.
#[derive(Clone, Debug)]
pub struct Session {
    discriminator: NonZeroU32,
    config: Config,
    state: State,
    diagnostic: Diagnostic,
    /// The peer as its last packet said; none before the first, and after a detection time of silence.
    remote: Option<Remote>,
    poll: Poll,
    /// Intervals in effect: those of the configuration, or older ones until the end of a Poll Sequence.
    transmit: Interval,
    receive: Interval,
    /// The kernel's time of the newest packet.
    heard: Option<Time>,
    /// The detection deadline that was put off for our own lateness.
    extension: Option<Extension>,
    started: Time,
    /// The time of the last packet that was no Final.
    sent: Option<Time>,
    /// The last packet, without P and F.
    content: Option<Packet>,
    jitter: Jitter,
    share: Share,
}

impl Session {
    /// A session in state Down.
    ///
    /// `discriminator` is unique on the node and not guessable (RFC 5880, section 6.8.1); `seed` gives the jitter, and differs from
    /// session to session.
    pub const fn new(discriminator: NonZeroU32, config: Config, seed: u64, now: Time) -> Self {
        let mut jitter = Jitter::new(seed);
        let share = jitter.next(config.detect_multiplier());
        Self {
            discriminator,
            config,
            state: State::Down,
            diagnostic: Diagnostic::NONE,
            remote: None,
            poll: Poll::IDLE,
            transmit: timing::slow(config.desired_min_tx()),
            receive: config.required_min_rx(),
            heard: None,
            extension: None,
            started: now,
            sent: None,
            content: None,
            jitter,
            share,
        }
    }

    /// Takes one event at the time `now`.
    ///
    /// # Guarantees
    /// At most one packet and one change. The same events give the same actions. Nothing panics, whatever the packets and times are.
    pub fn step(&mut self, now: Time, event: Event) -> Actions {
        match event {
            Event::Packet { packet, received } => self.take(now, &packet, received.min(now)),
            Event::Timer => self.wake(now),
            Event::Configure(config) => self.configure(now, config),
            Event::PathDown => match self.state {
                State::Init | State::Up => self.fall(now, Cause::PathDown),
                State::AdminDown | State::Down => Actions::default(),
            },
            Event::Disable => {
                let change = self.enter(State::AdminDown, Cause::Disabled);
                let send = Some(self.transmit(now));
                Actions {
                    send,
                    change,
                    ..Actions::default()
                }
            }
            Event::Enable => match self.state {
                State::AdminDown => self.fall(now, Cause::Enabled),
                State::Down | State::Init | State::Up => Actions::default(),
            },
        }
    }

    /// The time at which [`Event::Timer`] is due; none while only a packet or an order can change anything.
    pub fn deadline(&self) -> Option<Time> {
        let (detection, transmission) = (self.detection_at(), self.transmission_at());
        detection.into_iter().chain(transmission).min()
    }

    /// Our discriminator.
    pub const fn discriminator(&self) -> NonZeroU32 {
        self.discriminator
    }

    /// Our state.
    pub const fn state(&self) -> State {
        self.state
    }

    /// The reason for the last change of our state.
    pub const fn diagnostic(&self) -> Diagnostic {
        self.diagnostic
    }

    /// The peer as its last packet said; none when no packet came within the detection time.
    pub const fn remote(&self) -> Option<&Remote> {
        self.remote.as_ref()
    }

    /// True during a Poll Sequence of ours: it is not known that the peer received our parameters.
    pub const fn is_polling(&self) -> bool {
        self.poll.is_active()
    }

    /// A packet from the peer (RFC 5880, section 6.8.6).
    fn take(&mut self, now: Time, packet: &Packet, received: Time) -> Actions {
        let is_ours = |to: NonZeroU32| to == self.discriminator;
        if !packet.your_discriminator.is_none_or(is_ours) {
            return Actions::default();
        }
        if packet.is_final {
            self.poll = self.poll.after_final();
        }
        self.remote = Some(Remote::of(packet));
        self.heard = self.heard.max(Some(received));
        self.settle();
        self.extension = self.extension.filter(|it| !it.ends_with(received));
        let actions = Actions {
            lateness: Some(now.since(received)),
            is_extended: self.extend(now, received),
            ..Actions::default()
        };
        if self.state == State::AdminDown {
            return actions;
        }
        let cause = match packet.state {
            State::AdminDown => Cause::RemoteAdminDown(packet.diagnostic),
            State::Down => Cause::RemoteDown(packet.diagnostic),
            State::Init | State::Up => Cause::Heard,
        };
        let next = self.state.after(packet.state);
        // Up is reached by hearing of the peer; Init, although the peer says Down, too.
        let cause = if next == State::Down {
            cause
        } else {
            Cause::Heard
        };
        let change = self.enter(next, cause);
        let send = match packet.is_poll {
            true => Some(self.answer()),
            false => self.news(now),
        };
        Actions {
            send,
            change,
            ..actions
        }
    }

    /// A wake-up: silence (RFC 5880, section 6.8.4), or a packet that is due.
    fn wake(&mut self, now: Time) -> Actions {
        let due = self.deadline().filter(|due| *due <= now);
        let Some(due) = due else {
            return Actions::default();
        };
        let mut actions = Actions {
            lateness: Some(now.since(due)),
            ..Actions::default()
        };
        if let Some(at) = self.detection_at().filter(|at| *at <= now) {
            if self.extend(now, at) {
                actions.is_extended = true;
            } else {
                actions.change = match self.state {
                    State::Init | State::Up => self.enter(State::Down, Cause::Silence),
                    State::AdminDown | State::Down => None,
                };
                // With the discriminator that is forgotten now: FRR takes no packet without it while it is Up or Init.
                actions.send = actions.change.map(|_| self.transmit(now));
                self.forget();
            }
        }
        if self.transmission_at().is_some_and(|at| at <= now) {
            actions.send = Some(self.transmit(now));
        }
        actions
    }

    /// Puts off the detection deadline, once, when the caller was late for what happened at `event`.
    fn extend(&mut self, now: Time, event: Time) -> bool {
        if self.extension.is_some() {
            return false;
        }
        let detection_time = self.detection_time().unwrap_or_default();
        let extension = Extension::of(now.since(event), now, detection_time);
        self.extension = extension.filter(|it| self.detection_at() < Some(it.until()));
        self.extension.is_some()
    }

    /// New parameters (RFC 5880, sections 6.8.3 and 6.8.12).
    fn configure(&mut self, now: Time, config: Config) -> Actions {
        let before = (self.desired_min_tx(), self.config.required_min_rx());
        self.config = config;
        let after = (self.desired_min_tx(), self.config.required_min_rx());
        if self.state == State::Up && before != after {
            self.poll = self.poll.after_change();
        }
        self.settle();
        Actions {
            send: self.news(now),
            ..Actions::default()
        }
    }

    /// Goes to state Down and says so at once.
    fn fall(&mut self, now: Time, cause: Cause) -> Actions {
        let change = self.enter(State::Down, cause);
        Actions {
            change,
            send: self.news(now),
            ..Actions::default()
        }
    }

    /// Goes to another state, with the diagnostic and the parameters that belong to it. None when the state stays.
    fn enter(&mut self, state: State, cause: Cause) -> Option<Change> {
        let from = core::mem::replace(&mut self.state, state);
        if from == state {
            return None;
        }
        let before = timing::slow(self.config.desired_min_tx());
        self.poll = match state {
            // Our interval becomes shorter (section 6.8.3).
            State::Up if before != self.desired_min_tx() => Poll::FIRST,
            State::AdminDown | State::Down | State::Init | State::Up => Poll::IDLE,
        };
        self.diagnostic = match state {
            // The peer learns why the session was down until it is up.
            State::Init => self.diagnostic,
            State::AdminDown | State::Down | State::Up => cause.diagnostic(),
        };
        self.settle();
        Some(Change {
            from,
            to: state,
            cause,
        })
    }

    /// Forgets the peer after a detection time of silence (RFC 5880, section 6.8.1).
    fn forget(&mut self) {
        self.remote = None;
        self.heard = None;
        self.extension = None;
        // Nobody waits for the news that nobody is known.
        self.content = self.content.map(|_| self.current());
    }

    /// The packet that says all that is true now, without P and F.
    fn current(&self) -> Packet {
        Packet {
            diagnostic: self.diagnostic,
            state: self.state,
            is_poll: false,
            is_final: false,
            is_control_plane_independent: self.config.is_control_plane_independent(),
            is_demand: false,
            detect_multiplier: self.config.detect_multiplier(),
            my_discriminator: self.discriminator,
            your_discriminator: self.remote.map(|remote| remote.discriminator),
            desired_min_tx: self.desired_min_tx(),
            required_min_rx: self.config.required_min_rx(),
            required_min_echo_rx: Interval::ZERO,
        }
    }

    /// A packet, when the last one says something else (RFC 5880, section 6.8.7).
    fn news(&mut self, now: Time) -> Option<Packet> {
        let is_old = self
            .content
            .is_some_and(|content| content == self.current());
        (!is_old).then(|| self.transmit(now))
    }

    /// A packet that is no Final; the interval to the next one begins.
    fn transmit(&mut self, now: Time) -> Packet {
        let content = self.current();
        let is_poll = self.poll.is_active();
        self.poll = self.poll.after_send();
        self.sent = Some(now);
        self.content = Some(content);
        self.share = self.jitter.next(self.config.detect_multiplier());
        Packet { is_poll, ..content }
    }

    /// The answer to a Poll: at once, whatever the interval (RFC 5880, section 6.5), and never with P.
    fn answer(&mut self) -> Packet {
        let content = self.current();
        self.content = Some(content);
        Packet {
            is_final: true,
            ..content
        }
    }

    /// The time without packets after which the session is down; none while nothing is known of the peer.
    pub fn detection_time(&self) -> Option<Duration> {
        let remote = self.remote?;
        let interval = self.receive.max(remote.desired_min_tx);
        Some(interval.duration() * u32::from(remote.detect_multiplier.get()))
    }
}

#[cfg(test)]
mod tests;
