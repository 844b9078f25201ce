//! Desired and observed content of a Forwarder's namespace, as values.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
    time::Duration,
};

use ipnetwork::IpNetwork;

use crate::mac::{IPV4_GATEWAY, Mac, gateway};

/// The protocol number of our routes, nexthops and neighbours: our mark. Not in `/etc/iproute2/rt_protos`.
pub const PROTOCOL: u8 = 0xbe;
/// The protocol number of what an attachment (the CNI plugin) programs: ours, but never deleted by a convergence.
pub const ATTACHMENT_PROTOCOL: u8 = 0xbf;
/// Links that we made carry this prefix in their alias ...
pub const ALIAS_PREFIX: &str = "beemesh:";
/// ... and from their first moment, before there is an alias, this interface group.
pub const LINK_GROUP: u32 = 0xbee;
/// The names of all pod-facing interfaces begin so.
pub const ATTACHMENT_PREFIX: &str = "app";

/// Desired content of a namespace, without routes. Small: nothing here grows with the topology
/// beyond the Forwarder's own links.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Namespace {
    /// Links by interface name.
    pub links: BTreeMap<String, Link>,
    /// Addresses on `lo`. An IPv4 link-local one is a gateway of pods: it is answered for and never a source address.
    pub addresses: BTreeSet<IpNetwork>,
    /// The Forwarder's ends of confirmed attachments by interface name: kept whole, never made or deleted by a convergence.
    pub pods: BTreeMap<String, PodEnd>,
    /// Balance of flows over next hops.
    pub balance: Balance,
}

/// The Forwarder's end of an attachment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodEnd {
    /// The pod's addresses: each has a route to this interface.
    pub addresses: BTreeSet<IpAddr>,
    /// The pod's gateways: the IPv6 one is an address of this interface.
    pub gateways: BTreeSet<IpAddr>,
}

/// One end of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Kind of the link.
    pub kind: LinkKind,
    /// This end's address.
    pub mac: Mac,
    /// The other end's address.
    pub peer_mac: Mac,
    /// Largest packet in bytes, from [`crate::mtu::link_mtu`].
    pub mtu: u32,
    /// Human-readable mark; must begin with [`ALIAS_PREFIX`].
    pub alias: String,
}

impl Link {
    /// Next hop for the peer.
    pub fn gateway(&self) -> IpAddr {
        gateway(self.peer_mac, self.mtu)
    }

    /// The next hop on a kernel that has IPv6 or not.
    pub(crate) fn gateway_on(&self, lacks_ipv6: bool) -> IpAddr {
        match lacks_ipv6 {
            true => IPV4_GATEWAY.into(),
            false => self.gateway(),
        }
    }

    /// True for links to other Forwarders, which have a next hop.
    pub fn is_adjacency(&self) -> bool {
        !matches!(self.kind, LinkKind::Attachment)
    }
}

/// Kind of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkKind {
    /// Both ends are on this machine.
    Veth {
        /// The namespace of the other end.
        peer_netns: String,
        /// The name of the other end.
        peer_name: String,
    },
    /// The peer is on another node.
    Vxlan {
        /// Network identifier, 24 bits.
        vni: u32,
        /// UDP port.
        port: u16,
        /// This node's underlay address.
        local: IpAddr,
        /// The peer node's underlay address.
        remote: IpAddr,
    },
    /// A pod's link, made by the CNI plugin: adopted, never made or deleted by a convergence.
    Attachment,
}

/// Balance of the flows over the next hops of one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Balance {
    /// Hash threshold: each next hop has a part of the hash space; a change moves flows of all of
    /// them.
    #[default]
    HashThreshold,
    /// Resilient: buckets, so that only flows of a lost next hop move, and a new one gets idle
    /// buckets only.
    Resilient {
        /// Number of buckets: fixed for the life of a group.
        buckets: u16,
        /// A bucket without packets for so long may move. Longer than the paths' difference in delay means no reordering.
        idle: Duration,
    },
}

impl Balance {
    /// Resilient with 128 buckets, which move after two seconds without a packet.
    pub const RESILIENT: Self = Self::Resilient {
        buckets: 128,
        idle: Duration::from_secs(2),
    };
}

/// Next hop of a route.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// Over any of these links (interface names), equally. Links that are down are left out.
    Links(BTreeSet<String>),
    /// Straight out of one interface: an attachment.
    Device(String),
    /// Unreachable: the sender gets an ICMP error, and no wider route is used.
    Unreachable,
}

/// Routes by prefix, with each distinct target kept once: 24 bytes a route.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    targets: Vec<Target>,
    index_by_target: HashMap<Target, TargetIndex>,
    by_prefix: BTreeMap<IpNetwork, TargetIndex>,
}

/// A target of one [`Routes`] value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetIndex(u32);

impl Routes {
    /// No routes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Hash of all of it: tells routes from other routes, in eight bytes.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.targets().hash(&mut hasher);
        for entry in self.iter() {
            entry.hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Keeps `target` and says how to name it in [`Routes::insert_shared`].
    pub fn intern(&mut self, target: Target) -> TargetIndex {
        if let Some(&index) = self.index_by_target.get(&target) {
            return index;
        }
        let index =
            TargetIndex(u32::try_from(self.targets.len()).expect("fewer than 2^32 targets"));
        self.targets.push(target.clone());
        self.index_by_target.insert(target, index);
        index
    }

    /// Adds or replaces a route. Host bits of the prefix are cut off.
    pub fn insert(&mut self, prefix: IpNetwork, target: Target) {
        let target = self.intern(target);
        self.insert_shared(prefix, target);
    }

    /// Adds or replaces a route to a target of this value: no allocation for the target.
    pub fn insert_shared(&mut self, prefix: IpNetwork, target: TargetIndex) {
        self.by_prefix.insert(network(prefix), target);
    }

    /// The target of a prefix.
    pub fn get(&self, prefix: &IpNetwork) -> Option<&Target> {
        self.by_prefix.get(prefix).map(|&index| self.target(index))
    }

    /// A target by its index.
    pub fn target(&self, index: TargetIndex) -> &Target {
        &self.targets[index.0 as usize]
    }

    /// All targets that were ever kept, by index.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// All routes by prefix.
    pub fn iter(&self) -> impl Iterator<Item = (IpNetwork, TargetIndex)> + '_ {
        self.by_prefix
            .iter()
            .map(|(&prefix, &index)| (prefix, index))
    }

    /// Number of routes.
    pub fn len(&self) -> usize {
        self.by_prefix.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.by_prefix.is_empty()
    }
}

impl TargetIndex {
    /// The position in [`Routes::targets`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl FromIterator<(IpNetwork, Target)> for Routes {
    fn from_iter<I: IntoIterator<Item = (IpNetwork, Target)>>(routes: I) -> Self {
        let mut result = Self::new();
        for (prefix, target) in routes {
            result.insert(prefix, target);
        }
        result
    }
}

impl PartialEq for Routes {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self.iter().zip(other.iter()).all(
                |((prefix, target), (other_prefix, other_target))| {
                    prefix == other_prefix && self.target(target) == other.target(other_target)
                },
            )
    }
}

impl Eq for Routes {}

/// `prefix` without host bits.
pub(crate) fn network(prefix: IpNetwork) -> IpNetwork {
    IpNetwork::new(prefix.network(), prefix.prefix()).expect("the length was valid before")
}
