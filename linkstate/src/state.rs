//! State of a link's end, and its cause.

use alloc::string::String;

use serde::{Deserialize, Serialize};

/// State of one direction at one end, in the terms of RFC 5880. Encoded as text; text that is not known decodes as [`State::Down`].
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(from = "String", into = "&'static str")]
pub enum State {
    /// Taken down by an administrator.
    AdminDown,
    /// The interface is down or missing: no packet passes.
    #[default]
    Down,
    /// The interface is up, and the liveness protocol says that no packet passes.
    Suspect,
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

    /// True while no packet can pass: not even as the last resort.
    pub fn is_down(self) -> bool {
        self <= State::Down
    }

    fn text(self) -> &'static str {
        match self {
            State::AdminDown => "adminDown",
            State::Down => "down",
            State::Suspect => "suspect",
            State::Init => "init",
            State::Up => "up",
        }
    }
}

impl From<String> for State {
    fn from(text: String) -> State {
        let known = [State::AdminDown, State::Suspect, State::Init, State::Up];
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
    /// This end hears nothing of the other one within the detection time (RFC 5880, section 6.8.4).
    Silence,
    /// The other end says that it hears nothing of this one.
    PeerSilence,
    /// No session came up within the grace time.
    NeverUp,
    /// Packets pass again, after too many failures in a short time.
    Damped,
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
            Reason::Silence => "silence",
            Reason::PeerSilence => "peerSilence",
            Reason::NeverUp => "neverUp",
            Reason::Damped => "damped",
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
            Reason::Silence,
            Reason::PeerSilence,
            Reason::NeverUp,
            Reason::Damped,
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
