//! Points in time and intervals.

use core::fmt;
use core::ops::Add;
use core::time::Duration;

/// A point in time: the distance from any origin, on one monotonic clock for all that is given to a session.
///
/// The clock must run while the machine's wall clock is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(Duration);

impl Time {
    /// The point in time at this distance from the origin.
    pub const fn from_origin(distance: Duration) -> Self {
        Self(distance)
    }

    /// The time since `earlier`; zero when that is later.
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

/// An interval of the protocol: microseconds in 32 bits, as packets carry it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval(u32);

impl Interval {
    /// No time at all; in "Required Min RX Interval" it asks for no periodic packets (RFC 5880, section 6.8.1).
    pub const ZERO: Self = Self(0);

    /// An interval of microseconds.
    pub const fn from_micros(micros: u32) -> Self {
        Self(micros)
    }

    /// An interval of milliseconds; the longest one when 32 bits of microseconds cannot hold it.
    pub const fn from_millis(millis: u32) -> Self {
        Self(millis.saturating_mul(1000))
    }

    /// Its microseconds.
    pub const fn micros(self) -> u32 {
        self.0
    }

    /// The same as a duration.
    pub const fn duration(self) -> Duration {
        Duration::from_micros(self.0 as u64)
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.duration())
    }
}
