//! Simulated machines and their network: a host namespace for each node, all on one bridge.
//!
//! ```text
//! bmh-..-n1 eth0 198.18.0.1 --veth-- h1 \
//! bmh-..-n2 eth0 198.18.0.2 --veth-- h2  > br0 in bmu-..
//! ```
//! Each lab has a bridge of its own, so that all labs use the same addresses: those that are set
//! aside for tests of network devices (RFC 2544 section C.2.2, RFC 5180 section 8).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::netlink::{
    self, Batch, IFA_ADDRESS, IFA_LOCAL, IFLA_IFNAME, IFLA_INFO_DATA, IFLA_INFO_KIND,
    IFLA_LINKINFO, IFLA_MTU, IFLA_NET_NS_FD, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, RTM_DELLINK,
    RTM_NEWADDR, RTM_NEWLINK, Socket, VETH_INFO_PEER,
};
use dataplane::netns::{self, Netns};
use nix::libc;

use crate::state::directory::Host;
use console::failure::Failure;
use probe::namespace;

/// A bridge has at most 1,024 ports (`BR_MAX_PORTS`), of which the kernel uses number 0 itself.
pub(crate) const HOSTS_MAX: u32 = 1_023;

/// Interface indices are fixed instead of looked up: the namespaces are ours alone. Small ones may
/// belong to devices that some kernels put into every namespace (sit0, ip6tnl0, ...).
const LOOPBACK_INDEX: u32 = 1;
const BRIDGE_INDEX: u32 = 1_000;
const HOST_INDEX: u32 = 1_000;
const FIRST_PORT_INDEX: u32 = 1_000;
/// Bridge of the second group of a partition; the first group stays on [`BRIDGE_INDEX`].
const FIRST_GROUP_INDEX: u32 = 10_000;

const UP: u32 = libc::IFF_UP as u32;
const IFLA_MASTER: u16 = libc::IFLA_MASTER;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const V4_LENGTH: u8 = 15;
const V6_LENGTH: u8 = 64;

/// The addresses of host `number`, for links between nodes.
pub(crate) fn addresses(number: u32) -> [IpAddr; 2] {
    let v4 = Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) + number);
    let v6 = u128::from(Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0)) + u128::from(number);
    [IpAddr::V4(v4), IpAddr::V6(Ipv6Addr::from(v6))]
}

/// Creates the bridge's namespace and the bridge, where they are missing.
///
/// # Errors
/// [`Failure::Failed`] with the kernel's refusal.
pub(crate) fn ensure_bridge(underlay: &str) -> Result<(), Failure> {
    let netns = ensure_namespace(underlay)?;
    // Ports do not take part in IPv6 themselves: they would only add noise.
    namespace::within(underlay, || {
        write_sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
        write_sysctl("net/ipv6/conf/all/disable_ipv6", "1")
    })
    .map_err(|error| Failure::Failed(format!("failed to prepare {underlay}: {error}")))?;
    let mut batch = Batch::new();
    add_bridge(&mut batch, BRIDGE_INDEX, "br0");
    run(&netns, &mut batch, "the bridge")
}

fn add_bridge(batch: &mut Batch, index: u32, name: &str) {
    batch
        .message(
            RTM_NEWLINK,
            NLM_F_CREATE | NLM_F_EXCL,
            &netlink::ifinfomsg(0, index, UP, UP),
        )
        .string(IFLA_IFNAME, name)
        .nested(IFLA_LINKINFO, &[], |info| {
            info.string(IFLA_INFO_KIND, "bridge")
                .nested(IFLA_INFO_DATA, &[], |data| {
                    // Neighbour discovery is multicast: it has to be flooded without learning.
                    data.u8(IFLA_BR_MCAST_SNOOPING, 0);
                });
        });
}

/// Gives each group of hosts a bridge of its own, so that packets between groups are lost while all carriers stay up.
/// `groups` are the number of each host and of its group, from 0.
///
/// # Errors
/// [`Failure::Failed`] with the kernel's refusal.
pub(crate) fn part(underlay: &str, groups: &[(u32, usize)]) -> Result<(), Failure> {
    let bridge = |group: usize| match u32::try_from(group) {
        Ok(group) if group > 0 => FIRST_GROUP_INDEX + group,
        _ => BRIDGE_INDEX,
    };
    let netns = open(underlay)?;
    let used = groups.iter().map(|(_, group)| *group).max().unwrap_or(0);
    let mut batch = Batch::new();
    for group in 1..=used {
        add_bridge(&mut batch, bridge(group), &format!("br{group}"));
    }
    run(&netns, &mut batch, "the bridges")?;
    for (host, group) in groups {
        let port = netlink::ifinfomsg(0, FIRST_PORT_INDEX + host, 0, 0);
        batch
            .message(RTM_NEWLINK, 0, &port)
            .u32(IFLA_MASTER, bridge(*group));
    }
    run(&netns, &mut batch, "the ports of the bridges")?;
    // There are at most as many groups as hosts.
    for group in used + 1..groups.len() {
        batch.message(RTM_DELLINK, 0, &netlink::ifinfomsg(0, bridge(group), 0, 0));
    }
    run_or(&netns, &mut batch, "the bridges", libc::ENODEV)
}

/// Creates the namespace of a host, connects it to the bridge and sets its addresses, where
/// missing. `mtu` is in bytes.
///
/// # Errors
/// [`Failure::Failed`] with the kernel's refusal.
pub(crate) fn ensure_host(underlay: &str, host: &Host, mtu: u32) -> Result<(), Failure> {
    let netns = ensure_namespace(&host.netns)?;
    let bridge = open(underlay)?;
    let mut batch = Batch::new();
    wire(&mut batch, host, &netns);
    // The bridge follows the smallest MTU of its ports.
    let port = netlink::ifinfomsg(0, FIRST_PORT_INDEX + host.number, 0, 0);
    batch.message(RTM_NEWLINK, 0, &port).u32(IFLA_MTU, mtu);
    run(&bridge, &mut batch, &host.netns)?;
    namespace::within(&host.netns, || {
        write_sysctl("net/ipv6/conf/all/accept_ra", "0")
    })
    .map_err(|error| Failure::Failed(format!("failed to prepare {}: {error}", host.netns)))?;
    configure(&mut batch, host);
    let end = netlink::ifinfomsg(0, HOST_INDEX, 0, 0);
    batch.message(RTM_NEWLINK, 0, &end).u32(IFLA_MTU, mtu);
    run(&netns, &mut batch, &host.netns)
}

/// The veth pair: its port on the bridge, and `eth0` in the host.
fn wire(batch: &mut Batch, host: &Host, netns: &Netns) {
    use std::os::fd::AsRawFd;
    let port = netlink::ifinfomsg(0, FIRST_PORT_INDEX + host.number, UP, UP);
    // A veth's second end cannot be up before the first is there (ENOTCONN).
    let end = netlink::ifinfomsg(0, HOST_INDEX, 0, 0);
    batch
        .message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &port)
        .string(IFLA_IFNAME, &format!("h{}", host.number))
        .u32(IFLA_MASTER, BRIDGE_INDEX)
        .nested(IFLA_LINKINFO, &[], |info| {
            info.string(IFLA_INFO_KIND, "veth")
                .nested(IFLA_INFO_DATA, &[], |data| {
                    data.nested(VETH_INFO_PEER, &end, |peer| {
                        peer.string(IFLA_IFNAME, "eth0")
                            .u32(IFLA_NET_NS_FD, netns.as_raw_fd().cast_unsigned());
                    });
                });
        });
}

fn configure(batch: &mut Batch, host: &Host) {
    for index in [LOOPBACK_INDEX, HOST_INDEX] {
        batch.message(RTM_NEWLINK, 0, &netlink::ifinfomsg(0, index, UP, UP));
    }
    for address in addresses(host.number) {
        let (family, length) = match address {
            IpAddr::V4(_) => (netlink::AF_INET, V4_LENGTH),
            IpAddr::V6(_) => (netlink::AF_INET6, V6_LENGTH),
        };
        // The host numbers are unique: no duplicate address is possible.
        let no_detection = libc::IFA_F_NODAD as u8;
        let header = netlink::ifaddrmsg(family, length, no_detection, 0, HOST_INDEX);
        batch
            .message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &header)
            .ip(IFA_LOCAL, address)
            .ip(IFA_ADDRESS, address);
    }
}

/// Creates the namespace on demand, and opens it.
///
/// # Errors
/// [`Failure::Failed`] with the kernel's refusal.
pub(crate) fn ensure_namespace(name: &str) -> Result<Netns, Failure> {
    netns::create(name).map_err(|error| failed(name, &error))?;
    open(name)
}

fn open(name: &str) -> Result<Netns, Failure> {
    Netns::open(name).map_err(|error| failed(name, &error))
}

/// Runs the requests in `netns`; an existing object counts as created.
fn run(netns: &Netns, batch: &mut Batch, what: &str) -> Result<(), Failure> {
    run_or(netns, batch, what, libc::EEXIST)
}

/// Runs the requests in `netns`; a refusal with error `done` counts as success.
fn run_or(netns: &Netns, batch: &mut Batch, what: &str, done: i32) -> Result<(), Failure> {
    let refusals = Socket::open_in(netns)
        .and_then(|mut socket| socket.run(batch))
        .map_err(|error| failed(what, &error))?;
    match refusals.iter().find(|refusal| refusal.errno != done) {
        None => Ok(()),
        Some(refusal) => Err(failed(what, refusal)),
    }
}

fn failed(what: &str, error: &dyn std::error::Error) -> Failure {
    let cause = error
        .source()
        .map(|cause| format!(": {cause}"))
        .unwrap_or_default();
    Failure::Failed(format!("failed to make {what}: {error}{cause}"))
}

/// Writes a setting of the namespace that the calling thread is in.
fn write_sysctl(name: &str, value: &str) -> io::Result<()> {
    let path = format!("/proc/sys/{name}");
    std::fs::write(&path, value)
        .map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_numbered_within_the_ranges_for_tests() {
        assert_eq!(
            addresses(1).map(|a| a.to_string()),
            ["198.18.0.1", "2001:2::1"]
        );
        assert_eq!(
            addresses(HOSTS_MAX).map(|a| a.to_string()),
            ["198.18.3.255", "2001:2::3ff"]
        );
    }
}
