//! Which addresses are whose. Pure: state is a fold of records, and a record is written before it counts.
//!
//! ```text
//!          Claimed              Confirmed             Releasing            Freed
//! nothing --------> pending ----------> confirmed ------------> releasing ------> nothing
//!                      '------------------------------------------^
//! ```
//! An address is free again only after two proofs. `Releasing` is the runtime's: a DEL, a GC, an
//! aborted ADD, a namespace that is no more. `Freed` is the kernel's: the Forwarder's end of the
//! link is gone. Nothing in between makes an address available.

use std::collections::{BTreeMap, BTreeSet};

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cni::agent::{Attachment, Key, NetnsId};
use crds::TopologyKey;
use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

#[cfg(test)]
pub(crate) mod tests;

/// How far a lease has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// The plugin was told; the pod may be half wired.
    Pending,
    /// The plugin has wired the pod.
    Confirmed,
    /// The runtime is done with it; the kernel may not be.
    Releasing,
}

/// What one pod holds in one topology.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// Kubernetes namespace of the topology.
    pub namespace: String,
    /// How the pod is wired, addresses included.
    pub attachment: Attachment,
}

impl Share {
    /// The address space that the share's addresses are of.
    pub fn network(&self) -> TopologyKey {
        let topology = self.attachment.topology.clone();
        TopologyKey {
            namespace: self.namespace.clone(),
            topology,
        }
    }
}

/// All that one CNI attachment holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// What the runtime calls it.
    pub key: Key,
    /// How far it has come.
    pub phase: Phase,
    /// Path of the pod's namespace when it was claimed.
    pub netns: String,
    /// Identity of that namespace.
    pub netns_id: NetnsId,
    /// Process id of the plugin that claimed it.
    #[serde(default)]
    pub plugin: Option<i32>,
    /// When it was claimed, in seconds since 1970.
    pub since: u64,
    /// `namespace/name` of the pod, where the runtime told it.
    #[serde(default)]
    pub pod: String,
    /// The pod's uid, where it is known.
    #[serde(default)]
    pub uid: String,
    /// Asked for by a network configuration of its own, as Multus has them.
    #[serde(default)]
    pub is_asked_for: bool,
    /// One for each topology that the pod is in.
    pub shares: Vec<Share>,
    /// Made before the last boot: no interface of that time is left.
    #[serde(default)]
    pub is_past_boot: bool,
}

impl Lease {
    /// The attachments of all shares.
    pub fn attachments(&self) -> Vec<Attachment> {
        self.shares
            .iter()
            .map(|share| share.attachment.clone())
            .collect()
    }
}

/// One step in the life of a lease, as the journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Record {
    /// What follows happened in this boot.
    Boot {
        /// The kernel's boot id.
        id: String,
    },
    /// The addresses are taken, from now on.
    Claimed(Lease),
    /// The pod is wired.
    Confirmed {
        /// Which lease.
        key: Key,
    },
    /// The runtime is done with it: the first proof.
    Releasing {
        /// Which lease.
        key: Key,
    },
    /// Nothing of it is left in the kernel: the second proof.
    Freed {
        /// Which lease.
        key: Key,
    },
}

/// Every lease of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leases {
    boot: Option<String>,
    by_key: BTreeMap<Key, Lease>,
    used: BTreeMap<(TopologyKey, IpAddr), Key>,
    /// Seen in the kernel without a lease (a journal was damaged): not given until they are gone.
    held: BTreeSet<(TopologyKey, IpAddr)>,
    /// The address given last, by block: a freed address rests while others are free.
    last: BTreeMap<(TopologyKey, IpNetwork), IpAddr>,
}

impl Leases {
    /// The state after `records`, in the boot `boot`.
    pub fn replay(records: &[Record]) -> Leases {
        let mut leases = Leases::default();
        records.iter().for_each(|record| leases.apply(record));
        leases
    }

    /// Takes one step. A step that does not fit (of a lease that was lost with a damaged record)
    /// changes nothing.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Boot { id } => self.begin_boot(id),
            Record::Claimed(lease) => self.insert(lease),
            Record::Confirmed { key } => self.advance(key, Phase::Confirmed),
            Record::Releasing { key } => self.advance(key, Phase::Releasing),
            Record::Freed { key } => self.remove(key),
        }
    }

    fn begin_boot(&mut self, id: &str) {
        let is_new = self.boot.as_deref() != Some(id);
        self.boot = Some(id.to_owned());
        for lease in self.by_key.values_mut() {
            lease.is_past_boot |= is_new;
        }
    }

    fn insert(&mut self, lease: &Lease) {
        self.remove(&lease.key);
        for share in &lease.shares {
            for address in &share.attachment.addresses {
                self.used
                    .insert((share.network(), address.ip()), lease.key.clone());
            }
        }
        self.by_key.insert(lease.key.clone(), lease.clone());
    }

    fn advance(&mut self, key: &Key, phase: Phase) {
        if let Some(lease) = self.by_key.get_mut(key) {
            // What the runtime has given up it cannot have back.
            if lease.phase != Phase::Releasing {
                lease.phase = phase;
            }
        }
    }

    fn remove(&mut self, key: &Key) {
        let Some(lease) = self.by_key.remove(key) else {
            return;
        };
        for share in &lease.shares {
            for address in &share.attachment.addresses {
                let place = (share.network(), address.ip());
                if self.used.get(&place) == Some(key) {
                    self.used.remove(&place);
                }
            }
        }
    }

    /// The shortest list of records that gives this state.
    pub fn to_records(&self) -> Vec<Record> {
        let boot = self.boot.iter().map(|id| Record::Boot { id: id.clone() });
        boot.chain(self.by_key.values().cloned().map(Record::Claimed))
            .collect()
    }

    /// The boot that the last records are of.
    pub fn boot(&self) -> Option<&str> {
        self.boot.as_deref()
    }

    /// The lease of a key.
    pub fn get(&self, key: &Key) -> Option<&Lease> {
        self.by_key.get(key)
    }

    /// Every lease, by key.
    pub fn iter(&self) -> impl Iterator<Item = &Lease> {
        self.by_key.values()
    }

    /// How many attachments each Forwarder's namespace has.
    pub fn load(&self, forwarder_netns: &str) -> usize {
        let shares = self.by_key.values().flat_map(|lease| &lease.shares);
        shares
            .filter(|share| share.attachment.forwarder_netns == forwarder_netns)
            .count()
    }

    /// Replaces what is known to be in the kernel; what is leased is left out.
    pub fn hold(&mut self, mut held: BTreeSet<(TopologyKey, IpAddr)>) {
        held.retain(|place| !self.used.contains_key(place));
        self.held = held;
    }

    /// What is in the kernel and not leased, as far as it is known.
    pub fn strays(&self) -> impl Iterator<Item = &(TopologyKey, IpAddr)> {
        let held = self.held.iter();
        held.filter(|place| !self.used.contains_key(*place))
    }

    /// Whether an address is leased.
    pub fn is_used(&self, network: &TopologyKey, address: IpAddr) -> bool {
        self.used.contains_key(&(network.clone(), address))
    }

    /// An address of `block` that nobody has; `None` when there is none. The block's first host
    /// address is the Forwarder's own.
    ///
    /// Going round from the last one given, so that a freed address rests as long as it can.
    pub fn next_free(&mut self, network: &TopologyKey, block: IpNetwork) -> Option<IpAddr> {
        let (first, last) = hosts(block)?;
        let place = (network.clone(), block);
        let start = match self.last.get(&place) {
            Some(address) if to_bits(*address) < last => to_bits(*address) + 1,
            _ => first,
        };
        // One more candidate than there are takers is enough: one of them must be free.
        let bound = (self.used.len() + self.held.len() + 1) as u128;
        let count = (last - first + 1).min(bound);
        let address = (0..count)
            .map(|step| from_bits(block, first + (start - first + step) % (last - first + 1)))
            .find(|address| self.is_free(network, *address))?;
        self.last.insert(place, address);
        Some(address)
    }

    /// True when some address of `block` could be given.
    pub fn has_free(&self, network: &TopologyKey, block: IpNetwork) -> bool {
        let Some((first, last)) = hosts(block) else {
            return false;
        };
        let inside =
            |(of, address): &&(TopologyKey, IpAddr)| of == network && block.contains(*address);
        let taken = self.used.keys().filter(inside).count() + self.strays().filter(inside).count();
        (taken as u128) < last - first + 1
    }

    fn is_free(&self, network: &TopologyKey, address: IpAddr) -> bool {
        let place = (network.clone(), address);
        !self.used.contains_key(&place) && !self.held.contains(&place)
    }
}

pub use crds::cidr::router_address;

/// The first and last address of a block that a pod may have, as numbers: not the network's own,
/// not the Forwarder's, and in IPv4 not the broadcast address (RFC 1122, 3.2.1.3).
fn hosts(block: IpNetwork) -> Option<(u128, u128)> {
    let (bits, keep) = match block {
        IpNetwork::V4(_) => (32, 1),
        IpNetwork::V6(_) => (128, 0),
    };
    let network = to_bits(block.network());
    let size = 1_u128.checked_shl(bits - u32::from(block.prefix()))?;
    let (first, last) = (network + 2, network + (size - 1).checked_sub(keep)?);
    (first <= last).then_some((first, last))
}

fn to_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The address with these bits, of the block's family.
fn from_bits(block: IpNetwork, bits: u128) -> IpAddr {
    match block {
        IpNetwork::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(bits as u32)),
        IpNetwork::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(bits)),
    }
}
