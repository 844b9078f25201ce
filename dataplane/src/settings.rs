//! Kernel settings of a Forwarder's namespace and of its interfaces.

/// Path below `/proc/sys/net`, and the value that a Forwarder needs. Written before any link is made: new interfaces inherit
/// from `conf/default`. The order counts: a value for `all` is copied to `default` and to every interface.
#[rustfmt::skip]
pub const SETTINGS: [(&str, &str); 21] = [
    ("ipv4/ip_forward", "1"),
    ("ipv4/conf/default/forwarding", "1"),
    // Next hops are link-local IPv6 addresses, for IPv4 routes too.
    ("ipv6/conf/all/disable_ipv6", "0"),
    ("ipv6/conf/default/disable_ipv6", "0"),
    ("ipv6/conf/all/forwarding", "1"),
    ("ipv6/conf/default/forwarding", "1"),
    // Layer 4 hash, else all flows between two hosts share one path: addresses, protocol and ports (bits 0, 1, 2, 4, 5).
    // Policy 1 names the same fields, but takes a hash that the packet already carries, and on one machine all Forwarders
    // see the same one: each would choose as the one before did, and some paths would never be used.
    ("ipv4/fib_multipath_hash_fields", "55"),
    ("ipv6/fib_multipath_hash_fields", "55"),
    ("ipv4/fib_multipath_hash_policy", "3"),
    ("ipv6/fib_multipath_hash_policy", "3"),
    // Paths may be asymmetric. The kernel takes the larger one of `all` and the interface's own.
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv6/conf/default/accept_ra", "0"),
    // No link-local addresses by themselves, no duplicate address detection: next hops are onlink.
    ("ipv6/conf/default/addr_gen_mode", "1"),
    ("ipv4/conf/all/accept_redirects", "0"),
    // Redirects are sent when `all` or the interface enables them.
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    // Traces are to be complete, and the rate is per namespace, not per attacker.
    ("ipv4/icmp_ratemask", "0"),
    ("ipv4/icmp_ratelimit", "0"),
    ("ipv6/icmp/ratelimit", "0"),
    // An edited group must not be announced again for each route that names it: the edit would cost O(routes).
    ("ipv4/nexthop_compat_mode", "0"),
];

/// A setting of one interface: path below `/proc/sys/net` with `*` for its name, and the value.
pub type InterfaceSetting = (&'static str, &'static str);

/// Role of an interface in a Forwarder's namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// `lo`.
    Loopback,
    /// A link to another Forwarder.
    Link,
    /// A pod's link.
    Attachment,
}

impl Role {
    /// IPv4 sysctls of the role: number among `IPV4_DEVCONF_`, and setting.
    pub(crate) fn ipv4(self) -> &'static [(u16, InterfaceSetting)] {
        use crate::netlink::{
            IPV4_DEVCONF_FORWARDING as FORWARDING, IPV4_DEVCONF_RP_FILTER as RP_FILTER,
            IPV4_DEVCONF_SEND_REDIRECTS as SEND_REDIRECTS,
        };
        match self {
            Self::Loopback => &[],
            Self::Link => &[
                (FORWARDING, ("ipv4/conf/*/forwarding", "1")),
                (RP_FILTER, ("ipv4/conf/*/rp_filter", "0")),
                (SEND_REDIRECTS, ("ipv4/conf/*/send_redirects", "0")),
            ],
            // Pods have routes to this very interface: any other source is not theirs (RFC 3704, strict).
            Self::Attachment => &[
                (FORWARDING, ("ipv4/conf/*/forwarding", "1")),
                (RP_FILTER, ("ipv4/conf/*/rp_filter", "1")),
                (SEND_REDIRECTS, ("ipv4/conf/*/send_redirects", "0")),
            ],
        }
    }

    /// As [`Role::ipv4`], with the number among `DEVCONF_`.
    pub(crate) fn ipv6(self) -> &'static [(u16, InterfaceSetting)] {
        use crate::netlink::{DEVCONF_DISABLE_IPV6, DEVCONF_FORWARDING};
        const ON: (u16, InterfaceSetting) =
            (DEVCONF_DISABLE_IPV6, ("ipv6/conf/*/disable_ipv6", "0"));
        match self {
            Self::Loopback => &[ON],
            Self::Link | Self::Attachment => {
                &[ON, (DEVCONF_FORWARDING, ("ipv6/conf/*/forwarding", "1"))]
            }
        }
    }
}
