//! Two ends, a wire in each direction, and time.

use std::collections::{BTreeMap, VecDeque};
use std::num::{NonZeroU8, NonZeroU32};
use std::time::Duration;

use bfd::{Change, Config, Event, Interval, Lateness, Lookup, Session, State, Time};

/// Parameters of an end: ms, ms, times.
pub(crate) type Parameters = (u32, u32, u8);

pub(crate) fn config((tx, rx, multiplier): Parameters) -> Config {
    let [tx, rx] = [tx, rx].map(Interval::from_millis);
    Config::new(tx, rx, NonZeroU8::new(multiplier).unwrap()).unwrap()
}

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// One direction of the channel.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    pub(crate) loss_percent: u64,
    pub(crate) duplicates_percent: u64,
    pub(crate) delay: Duration,
    /// The delay is longer by up to this much.
    pub(crate) variation: Duration,
    pub(crate) is_cut: bool,
    /// No packet overtakes another one.
    pub(crate) is_ordered: bool,
    pub(crate) latest: Time,
}

impl Wire {
    pub(crate) fn clean(delay: Duration, variation: Duration) -> Self {
        Self {
            loss_percent: 0,
            duplicates_percent: 0,
            delay,
            variation,
            is_cut: false,
            is_ordered: true,
            latest: Time::default(),
        }
    }
}

/// One end, with its socket.
pub(crate) struct End {
    pub(crate) sessions: Lookup<(), Session>,
    id: NonZeroU32,
    pub(crate) changes: Vec<(Time, Change)>,
    pub(crate) lateness: Lateness,
    paused_until: Option<Time>,
    socket: VecDeque<(Time, [u8; bfd::BYTES])>,
    /// Datagrams that the socket holds; later ones are dropped.
    pub(crate) buffer: usize,
}

impl End {
    pub(crate) fn session(&mut self) -> &mut Session {
        self.sessions.session(self.id).expect("there is one")
    }

    fn start(&mut self, id: u32, parameters: Parameters, now: Time) {
        self.sessions.remove(self.id);
        self.id = NonZeroU32::new(id).unwrap();
        let session = Session::new(self.id, config(parameters), id.into(), now);
        let added = self.sessions.insert(self.id, (), session);
        added.expect("the other one is gone");
        self.socket.clear();
    }
}

pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) ends: [End; 2],
    /// The wire from each end.
    pub(crate) wires: [Wire; 2],
    flying: BTreeMap<(Time, u64), (usize, [u8; bfd::BYTES])>,
    random: u64,
    number: u64,
}

impl World {
    pub(crate) fn new(seed: u64, parameters: [Parameters; 2], wires: [Wire; 2]) -> Self {
        let now = Time::from_origin(ms(seed % 10_000));
        let mut ends = [(); 2].map(|()| End {
            sessions: Lookup::default(),
            id: NonZeroU32::MAX,
            changes: Vec::new(),
            lateness: Lateness::default(),
            paused_until: None,
            socket: VecDeque::new(),
            buffer: 64,
        });
        for (number, end) in ends.iter_mut().enumerate() {
            let id = (seed as u32 & 0xffff) * 2 + number as u32 + 1;
            end.start(id, parameters[number], now);
        }
        Self {
            now,
            ends,
            wires,
            flying: BTreeMap::new(),
            random: seed | 1,
            number: 0,
        }
    }

    /// Two ends that are Up, and know one another's parameters.
    pub(crate) fn up(seed: u64, parameters: [Parameters; 2], wires: [Wire; 2]) -> Self {
        let mut world = Self::new(seed, parameters, wires);
        world.run(ms(6_000));
        assert!(world.is_up(), "both come up over a clean wire");
        world.ends.iter_mut().for_each(|end| end.changes.clear());
        world
    }

    pub(crate) fn is_up(&mut self) -> bool {
        let mut ends = self.ends.iter_mut();
        ends.all(|end| end.session().state() == State::Up)
    }

    /// Lets an event happen at an end, at once.
    pub(crate) fn order(&mut self, end: usize, event: Event) {
        self.step(end, event);
    }

    /// A new process in place of the old one.
    pub(crate) fn restart(&mut self, end: usize, parameters: Parameters) {
        self.number += 1;
        let id = 0x100_0000 + self.number as u32;
        self.ends[end].start(id, parameters, self.now);
    }

    /// An end that does not run for a while.
    pub(crate) fn pause(&mut self, end: usize, duration: Duration) {
        self.ends[end].paused_until = Some(self.now + duration);
    }

    pub(crate) fn run(&mut self, duration: Duration) {
        let until = self.now + duration;
        while let Some(next) = self.next().filter(|next| *next <= until) {
            self.now = next.max(self.now);
            self.deliver();
            for end in 0..2 {
                self.awake(end);
            }
        }
        self.now = until;
    }

    fn next(&mut self) -> Option<Time> {
        let arrival = self.flying.keys().next().map(|(time, _)| *time);
        let mut times: Vec<Time> = arrival.into_iter().collect();
        for end in &mut self.ends {
            times.extend(end.paused_until.or_else(|| end.session().deadline()));
        }
        times.into_iter().min()
    }

    /// The kernels receive what has arrived.
    fn deliver(&mut self) {
        while let Some(entry) = self.flying.first_entry() {
            let (time, _) = *entry.key();
            if time > self.now {
                break;
            }
            let (to, bytes) = entry.remove();
            let end = &mut self.ends[to];
            if end.socket.len() < end.buffer {
                end.socket.push_back((time, bytes));
            }
        }
    }

    /// An end that runs: its socket first, then its timer.
    fn awake(&mut self, end: usize) {
        if self.ends[end]
            .paused_until
            .is_some_and(|until| until > self.now)
        {
            return;
        }
        self.ends[end].paused_until = None;
        while let Some((received, bytes)) = self.ends[end].socket.pop_front() {
            let packet = bfd::receive(&bytes, bfd::TTL).expect("both ends are ours");
            if self.ends[end].sessions.find(&packet, &()).is_ok() {
                self.step(end, Event::Packet { packet, received });
            }
        }
        let deadline = self.ends[end].session().deadline();
        if deadline.is_some_and(|deadline| deadline <= self.now) {
            self.step(end, Event::Timer);
        }
    }

    fn step(&mut self, end: usize, event: Event) {
        let now = self.now;
        let actions = self.ends[end].session().step(now, event);
        let place = &mut self.ends[end];
        place
            .changes
            .extend(actions.change.map(|change| (now, change)));
        if let Some(lateness) = actions.lateness {
            place.lateness.count(lateness, actions.is_extended);
        }
        if let Some(packet) = actions.send {
            self.send(end, bfd::encode(&packet));
        }
    }

    fn send(&mut self, from: usize, bytes: [u8; bfd::BYTES]) {
        let wire = self.wires[from].clone();
        let copies = 1 + u64::from(self.draw(100) < wire.duplicates_percent);
        for _ in 0..copies {
            if self.draw(100) < wire.loss_percent || wire.is_cut {
                continue;
            }
            let extra = self.draw(wire.variation.as_nanos() as u64 + 1);
            let arrival = self.now + wire.delay + Duration::from_nanos(extra);
            let latest = &mut self.wires[from].latest;
            let arrival = match wire.is_ordered {
                true => arrival.max(*latest),
                false => arrival,
            };
            *latest = arrival;
            self.number += 1;
            self.flying
                .insert((arrival, self.number), (1 - from, bytes));
        }
    }

    /// A number below `limit` (xorshift64*).
    fn draw(&mut self, limit: u64) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % limit
    }
}
