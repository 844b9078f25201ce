//! The verdict on one link, from the changes of its session. Pure. The only place that knows both BFD's words and those of link states.

use std::time::Duration;

use bfd::{Cause, Change, Damping, Diagnostic, State, Time};
use linkstate::{PathVerdict, Reason, Suspicion};

/// Time in which the first session of a link, or one after a restart of an end, comes up: slow start takes two seconds of it.
pub const GRACE: Duration = Duration::from_secs(10);
/// Longest time for which the silence of a stopped daemon is no failure.
pub const PAUSE: Duration = Duration::from_secs(60);
/// Detection times in which a session comes up where they are long.
const GRACE_DETECTIONS: u32 = 10;

/// Judge of one link.
#[derive(Clone, Debug)]
pub(crate) struct Judge {
    verdict: PathVerdict,
    damping: Damping,
    /// Before the last silence, which may turn out to be a restart.
    before: Option<(Time, Damping)>,
    grace_time: Duration,
    /// End of the time in which the session has to come up.
    grace: Option<Time>,
    /// End of the time in which silence is no failure.
    pause: Option<Time>,
    /// Time at which the session of a peer that stopped is down.
    proof: Option<Time>,
    /// End of the time in which a link that is up is suspect for its failures.
    damped: Option<Time>,
}

impl Judge {
    /// Judge of a new session; `earlier` stands until it is up.
    pub(crate) fn new(earlier: PathVerdict, detection_time: Duration, now: Time) -> Judge {
        let grace_time = GRACE.max(detection_time.saturating_mul(GRACE_DETECTIONS));
        Judge {
            verdict: earlier,
            damping: Damping::default(),
            before: None,
            grace_time,
            grace: Some(now + grace_time),
            pause: None,
            proof: None,
            damped: None,
        }
    }

    /// The verdict.
    pub(crate) fn verdict(&self) -> PathVerdict {
        self.verdict
    }

    /// The time at which [`Judge::wake`] is due.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let all = [self.grace, self.pause, self.proof, self.damped];
        all.into_iter().flatten().min()
    }

    /// Follows a change of the session's state.
    pub(crate) fn follow(&mut self, change: &Change, now: Time) {
        match (change.to, change.cause) {
            (State::Up, _) => self.come_up(now),
            (State::Down, Cause::Silence) => self.fall_silent(change, now),
            (State::Down, Cause::RemoteDown(diagnostic)) => self.hear(change, diagnostic, now),
            (State::Down, Cause::RemoteAdminDown(_)) => self.pause(now, Duration::ZERO),
            // Orders of our own, and the way up.
            (State::AdminDown | State::Down | State::Init, _) => {}
        }
    }

    fn come_up(&mut self, now: Time) {
        (self.grace, self.pause, self.proof) = (None, None, None);
        self.before = None;
        self.damped = self.damping.free_at(now);
        self.verdict = match self.damped {
            Some(_) => both(Reason::Damped, Diagnostic::NONE),
            None => PathVerdict::ALIVE,
        };
    }

    fn fall_silent(&mut self, change: &Change, now: Time) {
        if self.pause.is_some() || self.grace.is_some() {
            // Judged when that time is over.
            return;
        }
        self.before = Some((now, self.damping));
        self.fail(change, now);
        self.verdict.receive = Some(suspicion(
            Reason::Silence,
            Diagnostic::DETECTION_TIME_EXPIRED,
        ));
    }

    /// The peer says that it is down.
    fn hear(&mut self, change: &Change, diagnostic: Diagnostic, now: Time) {
        match diagnostic {
            // A session that was never up: the peer's daemon was started again.
            Diagnostic::NONE => {
                (self.pause, self.proof) = (None, None);
                self.grace = Some(now + self.grace_time);
            }
            // The echo of what this end said before: the session comes up again, or fails.
            Diagnostic::NEIGHBOUR_DOWN => {
                if self.pause.is_none() {
                    self.grace = Some(now + self.grace_time);
                }
            }
            diagnostic => {
                self.fail(change, now);
                self.verdict.transmit = Some(suspicion(Reason::PeerSilence, diagnostic));
            }
        }
    }

    fn fail(&mut self, change: &Change, now: Time) {
        if change.is_failure() {
            self.damping.fail(now);
        }
    }

    /// The peer's daemon stopped, and its kernel forwards on: silence is no failure for a while, and none was a moment ago.
    /// `detection_time` is that of the session.
    pub(crate) fn pause(&mut self, now: Time, detection_time: Duration) {
        let recent = Duration::from_secs(1) + 3 * detection_time;
        self.pause = Some(now + PAUSE);
        self.proof = Some(now + recent);
        if let Some((_, damping)) = self.before.take_if(|(at, _)| now.since(*at) <= recent) {
            self.damping = damping;
            self.verdict.receive = None;
        }
    }

    /// The peer's daemon is back: its session comes up, or the link is suspect soon.
    pub(crate) fn resume(&mut self, now: Time) {
        if let Some(pause) = &mut self.pause {
            *pause = (*pause).min(now + self.grace_time);
        }
    }

    /// The peer's kernel does not answer either.
    pub(crate) fn end_pause(&mut self, now: Time) {
        if let Some(pause) = &mut self.pause {
            *pause = now;
        }
    }

    /// Judges what is due, with the session in `state`.
    pub(crate) fn wake(&mut self, state: State, now: Time) {
        let is_over = |time: &Time| *time <= now;
        if self.proof.take_if(|proof| is_over(proof)).is_some() && state == State::Up {
            // The daemon goes on; only its connection ended.
            self.pause = None;
        }
        if self.grace.is_some_and(|grace| is_over(&grace)) && self.pause.is_none() {
            self.grace = None;
            self.judge(state, Reason::NeverUp, Diagnostic::NONE);
        }
        if self.pause.take_if(|pause| is_over(pause)).is_some() {
            self.grace = None;
            self.judge(state, Reason::Silence, Diagnostic::DETECTION_TIME_EXPIRED);
        }
        if self.damped.take_if(|damped| is_over(damped)).is_some() {
            let is_damped = |it: &mut Suspicion| it.reason == Reason::Damped;
            self.verdict.receive.take_if(is_damped);
            self.verdict.transmit.take_if(is_damped);
        }
        if self.pause.is_some() {
            self.grace = self.grace.filter(|grace| !is_over(grace));
        }
    }

    /// Judges a link whose session should be up.
    fn judge(&mut self, state: State, reason: Reason, diagnostic: Diagnostic) {
        let suspect = Some(suspicion(reason, diagnostic));
        match state {
            State::Up | State::AdminDown => {}
            // The peer is heard; it does not hear us.
            State::Init => self.verdict.transmit = suspect,
            State::Down if reason == Reason::Silence => self.verdict.receive = suspect,
            State::Down => self.verdict = both(reason, diagnostic),
        }
    }
}

fn suspicion(reason: Reason, diagnostic: Diagnostic) -> Suspicion {
    Suspicion {
        reason,
        diagnostic: diagnostic.code(),
    }
}

fn both(reason: Reason, diagnostic: Diagnostic) -> PathVerdict {
    let suspect = Some(suspicion(reason, diagnostic));
    PathVerdict {
        receive: suspect,
        transmit: suspect,
    }
}

#[cfg(test)]
mod tests;
