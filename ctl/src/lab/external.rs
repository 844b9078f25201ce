//! Stand-ins for what is outside the cluster: an instance that also holds the prefixes of an
//! external App, and the Forwarder's way to them.
//!
//! It is attached like any other instance; behind its address in the Forwarder's block come the
//! external ones: `192.168.7.0/24 via 10.80.0.2 dev app.. onlink` in the Forwarder. Those routes
//! carry the number of `static` (4), not beemesh's: in a cluster they are the operator's own too.

use std::net::IpAddr;

use dataplane::netlink::{
    self, Batch, IFA_ADDRESS, IFA_LOCAL, NLM_F_CREATE, NLM_F_REPLACE, RTA_DST, RTA_GATEWAY,
    RTA_OIF, RTM_GETROUTE, RTM_NEWADDR, RTM_NEWROUTE, Socket, attributes, read_u32,
};
use dataplane::netns::Netns;
use ipnetwork::IpNetwork;
use nix::libc;

use super::plugin::INTERFACE;
use super::state::Instance;
use crate::failure::Failure;

/// Gives the instance its external addresses, if it is external, and the Forwarder the routes.
/// May be repeated. The external addresses come first in [`Instance::addresses`] afterwards.
///
/// # Errors
/// [`Failure::Failed`] with what the kernel refused.
pub(crate) fn ensure(forwarder: &str, instance: &mut Instance) -> Result<(), Failure> {
    if instance.external.is_empty() {
        return Ok(());
    }
    let failed =
        |error: String| Failure::Failed(format!("failed to attach {}: {error}", instance.netns));
    let prefixes = instance.external.clone();
    let gateways: Vec<IpAddr> = instance
        .addresses
        .iter()
        .map(IpNetwork::ip)
        .filter(|address| !prefixes.iter().any(|prefix| prefix.contains(*address)))
        .collect();
    let addresses = hold(&instance.netns, &prefixes).map_err(|error| failed(error.to_string()))?;
    route(forwarder, &prefixes, &gateways).map_err(|error| failed(error.to_string()))?;
    instance
        .addresses
        .retain(|address| !addresses.contains(address));
    instance.addresses.splice(0..0, addresses);
    Ok(())
}

/// The first host of each prefix, as an address of the stand-in's interface.
fn hold(netns: &str, prefixes: &[IpNetwork]) -> Result<Vec<IpNetwork>, dataplane::Error> {
    let opened = Netns::open(netns)?;
    let index = opened.run(|| nix::net::if_::if_nametoindex(INTERFACE).unwrap_or(0))?;
    let mut batch = Batch::new();
    let addresses: Vec<IpNetwork> = prefixes
        .iter()
        .map(|prefix| IpNetwork::from(first_host(*prefix)))
        .collect();
    for address in &addresses {
        let no_detection = libc::IFA_F_NODAD as u8;
        let header = netlink::ifaddrmsg(
            family(address.ip()),
            address.prefix(),
            no_detection,
            0,
            index,
        );
        batch
            .message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &header)
            .ip(IFA_LOCAL, address.ip())
            .ip(IFA_ADDRESS, address.ip());
    }
    run(&mut Socket::open_in(&opened)?, &mut batch, netns)?;
    Ok(addresses)
}

/// The prefixes behind the stand-in's own address of the same family.
fn route(
    forwarder: &str,
    prefixes: &[IpNetwork],
    gateways: &[IpAddr],
) -> Result<(), dataplane::Error> {
    let mut socket = Socket::open_in(&Netns::open(forwarder)?)?;
    let mut batch = Batch::new();
    for prefix in prefixes {
        let same = |gateway: &&IpAddr| gateway.is_ipv4() == prefix.is_ipv4();
        let Some(gateway) = gateways.iter().find(same) else {
            continue;
        };
        let interface = interface_to(&mut socket, *gateway)?;
        let mut header = netlink::rtmsg(family(*gateway), prefix.prefix(), libc::RTPROT_STATIC, 0);
        // `rtm_flags`: the gateway is on the link, whatever other routes say.
        header[8..].copy_from_slice(&netlink::RTNH_F_ONLINK.to_ne_bytes());
        batch
            .message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &header)
            .ip(RTA_DST, prefix.network())
            .ip(RTA_GATEWAY, *gateway)
            .u32(RTA_OIF, interface);
    }
    run(&mut socket, &mut batch, forwarder)
}

/// The index of the interface by which an attached address is reached.
fn interface_to(socket: &mut Socket, address: IpAddr) -> Result<u32, dataplane::Error> {
    const HEADER: usize = 12;
    let length = if address.is_ipv4() { 32 } else { 128 };
    let mut batch = Batch::new();
    let mut header = netlink::rtmsg(family(address), length, 0, 0);
    // The kernel is strict about what a question may contain.
    header[4..8].fill(0);
    batch.message(RTM_GETROUTE, 0, &header).ip(RTA_DST, address);
    let mut interface = 0;
    socket.dump(&mut batch, |_, message| {
        let found = attributes(message.get(HEADER..).unwrap_or_default())
            .find(|attribute| attribute.kind == RTA_OIF);
        interface = found
            .and_then(|oif| read_u32(oif.value))
            .unwrap_or(interface);
    })?;
    Ok(interface)
}

fn run(socket: &mut Socket, batch: &mut Batch, what: &str) -> Result<(), dataplane::Error> {
    match socket.run(batch)?.into_iter().next() {
        None => Ok(()),
        Some(source) => Err(dataplane::Error::Refused {
            object: what.to_owned(),
            source,
        }),
    }
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() {
        netlink::AF_INET
    } else {
        netlink::AF_INET6
    }
}

/// The first address after the network's own; of a single address, that one.
pub(crate) fn first_host(prefix: IpNetwork) -> IpAddr {
    match prefix {
        IpNetwork::V4(v4) if v4.prefix() >= 31 => v4.network().into(),
        IpNetwork::V4(v4) => IpAddr::V4((u32::from(v4.network()) + 1).into()),
        IpNetwork::V6(v6) if v6.prefix() >= 127 => v6.network().into(),
        IpNetwork::V6(v6) => IpAddr::V6((u128::from(v6.network()) + 1).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_host_is_the_one_after_the_network() {
        for (prefix, expected) in [
            ("192.168.7.0/24", "192.168.7.1"),
            ("192.168.7.9/32", "192.168.7.9"),
            ("fd00:1::/64", "fd00:1::1"),
        ] {
            let prefix: IpNetwork = prefix.parse().unwrap();
            assert_eq!(first_host(prefix).to_string(), expected, "{prefix}");
        }
    }
}
