//! Counters of the detector, for metrics.

use std::sync::{Mutex, PoisonError};

use bfd::Lateness;

/// Values at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Snapshot {
    /// Sessions in state Up.
    pub up: u64,
    /// Sessions in another state.
    pub down: u64,
    /// Factor of all intervals: 1, or more where sessions ask for more than the budget.
    pub stretch: f64,
    /// Sent packets.
    pub sent: u64,
    /// Packets that the kernel did not take: the interface is down, or its queue full.
    pub unsent: u64,
    /// Packets of sessions.
    pub received: u64,
    /// Datagrams that are no packet of a session: malformed, from afar, or of nobody.
    pub refused: u64,
    /// Lateness of the thread.
    pub lateness: Lateness,
}

impl Default for Snapshot {
    fn default() -> Snapshot {
        Snapshot {
            up: 0,
            down: 0,
            stretch: 1.0,
            sent: 0,
            unsent: 0,
            received: 0,
            refused: 0,
            lateness: Lateness::default(),
        }
    }
}

/// Counters, shared by the detector and the metrics.
#[derive(Debug, Default)]
pub struct Statistics(Mutex<Snapshot>);

impl Statistics {
    /// The values now.
    pub fn get(&self) -> Snapshot {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the values.
    pub(crate) fn set(&self, values: Snapshot) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = values;
    }
}
