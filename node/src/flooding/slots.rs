//! Slots of connections before the handshake has proved the key. Pure.
//!
//! Peers have slots of their own: connections from other addresses take none of them. An address
//! has few slots, so that one stranger does not exclude others.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Largest number of slots of addresses that are no peer's.
const STRANGERS: usize = 64;
/// Largest number of slots of one address that is no peer's.
const OF_ONE_STRANGER: usize = 4;
/// Largest number of slots of one peer's address.
const OF_ONE_PEER: usize = 8;

/// Slots in use.
#[derive(Debug, Default)]
pub(super) struct Slots {
    strangers: BTreeMap<IpAddr, usize>,
    peers: BTreeMap<IpAddr, usize>,
}

impl Slots {
    /// Takes a slot for a connection from `address`; false when none is free.
    pub(super) fn take(&mut self, address: IpAddr, is_peer: bool) -> bool {
        let total: usize = self.strangers.values().sum();
        if !is_peer && total >= STRANGERS {
            return false;
        }
        let (slots, limit) = match is_peer {
            true => (&mut self.peers, OF_ONE_PEER),
            false => (&mut self.strangers, OF_ONE_STRANGER),
        };
        let used = slots.entry(address).or_default();
        let is_free = *used < limit;
        *used += usize::from(is_free);
        is_free
    }

    /// Frees a slot.
    pub(super) fn free(&mut self, address: IpAddr, is_peer: bool) {
        let slots = match is_peer {
            true => &mut self.peers,
            false => &mut self.strangers,
        };
        if let Some(used) = slots.get_mut(&address) {
            *used = used.saturating_sub(1);
            if *used == 0 {
                slots.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(number: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, number).into()
    }

    #[test]
    fn strangers_take_no_slot_of_peers_nor_all_of_one_another() {
        let mut slots = Slots::default();
        let taken = (0..100).filter(|_| slots.take(address(1), false)).count();
        assert_eq!(taken, OF_ONE_STRANGER);
        assert!(slots.take(address(2), false), "another stranger");
        let all = (3..=255).flat_map(|number| [number; 9]);
        let taken = all
            .filter(|number| slots.take(address(*number), false))
            .count();
        assert_eq!(taken, STRANGERS - OF_ONE_STRANGER - 1);
        assert!(
            slots.take(address(200), true),
            "a peer, also of a stranger's address"
        );
        for _ in 0..OF_ONE_STRANGER {
            slots.free(address(1), false);
        }
        assert!(slots.take(address(250), false));
        assert!(
            !slots.strangers.contains_key(&address(1)),
            "nothing is kept of who went"
        );
    }
}
