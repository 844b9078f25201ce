//! Evidence of one observer: the state of a link's end, for each direction.

use core::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::state::{Reason, State};
use crate::suspicion::{PathVerdict, Suspicion};

/// The state of one direction at one end.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// The state that the observer sees.
    pub state: State,
    /// Begin of the state, in ms on the observer's monotonic clock: comparable with other times of the same boot of its node alone.
    #[serde(default)]
    pub since: u64,
    /// Cause of the state.
    #[serde(default, skip_serializing_if = "Reason::is_none")]
    pub reason: Reason,
    /// Diagnostic of the liveness protocol (RFC 5880, section 4.1); 0 where there is none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub diagnostic: u8,
}

impl Evidence {
    /// This evidence of one direction, after `before`: a state that lasts keeps its begin.
    #[must_use]
    fn after(self, before: Option<Evidence>) -> Evidence {
        let lasts = |before: &Evidence| (before.state, before.reason) == (self.state, self.reason);
        Evidence {
            since: before.filter(lasts).map_or(self.since, |it| it.since),
            ..self
        }
    }

    /// This evidence of an interface, lowered by a suspicion on this direction at `now`. A suspicion of an interface that is down
    /// changes nothing.
    #[must_use]
    fn lowered(self, suspicion: Option<Suspicion>, now: u64) -> Evidence {
        match suspicion {
            Some(Suspicion { reason, diagnostic }) if !self.state.is_down() => Evidence {
                state: State::Suspect,
                since: now,
                reason,
                diagnostic,
            },
            _ => self,
        }
    }

    fn suspicion(&self) -> Option<Suspicion> {
        (self.state == State::Suspect).then_some(Suspicion {
            reason: self.reason,
            diagnostic: self.diagnostic,
        })
    }
}

fn is_zero(diagnostic: &u8) -> bool {
    *diagnostic == 0
}

/// One end of a link, as the node that it is on observes it: both directions.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(from = "WireEnd", into = "WireEnd")]
pub struct End {
    /// Packets of the other end to this one.
    pub receive: Evidence,
    /// Packets of this end to the other one.
    pub transmit: Evidence,
    /// Largest packet in bytes that the network below this end carries; 0 where there is none, or none is known.
    pub mtu: u32,
}

/// An interface as it was seen: it passes packets both ways or not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// State of both directions.
    pub state: State,
    /// Cause of the state.
    pub reason: Reason,
    /// As [`End::mtu`].
    pub mtu: u32,
}

impl From<(State, Reason)> for Observation {
    fn from((state, reason): (State, Reason)) -> Observation {
        Observation {
            state,
            reason,
            mtu: 0,
        }
    }
}

impl End {
    /// The end that follows `before` when the interface is observed at `now`: an interface passes packets both ways or not at all.
    pub fn observed(before: Option<&End>, state: State, reason: Reason, now: u64) -> End {
        let mtu = before.map_or(0, |before| before.mtu);
        let observation = Observation { state, reason, mtu };
        End::composed(before, observation, PathVerdict::ALIVE, now)
    }

    /// The end that follows `before` when the interface is observed at `now` and the liveness protocol says `verdict` of it.
    pub fn composed(
        before: Option<&End>,
        observation: Observation,
        verdict: PathVerdict,
        now: u64,
    ) -> End {
        let Observation { state, reason, mtu } = observation;
        let of = |suspicion, before: Option<Evidence>| {
            let seen = Evidence {
                state,
                since: now,
                reason,
                diagnostic: 0,
            };
            seen.lowered(suspicion, now).after(before)
        };
        End {
            receive: of(verdict.receive, before.map(|end| end.receive)),
            transmit: of(verdict.transmit, before.map(|end| end.transmit)),
            mtu,
        }
    }

    /// The end that follows this one when the liveness protocol says `verdict` of it at `now`. A direction that is no longer suspect
    /// passes packets, and is not used yet; an interface that is down stays so.
    #[must_use]
    pub fn judged(self, verdict: PathVerdict, now: u64) -> End {
        let of = |evidence: Evidence, suspicion: Option<Suspicion>| {
            let bare = match evidence.state {
                State::Suspect => Evidence {
                    state: State::Init,
                    since: now,
                    ..Evidence::default()
                },
                _ => evidence,
            };
            bare.lowered(suspicion, now).after(Some(evidence))
        };
        End {
            receive: of(self.receive, verdict.receive),
            transmit: of(self.transmit, verdict.transmit),
            ..self
        }
    }

    /// The verdict that this end carries.
    pub fn verdict(&self) -> PathVerdict {
        PathVerdict {
            receive: self.receive.suspicion(),
            transmit: self.transmit.suspicion(),
        }
    }

    /// This end with another MTU.
    #[must_use]
    pub fn with_mtu(self, mtu: u32) -> End {
        End { mtu, ..self }
    }

    /// The lower state of both directions.
    pub fn state(&self) -> State {
        self.receive.state.min(self.transmit.state)
    }

    /// True while packets pass both ways.
    pub fn passes(&self) -> bool {
        self.state().passes()
    }

    /// True while no packet can pass, not even as the last resort.
    pub fn is_down(&self) -> bool {
        self.state().is_down()
    }

    /// The cause of the direction that is worse off.
    pub fn reason(&self) -> Reason {
        let worse = [self.receive, self.transmit]
            .into_iter()
            .min_by_key(|evidence| evidence.state);
        worse.map_or(Reason::None, |evidence| evidence.reason)
    }
}

/// Both directions are mostly alike: the receiving one is left out then.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireEnd {
    #[serde(flatten)]
    transmit: Evidence,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    receive: Option<Evidence>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mtu: Option<NonZeroU32>,
}

impl From<WireEnd> for End {
    fn from(wire: WireEnd) -> End {
        End {
            receive: wire.receive.unwrap_or(wire.transmit),
            transmit: wire.transmit,
            mtu: wire.mtu.map_or(0, NonZeroU32::get),
        }
    }
}

impl From<End> for WireEnd {
    fn from(end: End) -> WireEnd {
        WireEnd {
            transmit: end.transmit,
            receive: (end.receive != end.transmit).then_some(end.receive),
            mtu: NonZeroU32::new(end.mtu),
        }
    }
}

#[cfg(test)]
mod tests;
