//! Leases of addresses. Pure: state is a fold of records, and a record is written before it is
//! applied.
//!
//! ```text
//!          Claimed              Confirmed             Releasing            Freed
//! nothing --------> pending ----------> confirmed ------------> releasing ------> nothing
//!                      '------------------------------------------^
//! ```
//! An address is free again only after two proofs. `Releasing` is the runtime's: a DEL, a GC, an
//! aborted ADD, a deleted namespace. `Freed` is the kernel's: the Forwarder's end of the link is
//! gone. No state in between makes an address available.

use std::collections::{BTreeMap, BTreeSet};

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cni::node_protocol::{Attachment, Key, NetnsId};
use crds::TopologyKey;
use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

#[cfg(test)]
pub(crate) mod tests;

/// Phase of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Claimed by the plugin; the pod may be partly wired.
    Pending,
    /// Wired by the plugin.
    Confirmed,
    /// Released by the runtime; the kernel may still hold its links.
    Releasing,
}

/// Share of a pod in one topology: addresses and link parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// Kubernetes namespace of the topology.
    pub namespace: String,
    /// Link parameters of the pod, addresses included.
    pub attachment: Attachment,
}

impl Share {
    /// Topology whose address space the share belongs to.
    pub fn network(&self) -> TopologyKey {
        let topology = self.attachment.topology.clone();
        TopologyKey {
            namespace: self.namespace.clone(),
            topology,
        }
    }
}

/// Lease of one CNI attachment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// CNI container id, interface and network name.
    pub key: Key,
    /// Phase.
    pub phase: Phase,
    /// Path of the pod's network namespace at the claim.
    pub netns: String,
    /// Identity of that namespace.
    pub netns_id: NetnsId,
    /// Process id of the plugin that made the claim.
    #[serde(default)]
    pub plugin: Option<i32>,
    /// Time of the claim, in seconds since the boot; 0 where a version that counted otherwise wrote it, which makes it an old one.
    #[serde(rename = "claimedAtUptime", default)]
    pub since: u64,
    /// `namespace/name` of the pod, where the runtime passed it.
    #[serde(default)]
    pub pod: String,
    /// Uid of the pod, where it is known.
    #[serde(default)]
    pub uid: String,
    /// True when a network configuration names the topology, as with Multus.
    #[serde(default)]
    pub is_asked_for: bool,
    /// Shares, one for each topology of the pod.
    pub shares: Vec<Share>,
    /// True when it was made before the last boot: none of its interfaces is left.
    #[serde(default)]
    pub is_past_boot: bool,
}

impl Lease {
    /// Attachments of all shares.
    pub fn attachments(&self) -> Vec<Attachment> {
        self.shares
            .iter()
            .map(|share| share.attachment.clone())
            .collect()
    }
}

/// Journal record: one transition of a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Record {
    /// A boot began; the records after it belong to it.
    Boot {
        /// Boot id of the kernel.
        id: String,
    },
    /// Addresses were taken.
    Claimed(Lease),
    /// The pod was wired.
    Confirmed {
        /// Key of the lease.
        key: Key,
    },
    /// The runtime released it: the first proof.
    Releasing {
        /// Key of the lease.
        key: Key,
    },
    /// The kernel holds none of its links: the second proof.
    Freed {
        /// Key of the lease.
        key: Key,
    },
}

/// All leases of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leases {
    boot: Option<String>,
    by_key: BTreeMap<Key, Lease>,
    used: BTreeMap<(TopologyKey, IpAddr), Key>,
    /// Addresses observed in the kernel without a lease (after journal damage): not leased while
    /// they are there.
    held: BTreeSet<(TopologyKey, IpAddr)>,
    /// Address leased last, by block: a freed address rests while others are free.
    last: BTreeMap<(TopologyKey, IpNetwork), IpAddr>,
}

impl Leases {
    /// State after `records`.
    pub fn replay(records: &[Record]) -> Leases {
        let mut leases = Leases::default();
        records.iter().for_each(|record| leases.apply(record));
        leases
    }

    /// Applies one record. A record that does not fit (its lease was lost with a damaged record) is
    /// ignored.
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
            // A released lease cannot be confirmed again.
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

    /// Shortest list of records that gives this state.
    pub fn to_records(&self) -> Vec<Record> {
        let boot = self.boot.iter().map(|id| Record::Boot { id: id.clone() });
        boot.chain(self.by_key.values().cloned().map(Record::Claimed))
            .collect()
    }

    /// Boot id of the last records.
    pub fn boot(&self) -> Option<&str> {
        self.boot.as_deref()
    }

    /// Lease of a key.
    pub fn get(&self, key: &Key) -> Option<&Lease> {
        self.by_key.get(key)
    }

    /// All leases, by key.
    pub fn iter(&self) -> impl Iterator<Item = &Lease> {
        self.by_key.values()
    }

    /// Number of attachments in a Forwarder's namespace.
    pub fn load(&self, forwarder_netns: &str) -> usize {
        let shares = self.by_key.values().flat_map(|lease| &lease.shares);
        shares
            .filter(|share| share.attachment.forwarder_netns == forwarder_netns)
            .count()
    }

    /// Replaces the addresses observed in the kernel; leased ones are left out.
    pub fn hold(&mut self, mut held: BTreeSet<(TopologyKey, IpAddr)>) {
        held.retain(|place| !self.used.contains_key(place));
        self.held = held;
    }

    /// Observed addresses without a lease.
    pub fn strays(&self) -> impl Iterator<Item = &(TopologyKey, IpAddr)> {
        let held = self.held.iter();
        held.filter(|place| !self.used.contains_key(*place))
    }

    /// True when an address is leased.
    pub fn is_used(&self, network: &TopologyKey, address: IpAddr) -> bool {
        self.used.contains_key(&(network.clone(), address))
    }

    /// Next free address of `block`; `None` when it is exhausted. The block's first host address is
    /// the Forwarder's own.
    ///
    /// The search goes round-robin from the last leased address, so that a freed address rests as
    /// long as possible.
    pub fn next_free(&mut self, network: &TopologyKey, block: IpNetwork) -> Option<IpAddr> {
        let (first, last) = hosts(block)?;
        let place = (network.clone(), block);
        let start = match self.last.get(&place) {
            Some(address) if to_bits(*address) < last => to_bits(*address) + 1,
            _ => first,
        };
        // One more candidate than there are taken addresses is enough: one of them is free.
        let bound = (self.used.len() + self.held.len() + 1) as u128;
        let count = (last - first + 1).min(bound);
        let address = (0..count)
            .map(|step| from_bits(block, first + (start - first + step) % (last - first + 1)))
            .find(|address| self.is_free(network, *address))?;
        self.last.insert(place, address);
        Some(address)
    }

    /// True when `block` has a free address.
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

/// First and last host address of a block, as numbers: without the network's address, the
/// Forwarder's, and in IPv4 the broadcast address (RFC 1122, 3.2.1.3).
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

/// Address with these bits, of the block's family.
fn from_bits(block: IpNetwork, bits: u128) -> IpAddr {
    match block {
        IpNetwork::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(bits as u32)),
        IpNetwork::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(bits)),
    }
}
