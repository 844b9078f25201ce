//! Encapsulation for single hops (RFC 5881).

use core::ops::RangeInclusive;

use crate::packet::{DecodeError, Packet, decode};

/// UDP destination port of control packets (RFC 5881, section 4).
pub const PORT: u16 = 3784;
/// UDP source ports; a session keeps one, and no other session of the node has it while there are enough (RFC 5881, section 4).
pub const SOURCE_PORTS: RangeInclusive<u16> = 49152..=65535;
/// TTL or hop limit of each packet: a router that forwarded one would have made it smaller (RFC 5881, section 5).
pub const TTL: u8 = 255;

/// The cause for which a datagram is no packet from the other end of its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// A TTL below 255: the sender is not on the link.
    #[error("the TTL is {ttl}, not {TTL}")]
    Ttl {
        /// The received one.
        ttl: u8,
    },
    /// Bytes that are no packet for us.
    #[error("a packet is not readable")]
    Packet(#[from] DecodeError),
}

/// The packet of a datagram that arrived with `ttl`.
///
/// # Errors
/// [`ReceiveError`]: the datagram must be discarded.
pub fn receive(datagram: &[u8], ttl: u8) -> Result<Packet, ReceiveError> {
    if ttl != TTL {
        return Err(ReceiveError::Ttl { ttl });
    }
    Ok(decode(datagram)?)
}
