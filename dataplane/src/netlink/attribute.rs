//! Reading attributes (type, length, value) out of a message, without copying.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One attribute: its type without the flags, and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Attribute type, such as `RTA_DST`.
    pub kind: u16,
    /// The value, without padding.
    pub value: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// The attributes nested in this one.
    pub fn nested(self) -> Attributes<'a> {
        attributes(self.value)
    }
}

/// Iterator over attributes. A malformed tail ends it.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

/// Reads the attributes in `bytes`, which begins with the first of them.
pub fn attributes(bytes: &[u8]) -> Attributes<'_> {
    Attributes { rest: bytes }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(read_u16(self.rest.get(..2)?)?);
        // The two highest bits are NLA_F_NESTED and NLA_F_NET_BYTEORDER.
        let kind = read_u16(self.rest.get(2..4)?)? & 0x3fff;
        let value = self.rest.get(4..length)?;
        self.rest = self
            .rest
            .get(length.next_multiple_of(4)..)
            .unwrap_or_default();
        Some(Attribute { kind, value })
    }
}

/// The first two bytes as a number in host order.
pub fn read_u16(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.first_chunk()?))
}

/// The first four bytes as a number in host order.
pub fn read_u32(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.first_chunk()?))
}

/// An address of 4 or 16 bytes.
pub fn read_ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(*bytes.first_chunk::<4>()?).into()),
        16 => Some(Ipv6Addr::from(*bytes.first_chunk::<16>()?).into()),
        _ => None,
    }
}

/// A string with or without the closing zero byte; invalid UTF-8 is replaced.
pub fn read_str(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
