//! Reasons for changes of state, as packets carry them.

use core::fmt;

/// A diagnostic code: the sender's reason for the last change of its state (RFC 5880, section 4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Diagnostic(u8);

impl Diagnostic {
    /// No diagnostic.
    pub const NONE: Self = Self(0);
    /// No packet was received for the detection time.
    pub const DETECTION_TIME_EXPIRED: Self = Self(1);
    /// The neighbour said that its session is down.
    pub const NEIGHBOUR_DOWN: Self = Self(3);
    /// The path was reported down from outside the protocol.
    pub const PATH_DOWN: Self = Self(5);
    /// Stopped on purpose.
    pub const ADMIN_DOWN: Self = Self(7);

    /// The diagnostic of a code; of a larger number its five lowest bits, all that a packet holds.
    pub const fn from_code(code: u8) -> Self {
        Self(code & 0b1_1111)
    }

    /// Its code, at most 31.
    pub const fn code(self) -> u8 {
        self.0
    }

    /// Its name in RFC 5880, section 4.1; codes above 8 are reserved.
    pub const fn name(self) -> &'static str {
        match self.0 {
            0 => "No Diagnostic",
            1 => "Control Detection Time Expired",
            2 => "Echo Function Failed",
            3 => "Neighbor Signaled Session Down",
            4 => "Forwarding Plane Reset",
            5 => "Path Down",
            6 => "Concatenated Path Down",
            7 => "Administratively Down",
            8 => "Reverse Concatenated Path Down",
            _ => "reserved",
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}
