//! The link-state database (LSDB) of a node: evidence for each end and direction of a link.
//!
//! Knows: the state of a link's ends as their nodes report it, the order of reports, the directions of a link that can be used, the
//! encoding of a report. Refuses to know: networks, files, clocks, threads, Kubernetes. Time is a parameter: milliseconds on a
//! monotonic clock of the observer.
//!
//! ```text
//! node of end a: Report {origin, sequence} --.
//!                                             >-- Lsdb::merge --> Link {ends a, b} --> usable(direction)
//! node of end b: Report {origin, sequence} --'     (any order,          |
//!                                                   any number)         '--> disagreement(direction), kept as evidence
//! ```
//! # Rules
//! - Each end reports both directions of its link. A direction is usable only while both its ends report that it passes packets.
//! - An end is as its interface is, lowered to suspect in each direction of which the liveness protocol says that no packet passes. A
//!   suspect link is the last resort: a wrong suspicion cuts off nobody.
//! - Each end reports the MTU of the network below it: both take the smaller one.
//! - An end that no report mentions is not up.
//! - The report with the higher sequence of an origin wins. Merging is commutative, associative and idempotent.
//! - An origin numbers all its reports and withdrawals in one row, so a forgotten withdrawal is below all that comes.
//! - What an origin says first on a connection of its own replaces what was known, whatever the sequences: neither a clock that was
//!   wrong nor another's report in its name silences it beyond its next connection. So no clock is compared with another's.
//! - Unknown fields are ignored; an unknown state counts as down. A newer version adds, it never changes the meaning of a field.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod evidence;
mod generations;
mod link;
mod lsdb;
mod report;
mod state;
mod suspicion;
mod version;
mod wire;

pub use evidence::{End, Evidence, Observation};
pub use generations::Generations;
pub use link::{
    Direction, Disagreement, Impaired, LAST_RESORT_WEIGHT, Link, Usage, Verdict, verdict,
};
pub use lsdb::{Change, LimitExceeded, Lsdb, MAX_FORWARDERS, MAX_LINKS, MAX_WITHDRAWN};
pub use report::{Report, Sequence};
pub use state::{Reason, State};
pub use suspicion::{PathVerdict, Suspicion};
pub use version::Versions;
pub use wire::{DecodeError, MAX_BYTES, MAX_KEY, decode, encode, is_key};
