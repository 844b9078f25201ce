//! Control packets: their bytes, and the checks of a received one that need no session.

use core::num::{NonZeroU8, NonZeroU32};

use crate::diagnostic::Diagnostic;
use crate::state::State;
use crate::time::Interval;

/// Bytes of a packet without authentication section.
pub const BYTES: usize = 24;

const VERSION: u8 = 1;
const POLL: u8 = 1 << 5;
const FINAL: u8 = 1 << 4;
const CONTROL_PLANE_INDEPENDENT: u8 = 1 << 3;
const AUTHENTICATED: u8 = 1 << 2;
const DEMAND: u8 = 1 << 1;
const MULTIPOINT: u8 = 1;

/// A control packet (RFC 5880, section 4.1) of version 1, without authentication and without the Multipoint bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Packet {
    /// The sender's reason for the last change of its state.
    pub diagnostic: Diagnostic,
    /// The sender's state.
    pub state: State,
    /// P: the sender asks for a packet with F.
    pub is_poll: bool,
    /// F: the answer to a packet with P.
    pub is_final: bool,
    /// C: the sender's BFD goes on while its control plane is away.
    pub is_control_plane_independent: bool,
    /// D: the sender asks for no periodic packets while both ends are Up.
    pub is_demand: bool,
    /// Intervals of silence after which the receiver takes the session for down.
    pub detect_multiplier: NonZeroU8,
    /// The sender's discriminator.
    pub my_discriminator: NonZeroU32,
    /// The receiver's discriminator; none while the sender does not know it.
    pub your_discriminator: Option<NonZeroU32>,
    /// The shortest interval at which the sender would like to send.
    pub desired_min_tx: Interval,
    /// The shortest interval at which the sender can receive; zero asks for no periodic packets.
    pub required_min_rx: Interval,
    /// The shortest interval of Echo packets that the sender can loop back; zero for none.
    pub required_min_echo_rx: Interval,
}

/// The cause for which bytes are no packet for us, in the order of the checks of RFC 5880, section 6.8.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Too few bytes for any packet.
    #[error("a packet has {bytes} bytes, at least {BYTES} are needed")]
    Short {
        /// Their number.
        bytes: usize,
    },
    /// Another version of the protocol.
    #[error("version {version} of BFD, only {VERSION} is known")]
    Version {
        /// The packet's.
        version: u8,
    },
    /// A length field that is too small, or larger than the datagram.
    #[error("length {length} in a datagram of {bytes} bytes")]
    Length {
        /// The field.
        length: u8,
        /// Bytes of the datagram.
        bytes: usize,
    },
    /// A detect multiplier of zero.
    #[error("the detect multiplier is zero")]
    DetectMultiplier,
    /// The Multipoint bit.
    #[error("the Multipoint bit is set")]
    Multipoint,
    /// A sender's discriminator of zero.
    #[error("my discriminator is zero")]
    MyDiscriminator,
    /// No receiver's discriminator in a state that is reached only with one.
    #[error("your discriminator is zero in state {state}")]
    YourDiscriminator {
        /// The packet's state.
        state: State,
    },
    /// An authentication section: no session of ours uses one.
    #[error("the packet is authenticated, which no session is")]
    Authenticated,
}

/// The bytes of a packet.
pub fn encode(packet: &Packet) -> [u8; BYTES] {
    let flag = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
    let flags = flag(packet.is_poll, POLL)
        | flag(packet.is_final, FINAL)
        | flag(
            packet.is_control_plane_independent,
            CONTROL_PLANE_INDEPENDENT,
        )
        | flag(packet.is_demand, DEMAND);
    let head = [
        VERSION << 5 | packet.diagnostic.code(),
        packet.state.bits() << 6 | flags,
        packet.detect_multiplier.get(),
        BYTES as u8,
    ];
    let words = [
        packet.my_discriminator.get(),
        packet.your_discriminator.map_or(0, NonZeroU32::get),
        packet.desired_min_tx.micros(),
        packet.required_min_rx.micros(),
        packet.required_min_echo_rx.micros(),
    ];
    let mut bytes = [0; BYTES];
    let (first, rest) = bytes.split_at_mut(head.len());
    first.copy_from_slice(&head);
    for (place, word) in rest.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_be_bytes());
    }
    bytes
}

/// The packet at the beginning of a datagram; bytes after its length are ignored.
///
/// # Errors
/// [`DecodeError`]: the packet must be discarded (RFC 5880, section 6.8.6).
pub fn decode(datagram: &[u8]) -> Result<Packet, DecodeError> {
    let bytes = datagram.len();
    let Some(&[first, second, multiplier, length]) = datagram.first_chunk() else {
        return Err(DecodeError::Short { bytes });
    };
    if bytes < BYTES {
        return Err(DecodeError::Short { bytes });
    }
    let version = first >> 5;
    if version != VERSION {
        return Err(DecodeError::Version { version });
    }
    let has = |bit: u8| second & bit != 0;
    // A length of 26 holds an authentication section of type and length alone.
    let least = if has(AUTHENTICATED) { BYTES + 2 } else { BYTES };
    if usize::from(length) < least || usize::from(length) > bytes {
        return Err(DecodeError::Length { length, bytes });
    }
    let detect_multiplier = NonZeroU8::new(multiplier).ok_or(DecodeError::DetectMultiplier)?;
    if has(MULTIPOINT) {
        return Err(DecodeError::Multipoint);
    }
    let mut words = datagram[4..BYTES].chunks_exact(4).map(|word| {
        let word = word.first_chunk().copied().unwrap_or_default();
        u32::from_be_bytes(word)
    });
    // Twenty bytes are five words.
    let mut word = || words.next().unwrap_or_default();
    let my_discriminator = NonZeroU32::new(word()).ok_or(DecodeError::MyDiscriminator)?;
    let your_discriminator = NonZeroU32::new(word());
    let state = State::from_bits(second >> 6);
    let is_start = matches!(state, State::Down | State::AdminDown);
    if your_discriminator.is_none() && !is_start {
        return Err(DecodeError::YourDiscriminator { state });
    }
    if has(AUTHENTICATED) {
        return Err(DecodeError::Authenticated);
    }
    Ok(Packet {
        diagnostic: Diagnostic::from_code(first),
        state,
        is_poll: has(POLL),
        is_final: has(FINAL),
        is_control_plane_independent: has(CONTROL_PLANE_INDEPENDENT),
        is_demand: has(DEMAND),
        detect_multiplier,
        my_discriminator,
        your_discriminator,
        desired_min_tx: Interval::from_micros(word()),
        required_min_rx: Interval::from_micros(word()),
        required_min_echo_rx: Interval::from_micros(word()),
    })
}

#[cfg(test)]
pub(crate) mod tests;
