//! Address blocks: one for each Forwarder and family, kept for as long as the Forwarder lives.
//!
//! Links need none: they are unnumbered. The first host of a block is the Forwarder's own
//! (router) address, instances of Apps get the second and up.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::{String, ToString},
    vec::Vec,
};
use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// Error of the assignment of blocks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// A prefix is longer than its family allows, or has bits set after its length.
    #[error("{prefix} is not a network: too long, or with host bits set")]
    NotANetwork {
        /// The prefix as given.
        prefix: Prefix,
    },
    /// Two of the given networks, or two kept blocks, overlap.
    #[error("{a} overlaps {b}")]
    Overlap {
        /// One prefix.
        a: Prefix,
        /// The other.
        b: Prefix,
    },
    /// The text is not `ADDRESS/LENGTH`.
    #[error("{text:?} is not a prefix, expected ADDRESS/LENGTH")]
    Malformed {
        /// The text as given.
        text: String,
    },
    /// The length asked for blocks is outside of the network or leaves no room for hosts.
    #[error("blocks of /{len} cannot be cut from {cidr}, expected /{} to /{max}", cidr.len)]
    BlockLength {
        /// The network.
        cidr: Prefix,
        /// The length asked for.
        len: u8,
        /// The longest that is allowed.
        max: u8,
    },
    /// The network has fewer blocks than Forwarders.
    #[error("{cidr} has {blocks} blocks for {wanted} forwarders")]
    TooFewBlocks {
        /// The network.
        cidr: Prefix,
        /// Number of available blocks (saturating).
        blocks: u64,
        /// Number of Forwarders that need one.
        wanted: usize,
    },
}

/// A network: an address and how many of its bits are fixed (CIDR, RFC 4632, RFC 4291).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// The first address.
    pub addr: IpAddr,
    /// Prefix length in bits.
    pub len: u8,
}

impl Prefix {
    /// Length of an address of this family in bits.
    pub fn width(&self) -> u8 {
        if self.addr.is_ipv4() { 32 } else { 128 }
    }

    /// True when `len` fits the family and no host bit is set.
    pub fn is_network(&self) -> bool {
        self.len <= self.width() && self.first() & host_bits(self.width() - self.len) == 0
    }

    /// True when the prefix contains an address.
    pub fn contains(&self, addr: IpAddr) -> bool {
        let width = if addr.is_ipv4() { 32 } else { 128 };
        self.covers(&Prefix { addr, len: width })
    }

    /// True when the prefix contains all of `other`.
    pub fn covers(&self, other: &Prefix) -> bool {
        self.width() == other.width()
            && self.first() <= other.first()
            && other.last() <= self.last()
    }

    /// True when both have an address in common.
    pub fn overlaps(&self, other: &Prefix) -> bool {
        self.width() == other.width()
            && self.first() <= other.last()
            && other.first() <= self.last()
    }

    /// The n-th address of the network, from 0; `None` when it is outside.
    pub fn host(&self, n: u128) -> Option<IpAddr> {
        (n <= self.last() - self.first()).then(|| self.address(self.first() + n))
    }

    /// The Forwarder's own address in its block: the first host.
    pub fn router(&self) -> Option<IpAddr> {
        self.host(1)
    }

    fn first(&self) -> u128 {
        match self.addr {
            IpAddr::V4(addr) => u128::from(addr.to_bits()),
            IpAddr::V6(addr) => addr.to_bits(),
        }
    }

    fn last(&self) -> u128 {
        self.first() | host_bits(self.width().saturating_sub(self.len))
    }

    /// Bits as an address of the same family.
    fn address(&self, bits: u128) -> IpAddr {
        match self.addr {
            // Callers stay within the family.
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(bits as u32)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(bits)),
        }
    }

    /// The part of this length that starts at these bits.
    fn part(&self, bits: u128, len: u8) -> Prefix {
        Prefix {
            addr: self.address(bits),
            len,
        }
    }
}

/// `count` ones.
fn host_bits(count: u8) -> u128 {
    1_u128
        .checked_shl(u32::from(count))
        .map_or(u128::MAX, |bit| bit - 1)
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}

impl FromStr for Prefix {
    type Err = AddressError;

    /// Reads `ADDRESS/LENGTH`, which must be a network.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('/');
        let prefix = parts.and_then(|(addr, len)| {
            let is_digits = len.bytes().all(|byte| byte.is_ascii_digit());
            let len = if is_digits {
                len.parse().ok()?
            } else {
                return None;
            };
            Some(Prefix {
                addr: addr.parse().ok()?,
                len,
            })
        });
        let prefix = prefix.ok_or_else(|| AddressError::Malformed {
            text: text.to_string(),
        })?;
        check_network(prefix)?;
        Ok(prefix)
    }
}

fn check_network(prefix: Prefix) -> Result<(), AddressError> {
    if prefix.is_network() {
        Ok(())
    } else {
        Err(AddressError::NotANetwork { prefix })
    }
}

/// Gives each name one block of each network, in the order of `cidrs`.
///
/// `block_len` has the wanted length for each network, as far as given; otherwise it follows
/// from [`default_length`]. `existing` are earlier blocks, by name: a name keeps the block that it
/// has, whatever length is wanted now. New names, in byte order, get the lowest free block. What
/// belongs to a name that is no longer listed counts as free only when nothing else is left,
/// since its last holder may still be on its way out.
///
/// # Errors
/// Networks that overlap or are none, kept blocks that overlap, too few blocks, and a length
/// that does not fit the network or leaves no room for a router and an instance.
///
/// # Guarantees
/// No two names share an address, and the result depends on the sets given, not on their order.
/// Names given again with the result as `existing` change nothing.
pub fn assign(
    cidrs: &[Prefix],
    block_len: &[Option<u8>],
    existing: &BTreeMap<String, Vec<Prefix>>,
    names: &[String],
) -> Result<BTreeMap<String, Vec<Prefix>>, AddressError> {
    for (position, cidr) in cidrs.iter().enumerate() {
        check_network(*cidr)?;
        if let Some(other) = cidrs[..position].iter().find(|other| other.overlaps(cidr)) {
            return Err(AddressError::Overlap {
                a: *other,
                b: *cidr,
            });
        }
    }
    let names: BTreeSet<&String> = names.iter().collect();
    let mut blocks: BTreeMap<String, Vec<Prefix>> = BTreeMap::new();
    for (position, cidr) in cidrs.iter().enumerate() {
        let wanted = block_len.get(position).copied().flatten();
        for (name, block) in assign_one(*cidr, wanted, existing, &names)? {
            blocks.entry(name.clone()).or_default().push(block);
        }
    }
    Ok(blocks)
}

/// The blocks of one network.
fn assign_one<'a>(
    cidr: Prefix,
    wanted: Option<u8>,
    existing: &BTreeMap<String, Vec<Prefix>>,
    names: &BTreeSet<&'a String>,
) -> Result<BTreeMap<&'a String, Prefix>, AddressError> {
    let held = |name: &String| {
        let mut blocks = existing.get(name)?.iter();
        blocks
            .find(|block| block.is_network() && cidr.covers(block))
            .copied()
    };
    let kept: BTreeMap<_, _> = names
        .iter()
        .filter_map(|name| Some((*name, held(name)?)))
        .collect();
    let mut taken: Vec<Prefix> = kept.values().copied().collect();
    taken.sort_unstable();
    if let Some(pair) = taken.windows(2).find(|pair| pair[0].overlaps(&pair[1])) {
        return Err(AddressError::Overlap {
            a: pair[0],
            b: pair[1],
        });
    }
    let new: Vec<&String> = names
        .iter()
        .filter(|name| !kept.contains_key(*name))
        .copied()
        .collect();
    if new.is_empty() {
        return Ok(kept);
    }
    let len = length(cidr, wanted, names.len())?;
    let of_gone = existing
        .keys()
        .filter(|name| !names.contains(name))
        .filter_map(held);
    let mut avoided: Vec<Prefix> = taken.iter().copied().chain(of_gone).collect();
    avoided.sort_unstable();
    let mut free = free_blocks(cidr, len, &avoided, new.len());
    if free.len() < new.len() {
        free = free_blocks(cidr, len, &taken, new.len());
    }
    if free.len() < new.len() {
        let blocks = (taken.len() + free.len()) as u64;
        return Err(AddressError::TooFewBlocks {
            cidr,
            blocks,
            wanted: names.len(),
        });
    }
    Ok(kept.into_iter().chain(new.into_iter().zip(free)).collect())
}

/// The lowest `count` blocks that overlap none of `taken`, which ascends.
fn free_blocks(cidr: Prefix, len: u8, taken: &[Prefix], count: usize) -> Vec<Prefix> {
    let last_of_block = host_bits(cidr.width() - len);
    let mut free = Vec::new();
    let mut taken = taken.iter().peekable();
    let mut candidate = Some(cidr.first());
    while let Some(first) = candidate.filter(|_| free.len() < count) {
        let last = first | last_of_block;
        if last > cidr.last() {
            break;
        }
        while taken.next_if(|other| other.last() < first).is_some() {}
        let end = match taken.peek().filter(|other| other.first() <= last) {
            // Go on after it, at the next multiple of the length.
            Some(other) => other.last() | last_of_block,
            None => {
                free.push(cidr.part(first, len));
                last
            }
        };
        candidate = end.checked_add(1);
    }
    free
}

/// The length of new blocks, which is checked when it is wanted and chosen when it is not.
fn length(cidr: Prefix, wanted: Option<u8>, count: usize) -> Result<u8, AddressError> {
    let Some(len) = wanted else {
        return default_length(cidr, count);
    };
    // Room for the network, the router and an instance.
    let max = cidr.width() - 2;
    if len < cidr.len || len > max {
        return Err(AddressError::BlockLength { cidr, len, max });
    }
    check_room(cidr, len, count)
}

/// The length of blocks when none is asked for: /24 (IPv6: /64), or as much longer, up to /30
/// (/124), as it takes to have twice as many blocks as Forwarders, so that the topology can grow.
///
/// # Errors
/// [`AddressError::TooFewBlocks`] when even the longest are fewer than `count`.
pub fn default_length(cidr: Prefix, count: usize) -> Result<u8, AddressError> {
    let (from, to) = if cidr.addr.is_ipv4() {
        (24, 30)
    } else {
        (64, 124)
    };
    let is_roomy = |len: &u8| block_count(cidr, *len) >= 2 * count as u64;
    match (from.max(cidr.len.saturating_add(1))..=to).find(is_roomy) {
        Some(len) => Ok(len),
        None => check_room(cidr, to, count),
    }
}

fn check_room(cidr: Prefix, len: u8, count: usize) -> Result<u8, AddressError> {
    let blocks = block_count(cidr, len);
    if blocks < count as u64 {
        return Err(AddressError::TooFewBlocks {
            cidr,
            blocks,
            wanted: count,
        });
    }
    Ok(len)
}

/// Number of blocks of this length in the network (saturating).
fn block_count(cidr: Prefix, len: u8) -> u64 {
    let bits = len.checked_sub(cidr.len);
    bits.map_or(0, |bits| {
        1_u64.checked_shl(u32::from(bits)).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests;
