//! Evidence of one observer: the state of a link's end, for each direction.

use alloc::string::String;
use core::num::NonZeroU32;

use serde::{Deserialize, Serialize};

/// State of one direction at one end, in the terms of RFC 5880. Encoded as text; text that is not known decodes as [`State::Down`].
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(from = "String", into = "&'static str")]
pub enum State {
    /// Taken down by an administrator.
    AdminDown,
    /// No packet passes.
    #[default]
    Down,
    /// Packets pass; the tables of the observer's node do not use the link yet.
    Init,
    /// Packets pass, and the tables of the observer's node use the link.
    Up,
}

impl State {
    /// True while packets pass.
    pub fn passes(self) -> bool {
        self >= State::Init
    }

    fn text(self) -> &'static str {
        match self {
            State::AdminDown => "adminDown",
            State::Down => "down",
            State::Init => "init",
            State::Up => "up",
        }
    }
}

impl From<String> for State {
    fn from(text: String) -> State {
        let known = [State::AdminDown, State::Init, State::Up];
        let found = known.into_iter().find(|state| state.text() == text);
        found.unwrap_or(State::Down)
    }
}

impl From<State> for &'static str {
    fn from(state: State) -> &'static str {
        state.text()
    }
}

/// Cause of a state that is not up. Encoded as text; text that is not known decodes as [`Reason::Other`].
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(from = "String", into = "&'static str")]
pub enum Reason {
    /// None is needed.
    #[default]
    None,
    /// The interface has no carrier.
    NoCarrier,
    /// The interface was taken down.
    AdminDown,
    /// The interface does not exist.
    Missing,
    /// A cause that only later versions know.
    Other,
}

impl Reason {
    fn text(self) -> &'static str {
        match self {
            Reason::None => "",
            Reason::NoCarrier => "noCarrier",
            Reason::AdminDown => "adminDown",
            Reason::Missing => "missing",
            Reason::Other => "other",
        }
    }

    /// True for the reason of an end that is up.
    pub fn is_none(&self) -> bool {
        *self == Reason::None
    }
}

impl From<String> for Reason {
    fn from(text: String) -> Reason {
        let known = [
            Reason::None,
            Reason::NoCarrier,
            Reason::AdminDown,
            Reason::Missing,
        ];
        let found = known.into_iter().find(|reason| reason.text() == text);
        found.unwrap_or(Reason::Other)
    }
}

impl From<Reason> for &'static str {
    fn from(reason: Reason) -> &'static str {
        reason.text()
    }
}

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
}

impl Evidence {
    /// The evidence that follows `before` when `state` is observed at `now`: a state that lasts keeps its begin.
    pub fn observed(before: Option<Evidence>, state: State, reason: Reason, now: u64) -> Evidence {
        match before {
            Some(before) if before.state == state && before.reason == reason => before,
            _ => Evidence {
                state,
                since: now,
                reason,
            },
        }
    }
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
        let of = |direction: fn(&End) -> Evidence| {
            Evidence::observed(before.map(direction), state, reason, now)
        };
        End {
            receive: of(|end| end.receive),
            transmit: of(|end| end.transmit),
            mtu: before.map_or(0, |before| before.mtu),
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
