//! Intervals and deadlines of a session (RFC 5880, sections 6.8.2 to 6.8.4 and 6.8.7).

use super::Session;
use crate::state::State;
use crate::time::{Interval, Time};

/// Shortest interval of a session that is not Up (RFC 5880, section 6.8.3).
pub const SLOW: Interval = Interval::from_millis(1000);

/// An interval while the session is not Up.
pub(super) const fn slow(interval: Interval) -> Interval {
    if interval.micros() < SLOW.micros() {
        SLOW
    } else {
        interval
    }
}

impl Session {
    /// "Desired Min TX Interval" of our packets.
    pub fn desired_min_tx(&self) -> Interval {
        match self.state {
            State::Up => self.config.desired_min_tx(),
            State::AdminDown | State::Down | State::Init => slow(self.config.desired_min_tx()),
        }
    }

    /// The interval of our packets, before jitter; none while the peer wants no periodic packets.
    pub fn transmit_interval(&self) -> Option<Interval> {
        let Some(remote) = self.remote else {
            return Some(self.transmit);
        };
        let is_up = self.state == State::Up && remote.state == State::Up;
        let is_demand = remote.is_demand && is_up && !self.poll.is_active();
        let is_wanted = remote.required_min_rx != Interval::ZERO && !is_demand;
        is_wanted.then(|| self.transmit.max(remote.required_min_rx))
    }

    /// Puts parameters into effect: at once, except that a Poll Sequence has to end before an Up session sends at longer
    /// intervals or waits for a shorter time (RFC 5880, section 6.8.3).
    pub(super) fn settle(&mut self) {
        let waits = self.state == State::Up && self.poll.is_active();
        let (transmit, receive) = (self.desired_min_tx(), self.config.required_min_rx());
        if !waits || transmit < self.transmit {
            self.transmit = transmit;
        }
        if !waits || receive > self.receive {
            self.receive = receive;
        }
    }

    /// The time at which silence has lasted too long.
    pub(super) fn detection_at(&self) -> Option<Time> {
        let at = self.heard? + self.detection_time()?;
        let extended = self.extension.map(|extension| extension.until());
        extended.max(Some(at))
    }

    /// The time of the next periodic packet. It follows each change of the interval, as section 6.8.3 asks for shorter ones.
    pub(super) fn transmission_at(&self) -> Option<Time> {
        let interval = self.transmit_interval()?;
        let Some(sent) = self.sent else {
            return Some(self.started);
        };
        Some(sent + self.share.of(interval.micros()))
    }
}
