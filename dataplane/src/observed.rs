//! The observed content of one namespace.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnetwork::IpNetwork;

use crate::{
    mac::Mac,
    netlink::{RT_TABLE_LOCAL, RT_TABLE_MAIN},
    settings::InterfaceSetting,
    state::{ATTACHMENT_PREFIX, ATTACHMENT_PROTOCOL, Balance, PROTOCOL},
};

/// Observed content of one namespace, including foreign objects that may conflict.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// All interfaces by name, `lo` too.
    pub links: BTreeMap<String, SeenLink>,
    /// Addresses on `lo`, and whether they carry our mark. The kernel's own (`127.0.0.1`, `::1`) are left out.
    pub addresses: BTreeMap<IpNetwork, bool>,
    /// Addresses of all other interfaces.
    pub link_addresses: BTreeSet<(String, IpAddr)>,
    /// Permanent neighbours by interface and address.
    pub neighbours: BTreeMap<(String, IpAddr), SeenNeighbour>,
    /// Static forwarding entries of VXLAN devices: interface and MAC to underlay addresses.
    pub fdb: BTreeMap<(String, Mac), BTreeSet<IpAddr>>,
    /// All nexthop objects by id.
    pub nexthops: BTreeMap<u32, SeenNexthop>,
    /// Routes of the main table, apart from the kernel's own.
    pub routes: Vec<SeenRoute>,
    /// Sysctls with a wrong value: path below `/proc/sys/net` and the desired value.
    pub wrong_settings: BTreeSet<(&'static str, &'static str)>,
    /// Missing routing rules.
    pub missing_rules: BTreeSet<Rule>,
    /// This kernel has no resilient groups: hash-threshold ones take their place.
    pub lacks_resilient: bool,
    /// This kernel has no IPv6: next hops are IPv4 addresses.
    pub lacks_ipv6: bool,
}

/// A routing rule that every namespace begins with: all packets of a family look into one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// The family.
    pub is_ipv4: bool,
    /// Number of the table: `local` or `main`.
    pub table: u8,
}

impl Rule {
    /// Rules that every namespace needs for its routes to apply.
    pub const ALL: [Self; 4] = [
        Self {
            is_ipv4: true,
            table: RT_TABLE_LOCAL,
        },
        Self {
            is_ipv4: true,
            table: RT_TABLE_MAIN,
        },
        Self {
            is_ipv4: false,
            table: RT_TABLE_LOCAL,
        },
        Self {
            is_ipv4: false,
            table: RT_TABLE_MAIN,
        },
    ];

    /// Priority of the rule, as in a new namespace.
    pub(crate) fn priority(self) -> u32 {
        if self.table == RT_TABLE_LOCAL {
            0
        } else {
            0x7ffe
        }
    }
}

/// One interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeenLink {
    /// Number in its namespace.
    pub index: u32,
    /// `veth`, `vxlan`, ... ; empty for hardware and `lo`.
    pub kind: String,
    /// Link-layer address.
    pub mac: Mac,
    /// Bytes.
    pub mtu: u32,
    /// Alias, empty when there is none.
    pub alias: String,
    /// True when it carries our mark: alias or group.
    pub is_ours: bool,
    /// Administratively up.
    pub is_enabled: bool,
    /// Up and with carrier: packets can pass.
    pub is_up: bool,
    /// Of a VXLAN: identifier, port, local address.
    pub vxlan: Option<(u32, u16, Option<IpAddr>)>,
    /// Sysctls of the interface with a wrong value.
    pub wrong_settings: BTreeSet<InterfaceSetting>,
}

impl SeenLink {
    /// True for an interface that the CNI plugin made.
    pub fn is_attachment(&self, name: &str) -> bool {
        self.is_ours && name.starts_with(ATTACHMENT_PREFIX)
    }
}

/// A permanent neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenNeighbour {
    /// Its link-layer address.
    pub mac: Mac,
    /// True when it carries our mark.
    pub is_ours: bool,
}

/// A nexthop object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeenNexthop {
    /// One way out.
    Single {
        /// The interface.
        link: String,
        /// The gateway.
        gateway: Option<IpAddr>,
        /// True when it carries our mark.
        is_ours: bool,
    },
    /// Several ways out.
    Group {
        /// Ids of its members.
        members: BTreeSet<u32>,
        /// Balance of flows over the members. The timer is not compared.
        balance: Balance,
        /// True when it carries our mark.
        is_ours: bool,
    },
    /// A kind that beemesh never creates.
    Other,
}

impl SeenNexthop {
    /// True when it carries our mark.
    pub fn is_ours(&self) -> bool {
        match self {
            Self::Single { is_ours, .. } | Self::Group { is_ours, .. } => *is_ours,
            Self::Other => false,
        }
    }
}

/// A route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeenRoute {
    /// Destination.
    pub prefix: IpNetwork,
    /// Protocol number of its creator.
    pub protocol: u8,
    /// Next hop.
    pub via: Via,
}

impl SeenRoute {
    /// Made by a convergence.
    pub fn is_ours(&self) -> bool {
        self.protocol == PROTOCOL
    }

    /// Made by the CNI plugin.
    pub fn is_attachment(&self) -> bool {
        self.protocol == ATTACHMENT_PROTOCOL
    }
}

/// Next hop of an observed route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Via {
    /// A nexthop object or group.
    Nexthop(u32),
    /// Straight out of an interface (by number).
    Device(u32),
    /// Unreachable: the sender gets an ICMP error.
    Unreachable,
    /// A kind that beemesh never creates.
    Other,
}
