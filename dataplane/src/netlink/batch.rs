//! Writing messages into one buffer.

use std::net::IpAddr;

use super::consts::{NLM_F_ACK, NLM_F_REQUEST};

/// Bytes of `struct nlmsghdr`.
pub(super) const HEADER: usize = 16;
/// Set on a nested attribute.
const NLA_F_NESTED: u16 = 1 << 15;

/// Requests that go to the kernel together, in order. Reusable: [`Batch::clear`] keeps the memory.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Start offset of each message.
    offsets: Vec<u32>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of messages.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// True when there is no message.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Forgets the messages.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.offsets.clear();
    }

    /// Begins a message of type `kind` (`RTM_NEWROUTE`) with the family's own header (`struct rtmsg`), to which
    /// attributes are then added. `NLM_F_REQUEST` is always set; `NLM_F_ACK` is set by the socket where needed.
    pub fn message(&mut self, kind: u16, flags: u16, header: &[u8]) -> Message<'_> {
        let start = self.bytes.len();
        self.offsets
            .push(u32::try_from(start).expect("a batch is far below 4 GiB"));
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes
            .extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 8]);
        self.bytes.extend_from_slice(header);
        let mut message = Message {
            bytes: &mut self.bytes,
            start,
        };
        message.pad();
        message
    }

    /// The bytes of messages `first..last`, with sequence numbers from `sequence` on and an ACK asked for the last only.
    pub(super) fn seal(&mut self, first: usize, last: usize, sequence: u32, ack: bool) -> &[u8] {
        for (index, number) in (first..last).zip(sequence..) {
            let start = self.offsets[index] as usize;
            self.bytes[start + 8..start + 12].copy_from_slice(&number.to_ne_bytes());
            if ack && index + 1 == last {
                let at = start + 6;
                let flags = u16::from_ne_bytes([self.bytes[at], self.bytes[at + 1]]) | NLM_F_ACK;
                self.bytes[at..at + 2].copy_from_slice(&flags.to_ne_bytes());
            }
        }
        &self.bytes[self.offsets[first] as usize..self.end(last)]
    }

    /// End offset of message `count - 1`.
    fn end(&self, count: usize) -> usize {
        self.offsets
            .get(count)
            .map_or(self.bytes.len(), |&offset| offset as usize)
    }

    /// The largest `last` such that `first..last` fits into the limits.
    pub(super) fn chunk(&self, first: usize, messages: usize, bytes: usize) -> usize {
        let start = self.offsets[first] as usize;
        let mut last = (first + messages).min(self.len());
        while last > first + 1 && self.end(last) - start > bytes {
            last = first + (last - first) / 2;
        }
        last
    }
}

/// A message being written. Its length is set when it is dropped.
#[derive(Debug)]
pub struct Message<'a> {
    bytes: &'a mut Vec<u8>,
    start: usize,
}

impl Message<'_> {
    /// Adds an attribute with raw bytes.
    pub fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let length = u16::try_from(value.len() + 4).expect("an attribute is below 64 KiB");
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
        self
    }

    /// Adds an attribute without value.
    pub fn flag(&mut self, kind: u16) -> &mut Self {
        self.bytes(kind, &[])
    }

    /// Adds one byte.
    pub fn u8(&mut self, kind: u16, value: u8) -> &mut Self {
        self.bytes(kind, &[value])
    }

    /// Adds a 16-bit number in host order.
    pub fn u16(&mut self, kind: u16, value: u16) -> &mut Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// Adds a 32-bit number in host order.
    pub fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// Adds an address: 4 or 16 bytes.
    pub fn ip(&mut self, kind: u16, address: IpAddr) -> &mut Self {
        match address {
            IpAddr::V4(address) => self.bytes(kind, &address.octets()),
            IpAddr::V6(address) => self.bytes(kind, &address.octets()),
        }
    }

    /// Adds a string and its closing zero byte.
    pub fn string(&mut self, kind: u16, value: &str) -> &mut Self {
        let length = u16::try_from(value.len() + 5).expect("a name is below 64 KiB");
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        self.pad();
        self
    }

    /// Adds an attribute that holds what `fill` adds. `header` comes first (`struct ifinfomsg` of a veth's peer).
    pub fn nested(&mut self, kind: u16, header: &[u8], fill: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes
            .extend_from_slice(&(kind | NLA_F_NESTED).to_ne_bytes());
        self.bytes.extend_from_slice(header);
        self.pad();
        fill(self);
        let length = u16::try_from(self.bytes.len() - start).expect("a nest is below 64 KiB");
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self
    }

    /// Pads to four bytes, counted from the message's start (every message begins aligned).
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

impl Drop for Message<'_> {
    fn drop(&mut self) {
        let length =
            u32::try_from(self.bytes.len() - self.start).expect("a message is below 4 GiB");
        self.bytes[self.start..self.start + 4].copy_from_slice(&length.to_ne_bytes());
    }
}
