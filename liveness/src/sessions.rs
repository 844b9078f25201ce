//! Sessions of all links of a node: packets and time in, packets and verdicts out. Pure.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::num::NonZeroU32;
use std::time::Duration;

use bfd::{Actions, Event, Lateness, Lookup, Packet, Session, State, Time};
use linkstate::PathVerdict;

use crate::budget::{Stretch, rate};
use crate::judge::Judge;
use crate::link::{Link, Path};

/// Place of a link: number of its namespace, and index of its interface there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) namespace: u32,
    pub(crate) interface: u32,
}

/// An action of a step, for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Send a packet over a link.
    Send(Place, Packet),
    /// The verdict on a link is another one.
    Judged(Place, PathVerdict),
}

/// Source of discriminators and of seeds of jitter, which nobody can guess.
pub(crate) type Random = fn() -> u32;

/// The sessions.
pub(crate) struct Sessions {
    lookup: Lookup<Place, Entry>,
    by_place: BTreeMap<Place, NonZeroU32>,
    /// Deadlines; an entry that is earlier than the session's is looked at, and put back.
    due: BinaryHeap<Reverse<(Time, NonZeroU32)>>,
    stretch: Stretch,
    /// Packets/s that all sessions ask for.
    asked: f64,
    lateness: Lateness,
    random: Random,
}

struct Entry {
    session: Session,
    judge: Judge,
    path: Path,
    place: Place,
    /// Time of its earliest entry among the deadlines.
    queued: Option<Time>,
}

impl Sessions {
    pub(crate) fn new(random: Random) -> Sessions {
        Sessions {
            lookup: Lookup::default(),
            by_place: BTreeMap::new(),
            due: BinaryHeap::new(),
            stretch: Stretch::default(),
            asked: 0.0,
            lateness: Lateness::default(),
            random,
        }
    }

    /// Replaces the links of a namespace. A link between the same ends keeps its session, with new parameters (RFC 5880, section 6.8.3).
    pub(crate) fn set(
        &mut self,
        namespace: u32,
        links: Vec<(u32, Link)>,
        now: Time,
        actions: &mut Vec<Action>,
    ) {
        let links: BTreeMap<u32, Link> = links.into_iter().collect();
        let range = [0, u32::MAX].map(|interface| Place {
            namespace,
            interface,
        });
        let known = self.by_place.range(range[0]..=range[1]);
        let known: Vec<(Place, NonZeroU32)> = known.map(|(place, id)| (*place, *id)).collect();
        for (place, id) in known {
            let link = links.get(&place.interface);
            let entry = self.lookup.session(id);
            match (link, entry) {
                (Some(link), Some(entry)) if link.path.has_ends_of(&entry.path) => {
                    self.asked += rate(link.path.interval) - rate(entry.path.interval);
                    let is_same = link.path == entry.path;
                    entry.path.clone_from(&link.path);
                    if !is_same {
                        let config = link.path.config(self.stretch);
                        let step = entry.session.step(now, Event::Configure(config));
                        entry.settle(step, now, actions, &mut self.lateness);
                        entry.queue(&mut self.due);
                    }
                }
                _ => self.remove(place, id),
            }
        }
        for (interface, link) in links {
            let place = Place {
                namespace,
                interface,
            };
            if !self.by_place.contains_key(&place) {
                self.add(place, link, now);
            }
        }
        self.balance(now, actions);
    }

    fn remove(&mut self, place: Place, id: NonZeroU32) {
        self.by_place.remove(&place);
        if let Some(entry) = self.lookup.remove(id) {
            self.asked -= rate(entry.path.interval);
        }
    }

    fn add(&mut self, place: Place, link: Link, now: Time) {
        let Link { path, earlier } = link;
        let id = self.discriminator();
        let config = path.config(self.stretch);
        let seed = u64::from((self.random)()) << 32 | u64::from((self.random)());
        let session = Session::new(id, config, seed, now);
        let detection_time = path.interval * u32::from(path.multiplier.get());
        self.asked += rate(path.interval);
        let mut entry = Entry {
            session,
            judge: Judge::new(earlier, detection_time, now),
            path,
            place,
            queued: None,
        };
        entry.queue(&mut self.due);
        self.by_place.insert(place, id);
        self.lookup.insert(id, place, entry).expect("both are free");
    }

    fn discriminator(&mut self) -> NonZeroU32 {
        loop {
            let drawn = NonZeroU32::new((self.random)());
            let free = drawn.filter(|id| self.lookup.session(*id).is_none());
            if let Some(id) = free {
                return id;
            }
        }
    }

    /// Stretches all intervals to the budget.
    fn balance(&mut self, now: Time, actions: &mut Vec<Action>) {
        let stretch = Stretch::for_rate(self.asked);
        if stretch == self.stretch {
            return;
        }
        self.stretch = stretch;
        self.each(now, actions, |entry, now| {
            let config = entry.path.config(stretch);
            Some(entry.session.step(now, Event::Configure(config)))
        });
    }

    /// Takes a packet that the kernel received on a link; false when it belongs to no session.
    pub(crate) fn take(
        &mut self,
        place: Place,
        packet: Packet,
        received: Time,
        now: Time,
        actions: &mut Vec<Action>,
    ) -> bool {
        let Ok(entry) = self.lookup.find(&packet, &place) else {
            return false;
        };
        let step = entry.session.step(now, Event::Packet { packet, received });
        entry.settle(step, now, actions, &mut self.lateness);
        entry.queue(&mut self.due);
        true
    }

    /// Steps all sessions that are due.
    pub(crate) fn expire(&mut self, now: Time, actions: &mut Vec<Action>) {
        while let Some(&Reverse((at, id))) = self.due.peek() {
            if at > now {
                return;
            }
            self.due.pop();
            let Some(entry) = self.lookup.session(id).filter(|it| it.queued == Some(at)) else {
                continue;
            };
            entry.queued = None;
            if entry.session.deadline().is_some_and(|due| due <= now) {
                let step = entry.session.step(now, Event::Timer);
                entry.settle(step, now, actions, &mut self.lateness);
            }
            if entry.judge.deadline().is_some_and(|due| due <= now) {
                let state = entry.session.state();
                entry.rejudge(actions, |judge| judge.wake(state, now));
            }
            entry.queue(&mut self.due);
        }
    }

    /// The time at which [`Sessions::expire`] is due.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    /// The daemon of a node stopped: its silence is no failure for a while.
    pub(crate) fn pause(&mut self, node: &str, now: Time, actions: &mut Vec<Action>) {
        self.of_node(node, actions, |judge, detection_time| {
            judge.pause(now, detection_time)
        });
    }

    /// The daemon of a node is back.
    pub(crate) fn resume(&mut self, node: &str, now: Time, actions: &mut Vec<Action>) {
        self.of_node(node, actions, |judge, _| judge.resume(now));
    }

    /// The kernel of a node does not answer: what its daemon's stop excused is judged.
    pub(crate) fn end_pause(&mut self, node: &str, now: Time, actions: &mut Vec<Action>) {
        self.of_node(node, actions, |judge, _| judge.end_pause(now));
    }

    fn of_node(
        &mut self,
        node: &str,
        actions: &mut Vec<Action>,
        step: impl Fn(&mut Judge, Duration),
    ) {
        let ids: Vec<NonZeroU32> = self.by_place.values().copied().collect();
        for id in ids {
            let entry = self
                .lookup
                .session(id)
                .filter(|it| it.path.peer_node == node);
            let Some(entry) = entry else { continue };
            let path = &entry.path;
            let detection_time = path.interval * u32::from(path.multiplier.get());
            let detection_time = entry.session.detection_time().unwrap_or(detection_time);
            entry.rejudge(actions, |judge| step(judge, detection_time));
            entry.queue(&mut self.due);
        }
    }

    /// A planned stop: tells all peers, with one packet each time that it is called.
    pub(crate) fn disable(&mut self, now: Time, actions: &mut Vec<Action>) {
        self.each(now, actions, |entry, now| {
            Some(entry.session.step(now, Event::Disable))
        });
    }

    fn each(
        &mut self,
        now: Time,
        actions: &mut Vec<Action>,
        mut step: impl FnMut(&mut Entry, Time) -> Option<Actions>,
    ) {
        let ids: Vec<NonZeroU32> = self.by_place.values().copied().collect();
        for id in ids {
            let Some(entry) = self.lookup.session(id) else {
                continue;
            };
            if let Some(step) = step(entry, now) {
                entry.settle(step, now, actions, &mut self.lateness);
                entry.queue(&mut self.due);
            }
        }
    }

    /// The link at a place.
    pub(crate) fn path(&mut self, place: Place) -> Option<&Path> {
        let id = self.by_place.get(&place)?;
        self.lookup.session(*id).map(|entry| &entry.path)
    }

    /// Numbers of sessions that are up, and that are not.
    pub(crate) fn count(&mut self) -> (u64, u64) {
        let (mut up, mut down) = (0, 0);
        for id in self.by_place.values() {
            match self.lookup.session(*id).map(|entry| entry.session.state()) {
                Some(State::Up) => up += 1,
                _ => down += 1,
            }
        }
        (up, down)
    }

    /// The longest interval of repetition that a planned stop needs, and the number of repetitions.
    pub(crate) fn repetition(&mut self) -> (Duration, u32) {
        let mut all = (Duration::ZERO, 0);
        for id in self.by_place.values() {
            let Some(entry) = self.lookup.session(*id) else {
                continue;
            };
            let interval = self.stretch.of(entry.path.interval);
            let times = u32::from(entry.path.multiplier.get());
            all = (all.0.max(interval), all.1.max(times));
        }
        all
    }

    pub(crate) fn stretch(&self) -> Stretch {
        self.stretch
    }

    pub(crate) fn lateness(&self) -> Lateness {
        self.lateness
    }
}

impl Entry {
    /// Turns what a step of the session asks for into actions.
    fn settle(
        &mut self,
        step: Actions,
        now: Time,
        actions: &mut Vec<Action>,
        lateness: &mut Lateness,
    ) {
        if let Some(late) = step.lateness {
            lateness.count(late, step.is_extended);
        }
        if let Some(packet) = step.send {
            actions.push(Action::Send(self.place, packet));
        }
        let Some(change) = step.change else { return };
        match change.to {
            State::Up => {
                self.judge.follow(&change, now);
                // Told also unchanged: whoever hears it may still hold that of an earlier session.
                actions.push(Action::Judged(self.place, self.judge.verdict()));
            }
            _ => self.rejudge(actions, |judge| judge.follow(&change, now)),
        }
    }

    fn rejudge(&mut self, actions: &mut Vec<Action>, step: impl FnOnce(&mut Judge)) {
        let before = self.judge.verdict();
        step(&mut self.judge);
        let after = self.judge.verdict();
        if before != after {
            actions.push(Action::Judged(self.place, after));
        }
    }

    /// Enters the next deadline unless an earlier one is entered: most packets only put a deadline off.
    fn queue(&mut self, due: &mut BinaryHeap<Reverse<(Time, NonZeroU32)>>) {
        let deadlines = [self.session.deadline(), self.judge.deadline()];
        let Some(at) = deadlines.into_iter().flatten().min() else {
            return;
        };
        if self.queued.is_none_or(|queued| at < queued) {
            self.queued = Some(at);
            due.push(Reverse((at, self.session.discriminator())));
        }
    }
}

#[cfg(test)]
mod tests;
