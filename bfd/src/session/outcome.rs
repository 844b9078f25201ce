//! Events and actions of a session.

use core::num::{NonZeroU8, NonZeroU32};
use core::time::Duration;

use crate::config::Config;
use crate::diagnostic::Diagnostic;
use crate::packet::Packet;
use crate::state::State;
use crate::time::{Interval, Time};

/// An event of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A packet that passed `receive` and `Lookup::find`.
    Packet {
        /// The packet.
        packet: Packet,
        /// The time at which the kernel received it.
        received: Time,
    },
    /// The deadline has come. Too early it is without effect.
    Timer,
    /// Other parameters.
    Configure(Config),
    /// The path is known to be down, such as by its carrier (diagnostic 5). The session comes back by itself with the peer's packets.
    PathDown,
    /// A planned stop (diagnostic 7). Sends a packet each time: repeated at the interval that was used so far, as often as the detect
    /// multiplier says, it survives losses. A peer that heard none of them takes the stop for a failure.
    Disable,
    /// The end of a planned stop.
    Enable,
}

/// Consequences of a step, for the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "packets are sent by the caller"]
pub struct Actions {
    /// A packet to be sent at once.
    pub send: Option<Packet>,
    /// A change of state.
    pub change: Option<Change>,
    /// The lateness of this step, for `Lateness::count`: the time since the deadline, or since the kernel received the packet.
    pub lateness: Option<Duration>,
    /// True when silence was not believed, because the caller itself was late.
    pub is_extended: bool,
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The state before.
    pub from: State,
    /// The state now.
    pub to: State,
    /// The reason.
    pub cause: Cause,
}

impl Change {
    /// True when the path failed: the session was Up and neither end was stopped on purpose.
    pub const fn is_failure(&self) -> bool {
        let is_down = matches!((self.from, self.to), (State::Up, State::Down));
        is_down && self.cause.is_failure()
    }
}

/// The reason for a change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Packets from the peer: the session comes up.
    Heard,
    /// No packet for the detection time (diagnostic 1): the path from the peer, or the peer, is gone.
    Silence,
    /// The peer says Down (diagnostic 3), with its reason: 1 means that it does not hear us.
    RemoteDown(Diagnostic),
    /// The peer was stopped on purpose (diagnostic 3), which is no failure of the path (RFC 5880, section 6.8.16).
    RemoteAdminDown(Diagnostic),
    /// [`Event::PathDown`] (diagnostic 5).
    PathDown,
    /// [`Event::Disable`] (diagnostic 7).
    Disabled,
    /// [`Event::Enable`].
    Enabled,
}

impl Cause {
    /// The diagnostic that our packets carry after such a change.
    pub const fn diagnostic(self) -> Diagnostic {
        match self {
            Self::Heard | Self::Enabled => Diagnostic::NONE,
            Self::Silence => Diagnostic::DETECTION_TIME_EXPIRED,
            Self::RemoteDown(_) | Self::RemoteAdminDown(_) => Diagnostic::NEIGHBOUR_DOWN,
            Self::PathDown => Diagnostic::PATH_DOWN,
            Self::Disabled => Diagnostic::ADMIN_DOWN,
        }
    }

    /// True for reasons that lie in the path, false for orders and for the way up.
    const fn is_failure(self) -> bool {
        match self {
            Self::Silence | Self::RemoteDown(_) | Self::PathDown => true,
            Self::Heard | Self::RemoteAdminDown(_) | Self::Disabled | Self::Enabled => false,
        }
    }
}

/// The peer, as its last packet said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Its discriminator; another one after a restart.
    pub discriminator: NonZeroU32,
    /// Its state.
    pub state: State,
    /// The reason for its last change of state.
    pub diagnostic: Diagnostic,
    /// The interval at which it would like to send.
    pub desired_min_tx: Interval,
    /// The shortest interval at which it can receive; zero: it wants no periodic packets.
    pub required_min_rx: Interval,
    /// The number of its intervals after which its silence is a failure.
    pub detect_multiplier: NonZeroU8,
    /// True when it asks for demand mode.
    pub is_demand: bool,
    /// True when its BFD goes on while its control plane is away.
    pub is_control_plane_independent: bool,
}

impl Remote {
    pub(super) const fn of(packet: &Packet) -> Self {
        Self {
            discriminator: packet.my_discriminator,
            state: packet.state,
            diagnostic: packet.diagnostic,
            desired_min_tx: packet.desired_min_tx,
            required_min_rx: packet.required_min_rx,
            detect_multiplier: packet.detect_multiplier,
            is_demand: packet.is_demand,
            is_control_plane_independent: packet.is_control_plane_independent,
        }
    }
}
