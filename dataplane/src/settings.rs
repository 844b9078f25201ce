//! Kernel settings of a Forwarder's namespace.

/// Path below `/proc/sys/net`, and the value that a Forwarder needs. Written before any link is made: new interfaces inherit
/// from `conf/default`.
#[rustfmt::skip]
pub const SETTINGS: [(&str, &str); 16] = [
    ("ipv4/ip_forward", "1"),
    ("ipv6/conf/all/forwarding", "1"),
    // Layer 4 hash, else all flows between two hosts share one path: addresses, protocol and ports (bits 0, 1, 2, 4, 5).
    // Policy 1 names the same fields, but takes a hash that the packet already carries, and on one machine all Forwarders
    // see the same one: each would choose as the one before did, and some paths would never be used.
    ("ipv4/fib_multipath_hash_fields", "55"),
    ("ipv6/fib_multipath_hash_fields", "55"),
    ("ipv4/fib_multipath_hash_policy", "3"),
    ("ipv6/fib_multipath_hash_policy", "3"),
    // Paths may be asymmetric.
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv6/conf/default/accept_ra", "0"),
    // No link-local addresses by themselves, no duplicate address detection: next hops are onlink.
    ("ipv6/conf/default/addr_gen_mode", "1"),
    ("ipv4/conf/all/accept_redirects", "0"),
    ("ipv4/conf/all/send_redirects", "0"),
    // Traces are to be complete, and the rate is per namespace, not per attacker.
    ("ipv4/icmp_ratemask", "0"),
    ("ipv4/icmp_ratelimit", "0"),
    ("ipv6/icmp/ratelimit", "0"),
    // An edited group must not be told again for each route that names it: the edit would cost O(routes).
    ("ipv4/nexthop_compat_mode", "0"),
];
