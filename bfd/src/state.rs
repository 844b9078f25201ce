//! States of a session and the state machine.

use core::fmt;

/// A session's state (RFC 5880, section 6.2), in the order of its two bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Stopped on purpose: says nothing about the path.
    AdminDown,
    /// Not up, or not any more.
    #[default]
    Down,
    /// The peer is heard; it is not known that it hears us.
    Init,
    /// Packets pass in both directions.
    Up,
}

impl State {
    /// The next state after a packet that says `heard` (RFC 5880, sections 6.2 and 6.8.6).
    pub const fn after(self, heard: Self) -> Self {
        use State::{AdminDown, Down, Init, Up};
        match (self, heard) {
            (AdminDown, AdminDown | Down | Init | Up) => AdminDown,
            (Down, AdminDown | Up) => Down,
            (Down, Down) => Init,
            (Down, Init) => Up,
            (Init, AdminDown) => Down,
            (Init, Down) => Init,
            (Init, Init | Up) => Up,
            (Up, AdminDown | Down) => Down,
            (Up, Init | Up) => Up,
        }
    }

    /// The state of the two bits of a packet; higher bits are ignored.
    pub(crate) const fn from_bits(bits: u8) -> Self {
        match bits & 0b11 {
            0 => Self::AdminDown,
            1 => Self::Down,
            2 => Self::Init,
            _ => Self::Up,
        }
    }

    /// Its two bits in a packet.
    pub(crate) const fn bits(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AdminDown => "AdminDown",
            Self::Down => "Down",
            Self::Init => "Init",
            Self::Up => "Up",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::State::{self, AdminDown, Down, Init, Up};

    #[test]
    fn the_table_of_section_6_2() {
        #[rustfmt::skip]
        let rows = [
            // own       hears AdminDown  Down       Init       Up
            (AdminDown, [AdminDown, AdminDown, AdminDown, AdminDown]),
            (Down,      [Down,      Init,      Up,        Down]),
            (Init,      [Down,      Init,      Up,        Up]),
            (Up,        [Down,      Down,      Up,        Up]),
        ];
        for (own, next) in rows {
            for (heard, next) in [AdminDown, Down, Init, Up].into_iter().zip(next) {
                assert_eq!(own.after(heard), next, "{own} hears {heard}");
            }
        }
    }

    #[test]
    fn bits_are_those_of_section_4_1() {
        for (bits, state) in [AdminDown, Down, Init, Up].into_iter().enumerate() {
            assert_eq!(usize::from(state.bits()), bits);
            assert_eq!(State::from_bits(state.bits()), state);
        }
    }
}
