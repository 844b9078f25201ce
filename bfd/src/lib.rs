//! Bidirectional Forwarding Detection: one session of RFC 5880 as a pure step, for single hops (RFC 5881).
//!
//! Knows: control packets, the state machine, negotiation of intervals, Poll Sequences, jitter, the detection time, the lateness of
//! its own caller, damping of flaps. Refuses to know: sockets, clocks, threads, links, randomness. Time is a parameter ([`Time`]),
//! jitter follows from a seed.
//!
//! ```text
//! datagram, TTL --> receive --> Packet --> Lookup::find --.          .--> send: Packet --> encode --> datagram
//!                                                          v          |
//!                              Event {Packet, Timer, ...} --> Session::step --> change: Change --> Damping
//!                                                          ^          |
//!                     timer queue <-- Session::deadline <--'          '--> lateness --> Lateness (a metric)
//! ```
//! # Rules for the caller
//! - Reads all sockets before it steps a timer: a packet that waits in a socket was received.
//! - Gives each packet with the time at which the kernel received it, on the clock of `now`.
//! - Sends each packet at once, with TTL 255 ([`TTL`]), to port 3784 ([`PORT`]).
//! - Asks [`Session::deadline`] after each step.
//!
//! # Choices where RFC 5880 leaves one
//! - Active role; asynchronous mode; no Echo function; no authentication: packets with the A bit are refused.
//! - Demand mode is never asked for. A peer that asks for it gets no periodic packets while both ends are Up (section 6.8.7).
//! - A packet with both P and F, which nobody may send (section 6.5), is taken for both.
//! - The diagnostic is cleared when the session comes up.
//! - A Poll Sequence is started in state Up only: in other states each parameter has effect at once (section 6.8.3).
//! - After a detection time of silence nothing is known of the peer: not its discriminator (section 6.8.1), nor its intervals.
//!   The packet that reports the silence still carries the discriminator: FRR takes none without it while it is Up or Init.
//! - A packet is taken only on the link of its session ([`Lookup`]).

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod config;
mod damping;
mod diagnostic;
mod jitter;
mod lateness;
mod lookup;
mod packet;
mod poll;
mod session;
mod state;
mod time;
mod udp;

pub use config::{Config, ConfigError, MIN_INTERVAL};
pub use damping::{CEILING, Damping, HALF_LIFE, PENALTY, REUSE, SUPPRESS};
pub use diagnostic::Diagnostic;
pub use lateness::{LATENESS_BOUND, Lateness};
pub use lookup::{Lookup, LookupError, Taken};
pub use packet::{BYTES, DecodeError, Packet, decode, encode};
pub use session::{Actions, Cause, Change, Event, Remote, SLOW, Session};
pub use state::State;
pub use time::{Interval, Time};
pub use udp::{PORT, ReceiveError, SOURCE_PORTS, TTL, receive};
