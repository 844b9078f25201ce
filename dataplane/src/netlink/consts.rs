//! Numbers of the kernel's netlink interface (`include/uapi/linux`): what `libc` lacks is written here, the rest comes from it.
#![expect(
    missing_docs,
    reason = "the names are the kernel's own and are documented there"
)]

pub const NLM_F_REQUEST: u16 = libc::NLM_F_REQUEST as u16;
pub const NLM_F_MULTI: u16 = libc::NLM_F_MULTI as u16;
pub const NLM_F_ACK: u16 = libc::NLM_F_ACK as u16;
pub const NLM_F_DUMP: u16 = libc::NLM_F_DUMP as u16;
pub const NLM_F_DUMP_INTR: u16 = 16;
pub const NLM_F_REPLACE: u16 = libc::NLM_F_REPLACE as u16;
pub const NLM_F_EXCL: u16 = libc::NLM_F_EXCL as u16;
pub const NLM_F_CREATE: u16 = libc::NLM_F_CREATE as u16;
pub const NLM_F_APPEND: u16 = libc::NLM_F_APPEND as u16;
pub const NLMSG_ERROR: u16 = libc::NLMSG_ERROR as u16;
pub const NLMSG_DONE: u16 = libc::NLMSG_DONE as u16;
pub const NLMSGERR_ATTR_MSG: u16 = 1;

pub const AF_UNSPEC: u8 = libc::AF_UNSPEC as u8;
pub const AF_INET: u8 = libc::AF_INET as u8;
pub const AF_INET6: u8 = libc::AF_INET6 as u8;
pub const AF_BRIDGE: u8 = libc::AF_BRIDGE as u8;

pub const RTM_NEWLINK: u16 = libc::RTM_NEWLINK;
pub const RTM_DELLINK: u16 = libc::RTM_DELLINK;
pub const RTM_GETLINK: u16 = libc::RTM_GETLINK;
pub const RTM_SETLINK: u16 = libc::RTM_SETLINK;
pub const RTM_NEWADDR: u16 = libc::RTM_NEWADDR;
pub const RTM_DELADDR: u16 = libc::RTM_DELADDR;
pub const RTM_GETADDR: u16 = libc::RTM_GETADDR;
pub const RTM_NEWROUTE: u16 = libc::RTM_NEWROUTE;
pub const RTM_DELROUTE: u16 = libc::RTM_DELROUTE;
pub const RTM_GETROUTE: u16 = libc::RTM_GETROUTE;
pub const RTM_NEWNEIGH: u16 = libc::RTM_NEWNEIGH;
pub const RTM_DELNEIGH: u16 = libc::RTM_DELNEIGH;
pub const RTM_GETNEIGH: u16 = libc::RTM_GETNEIGH;
pub const RTM_NEWRULE: u16 = libc::RTM_NEWRULE;
pub const RTM_GETRULE: u16 = libc::RTM_GETRULE;
pub const RTM_NEWNSID: u16 = 88;
pub const RTM_GETNSID: u16 = 90;
pub const RTM_NEWNEXTHOP: u16 = 104;
pub const RTM_DELNEXTHOP: u16 = 105;
pub const RTM_GETNEXTHOP: u16 = 106;

pub const IFLA_ADDRESS: u16 = libc::IFLA_ADDRESS;
pub const IFLA_IFNAME: u16 = libc::IFLA_IFNAME;
pub const IFLA_MTU: u16 = libc::IFLA_MTU;
pub const IFLA_LINK: u16 = libc::IFLA_LINK;
pub const IFLA_LINKINFO: u16 = libc::IFLA_LINKINFO;
pub const IFLA_IFALIAS: u16 = libc::IFLA_IFALIAS;
pub const IFLA_GROUP: u16 = libc::IFLA_GROUP;
pub const IFLA_NET_NS_FD: u16 = libc::IFLA_NET_NS_FD;
pub const IFLA_EXT_MASK: u16 = libc::IFLA_EXT_MASK;
pub const IFLA_NUM_TX_QUEUES: u16 = libc::IFLA_NUM_TX_QUEUES;
pub const IFLA_NUM_RX_QUEUES: u16 = libc::IFLA_NUM_RX_QUEUES;
pub const IFLA_LINK_NETNSID: u16 = libc::IFLA_LINK_NETNSID;
pub const IFLA_AF_SPEC: u16 = 26;
pub const IFLA_INET_CONF: u16 = 1;
pub const IFLA_INET6_CONF: u16 = 2;
/// Settings of an interface, `include/uapi/linux/ip.h`: numbered from 1 in requests, from 0 in the array of a dump.
pub const IPV4_DEVCONF_FORWARDING: u16 = 1;
pub const IPV4_DEVCONF_SEND_REDIRECTS: u16 = 6;
pub const IPV4_DEVCONF_RP_FILTER: u16 = 8;
pub const IPV4_DEVCONF_ARP_NOTIFY: u16 = 22;
/// Settings of an interface, `include/uapi/linux/ipv6.h`: numbered from 0.
pub const DEVCONF_FORWARDING: u16 = 0;
pub const DEVCONF_DISABLE_IPV6: u16 = 26;
pub const IFLA_CARRIER: u16 = libc::IFLA_CARRIER;
pub const IFLA_INFO_KIND: u16 = libc::IFLA_INFO_KIND;
pub const IFLA_INFO_DATA: u16 = libc::IFLA_INFO_DATA;
/// `RTEXT_FILTER_SKIP_STATS`: link dumps without counters.
pub const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;
pub const VETH_INFO_PEER: u16 = 1;
pub const IFLA_VXLAN_ID: u16 = 1;
pub const IFLA_VXLAN_LOCAL: u16 = 4;
pub const IFLA_VXLAN_LEARNING: u16 = 7;
pub const IFLA_VXLAN_PORT: u16 = 15;
pub const IFLA_VXLAN_LOCAL6: u16 = 17;

pub const IFA_ADDRESS: u16 = libc::IFA_ADDRESS;
pub const IFA_LOCAL: u16 = libc::IFA_LOCAL;
pub const IFA_FLAGS: u16 = libc::IFA_FLAGS;
pub const IFA_PROTO: u16 = 11;

pub const NDA_DST: u16 = libc::NDA_DST;
pub const NDA_LLADDR: u16 = libc::NDA_LLADDR;
pub const NDA_PROTOCOL: u16 = 12;
pub const NUD_PERMANENT: u16 = libc::NUD_PERMANENT;
pub const NUD_NOARP: u16 = libc::NUD_NOARP;
pub const NUD_STALE: u16 = libc::NUD_STALE;
pub const NTF_SELF: u8 = libc::NTF_SELF;
pub const NTF_EXT_LEARNED: u8 = 0x10;

pub const RTA_DST: u16 = libc::RTA_DST;
pub const RTA_OIF: u16 = libc::RTA_OIF;
pub const RTA_GATEWAY: u16 = libc::RTA_GATEWAY;
pub const RTA_METRICS: u16 = libc::RTA_METRICS;
pub const RTAX_MTU: u16 = 2;
pub const RTA_PRIORITY: u16 = libc::RTA_PRIORITY;
pub const RTA_PREFSRC: u16 = libc::RTA_PREFSRC;
pub const RTA_TABLE: u16 = libc::RTA_TABLE;
pub const RTA_VIA: u16 = libc::RTA_VIA;
pub const RTA_NH_ID: u16 = 30;
pub const RT_TABLE_MAIN: u8 = libc::RT_TABLE_MAIN;
pub const RT_TABLE_LOCAL: u8 = libc::RT_TABLE_LOCAL;
pub const RTN_UNICAST: u8 = libc::RTN_UNICAST;
pub const RTN_UNREACHABLE: u8 = libc::RTN_UNREACHABLE;
pub const FRA_PRIORITY: u16 = 6;
pub const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
pub const FRA_TABLE: u16 = 15;
pub const FRA_PROTOCOL: u16 = 21;
pub const FR_ACT_TO_TBL: u8 = 1;
pub const RT_SCOPE_UNIVERSE: u8 = libc::RT_SCOPE_UNIVERSE;
pub const RT_SCOPE_LINK: u8 = libc::RT_SCOPE_LINK;
pub const RT_SCOPE_HOST: u8 = libc::RT_SCOPE_HOST;
pub const RTNH_F_ONLINK: u32 = 4;

pub const NHA_ID: u16 = 1;
pub const NHA_GROUP: u16 = 2;
pub const NHA_GROUP_TYPE: u16 = 3;
pub const NHA_BLACKHOLE: u16 = 4;
pub const NHA_OIF: u16 = 5;
pub const NHA_GATEWAY: u16 = 6;
pub const NHA_RES_GROUP: u16 = 12;
pub const NHA_RES_GROUP_BUCKETS: u16 = 1;
pub const NHA_RES_GROUP_IDLE_TIMER: u16 = 2;
pub const NEXTHOP_GRP_TYPE_MPATH: u16 = 0;
pub const NEXTHOP_GRP_TYPE_RES: u16 = 1;

pub const IFLA_TARGET_NETNSID: u16 = 46;
pub const NETNSA_NSID: u16 = 1;
pub const NETNSA_FD: u16 = 3;

/// `struct ifinfomsg`: family, index, flags, and which flags to change.
pub fn ifinfomsg(family: u8, index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[0] = family;
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..].copy_from_slice(&change.to_ne_bytes());
    header
}

/// `struct ifaddrmsg`.
pub fn ifaddrmsg(family: u8, length: u8, flags: u8, scope: u8, index: u32) -> [u8; 8] {
    let [a, b, c, d] = index.to_ne_bytes();
    [family, length, flags, scope, a, b, c, d]
}

/// `struct ndmsg`.
pub fn ndmsg(family: u8, index: u32, state: u16, flags: u8) -> [u8; 12] {
    let mut header = [0; 12];
    header[0] = family;
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..10].copy_from_slice(&state.to_ne_bytes());
    header[10] = flags;
    header
}

/// `struct rtmsg` of a unicast route in the main table.
pub fn rtmsg(family: u8, length: u8, protocol: u8, scope: u8) -> [u8; 12] {
    [
        family,
        length,
        0,
        0,
        RT_TABLE_MAIN,
        protocol,
        scope,
        RTN_UNICAST,
        0,
        0,
        0,
        0,
    ]
}

/// `struct nhmsg`: family, protocol, and `RTNH_F_` flags.
pub fn nhmsg(family: u8, protocol: u8, flags: u32) -> [u8; 8] {
    let [a, b, c, d] = flags.to_ne_bytes();
    [family, 0, protocol, 0, a, b, c, d]
}
