//! Instances that represent external hosts: each also holds an address of each prefix of its
//! external App. It is attached like any other, and its node routes the prefixes to it.

use std::net::IpAddr;

use dataplane::netlink::{
    self, Batch, IFA_ADDRESS, IFA_LOCAL, NLM_F_CREATE, NLM_F_REPLACE, RTM_NEWADDR, Socket,
};
use dataplane::netns::Netns;
use ipnetwork::IpNetwork;
use nix::libc;

use crate::instances::plugin::INTERFACE;
use crate::state::directory::Instance;
use console::failure::Failure;

/// Gives the instance its external addresses, if it is external. May be repeated.
/// They come first in [`Instance::addresses`] afterwards.
///
/// # Errors
/// [`Failure::Failed`] with the kernel's refusal.
pub(crate) fn ensure(instance: &mut Instance) -> Result<(), Failure> {
    if instance.external.is_empty() {
        return Ok(());
    }
    let addresses = hold(&instance.netns, &instance.external).map_err(|error| {
        Failure::Failed(format!("failed to attach {}: {error}", instance.netns))
    })?;
    instance
        .addresses
        .retain(|address| !addresses.contains(address));
    instance.addresses.splice(0..0, addresses);
    Ok(())
}

/// First host of each prefix, as an address of the instance's interface.
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
