//! Compares an attachment with the kernel.

use std::{collections::BTreeSet, net::IpAddr};

use ipnetwork::IpNetwork;

use super::{
    PodLink,
    link::{self, Seen},
};
use crate::{
    Error,
    mac::{self, Mac},
    netlink::*,
    netns::Netns,
};

/// Differences between `attachment` and the kernel, a sentence each; empty without any.
///
/// A smaller MTU, another MAC address of the pod, more addresses and more routes are no differences: later plugins may set them.
pub fn verify(pod: &Netns, forwarder: &Netns, attachment: &PodLink) -> Result<Vec<String>, Error> {
    let (mut pod, mut forwarder) = (Socket::open_in(pod)?, Socket::open_in(forwarder)?);
    let mut found = Vec::new();
    let ends = (
        link::find(&mut pod, &attachment.pod_interface)?,
        link::find(&mut forwarder, &attachment.forwarder_interface)?,
    );
    if let (Some(ours), Some(theirs)) = &ends
        && (ours.peer_index, theirs.peer_index) != (theirs.index, ours.index)
    {
        let (a, b) = (&ours.name, &theirs.name);
        found.push(format!(
            "{a} in the pod and {b} at the forwarder are no pair"
        ));
    }
    match ends.0 {
        None => found.push(format!("pod: no interface {}", attachment.pod_interface)),
        Some(seen) => {
            if seen.alias != attachment.owner {
                let name = &seen.name;
                found.push(format!("pod: {name} belongs to another attachment"));
            }
            end("pod", &seen, None, attachment.mtu, &mut found);
            pod_side(&mut pod, &mut forwarder, attachment, &seen, &mut found)?;
        }
    }
    match ends.1 {
        None => found.push(format!(
            "forwarder: no interface {}",
            attachment.forwarder_interface
        )),
        Some(seen) => {
            end(
                "forwarder",
                &seen,
                Some(attachment.forwarder_mac),
                attachment.mtu,
                &mut found,
            );
            forwarder_side(&mut forwarder, attachment, &seen, &mut found)?;
        }
    }
    Ok(found)
}

fn end(side: &str, seen: &Seen, mac: Option<Mac>, mtu: u32, found: &mut Vec<String>) {
    let name = &seen.name;
    if !seen.is_up {
        found.push(format!("{side}: {name} is down"));
    }
    if let Some(mac) = mac.filter(|mac| *mac != seen.mac) {
        let (now, leased) = (mac::format(seen.mac), mac::format(mac));
        found.push(format!("{side}: {name} has mac {now}, leased {leased}"));
    }
    if seen.mtu > mtu {
        found.push(format!("{side}: {name} has mtu {}, leased {mtu}", seen.mtu));
    }
}

fn pod_side(
    socket: &mut Socket,
    forwarder: &mut Socket,
    attachment: &PodLink,
    seen: &Seen,
    found: &mut Vec<String>,
) -> Result<(), Error> {
    let name = &seen.name;
    let addresses = addresses(socket, seen.index)?;
    let missing = attachment
        .addresses
        .iter()
        .filter(|ip| !addresses.contains(&ip.ip()));
    found.extend(missing.map(|ip| format!("pod: {name} lacks address {ip}")));
    compare_gateways(socket, forwarder, seen, attachment, found)?;
    // Default routes may have been another network's already.
    let wanted = attachment.routes.iter().filter(|route| route.prefix() != 0);
    compare_routes("pod", socket, seen, wanted.copied(), found)
}

fn forwarder_side(
    socket: &mut Socket,
    attachment: &PodLink,
    seen: &Seen,
    found: &mut Vec<String>,
) -> Result<(), Error> {
    let wanted = attachment
        .addresses
        .iter()
        .map(|ip| IpNetwork::from(ip.ip()));
    compare_routes("forwarder", socket, seen, wanted, found)
}

/// A gateway is found by a permanent neighbour, or because the Forwarder answers for its address.
fn compare_gateways(
    pod: &mut Socket,
    forwarder: &mut Socket,
    seen: &Seen,
    attachment: &PodLink,
    found: &mut Vec<String>,
) -> Result<(), Error> {
    let neighbours = neighbours(pod, seen.index)?;
    let is_lost = |gateway: &&IpAddr| !neighbours.contains(&(**gateway, attachment.forwarder_mac));
    let lost: Vec<&IpAddr> = attachment.gateways.iter().filter(is_lost).collect();
    if lost.is_empty() {
        return Ok(());
    }
    let answered = all_addresses(forwarder)?;
    let answers_for = |gateway: &IpAddr| match gateway {
        IpAddr::V4(_) => answered.iter().any(|(_, address)| address == gateway),
        IpAddr::V6(_) => answered.contains(&(seen.peer_index, *gateway)),
    };
    let missing = lost.into_iter().filter(|gateway| !answers_for(gateway));
    let name = &seen.name;
    found.extend(missing.map(|gateway| format!("pod: {name} lacks neighbour {gateway}")));
    Ok(())
}

fn compare_routes(
    side: &str,
    socket: &mut Socket,
    seen: &Seen,
    wanted: impl Iterator<Item = IpNetwork>,
    found: &mut Vec<String>,
) -> Result<(), Error> {
    let mut by_family = [None, None];
    for destination in wanted {
        let is_ipv4 = destination.is_ipv4();
        let routes = &mut by_family[usize::from(is_ipv4)];
        if routes.is_none() {
            *routes = Some(routes_of(socket, seen.index, is_ipv4)?);
        }
        if !routes
            .as_ref()
            .is_some_and(|routes| routes.contains(&destination))
        {
            found.push(format!(
                "{side}: no route to {destination} out of {}",
                seen.name
            ));
        }
    }
    Ok(())
}

/// The addresses of the interface `index`.
pub(super) fn addresses(socket: &mut Socket, index: u32) -> Result<BTreeSet<IpAddr>, Error> {
    let all = all_addresses(socket)?.into_iter();
    Ok(all
        .filter(|(of, _)| *of == index)
        .map(|(_, ip)| ip)
        .collect())
}

/// The addresses of all interfaces, each with the interface's index.
fn all_addresses(socket: &mut Socket) -> Result<BTreeSet<(u32, IpAddr)>, Error> {
    let mut batch = Batch::new();
    batch.message(RTM_GETADDR, NLM_F_DUMP, &ifaddrmsg(AF_UNSPEC, 0, 0, 0, 0));
    let mut found = BTreeSet::new();
    socket.dump(&mut batch, |_, payload| {
        let Some(index) = payload.get(4..).and_then(read_u32) else {
            return;
        };
        let attributes = attributes(payload.get(8..).unwrap_or_default());
        let ours = attributes.filter(|entry| matches!(entry.kind, IFA_ADDRESS | IFA_LOCAL));
        found.extend(ours.filter_map(|entry| Some((index, read_ip(entry.value)?))));
    })?;
    Ok(found)
}

fn neighbours(socket: &mut Socket, index: u32) -> Result<BTreeSet<(IpAddr, Mac)>, Error> {
    let mut found = BTreeSet::new();
    let mut batch = Batch::new();
    batch.message(RTM_GETNEIGH, NLM_F_DUMP, &ndmsg(AF_UNSPEC, 0, 0, 0));
    socket.dump(&mut batch, |_, payload| {
        let state = payload.get(8..).and_then(read_u16).unwrap_or_default();
        if payload.get(4..).and_then(read_u32) != Some(index) || state & NUD_PERMANENT == 0 {
            return;
        }
        let entries = attributes(payload.get(12..).unwrap_or_default());
        let value = |kind| entries.into_iter().find(|entry| entry.kind == kind);
        let address = value(NDA_DST).and_then(|entry| read_ip(entry.value));
        let mac = value(NDA_LLADDR).and_then(|entry| entry.value.try_into().ok());
        found.extend(address.zip(mac));
    })?;
    Ok(found)
}

/// Destinations of the routes out of `index`, of one family.
pub(super) fn routes_of(
    socket: &mut Socket,
    index: u32,
    is_ipv4: bool,
) -> Result<BTreeSet<IpNetwork>, Error> {
    let family = if is_ipv4 { AF_INET } else { AF_INET6 };
    // A dump takes only these filters: family and table.
    let mut header = [0; 12];
    header[0] = family;
    header[4] = RT_TABLE_MAIN;
    let mut batch = Batch::new();
    batch
        .message(RTM_GETROUTE, NLM_F_DUMP, &header)
        .u32(RTA_OIF, index);
    let mut found = BTreeSet::new();
    socket.dump(&mut batch, |kind, payload| {
        let Some(&length) = payload.get(1).filter(|_| kind == RTM_NEWROUTE) else {
            return;
        };
        let entries = attributes(payload.get(12..).unwrap_or_default());
        let value = |kind| entries.into_iter().find(|entry| entry.kind == kind);
        let out = value(RTA_OIF).and_then(|entry| read_u32(entry.value));
        let destination = value(RTA_DST).and_then(|entry| read_ip(entry.value));
        if let Some(address) = destination.filter(|_| out == Some(index)) {
            found.extend(IpNetwork::new(address, length).ok());
        }
    })?;
    Ok(found)
}
