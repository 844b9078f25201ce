//! Comparing an attachment with the kernel.

use std::{collections::BTreeSet, net::IpAddr};

use ipnetwork::IpNetwork;

use super::{
    Attachment,
    link::{self, Seen},
};
use crate::{Error, mac::Mac, netlink::*, netns::Netns};

/// What differs between `attachment` and the kernel, a sentence each; empty when nothing does.
///
/// A smaller MTU, more addresses and more routes are no differences: later plugins may set them.
pub fn verify(
    pod: &Netns,
    forwarder: &Netns,
    attachment: &Attachment,
) -> Result<Vec<String>, Error> {
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
            end("pod", &seen, attachment.pod_mac, attachment.mtu, &mut found);
            pod_side(&mut pod, attachment, &seen, &mut found)?;
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
                attachment.forwarder_mac,
                attachment.mtu,
                &mut found,
            );
            forwarder_side(&mut forwarder, attachment, &seen, &mut found)?;
        }
    }
    Ok(found)
}

fn end(side: &str, seen: &Seen, mac: Mac, mtu: u32, found: &mut Vec<String>) {
    let name = &seen.name;
    if !seen.is_up {
        found.push(format!("{side}: {name} is down"));
    }
    if seen.mac != mac {
        found.push(format!(
            "{side}: {name} has mac {}, leased {}",
            text(seen.mac),
            text(mac)
        ));
    }
    if seen.mtu > mtu {
        found.push(format!("{side}: {name} has mtu {}, leased {mtu}", seen.mtu));
    }
}

fn text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn pod_side(
    socket: &mut Socket,
    attachment: &Attachment,
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
    let wanted = attachment
        .gateways
        .iter()
        .map(|ip| (*ip, attachment.forwarder_mac));
    compare_neighbours("pod", socket, seen, wanted, found)?;
    // Default routes may have been another network's already.
    let wanted = attachment.routes.iter().filter(|route| route.prefix() != 0);
    compare_routes("pod", socket, seen, wanted.copied(), found)
}

fn forwarder_side(
    socket: &mut Socket,
    attachment: &Attachment,
    seen: &Seen,
    found: &mut Vec<String>,
) -> Result<(), Error> {
    let wanted = attachment
        .addresses
        .iter()
        .map(|ip| (ip.ip(), attachment.pod_mac));
    compare_neighbours("forwarder", socket, seen, wanted, found)?;
    let wanted = attachment
        .addresses
        .iter()
        .map(|ip| IpNetwork::from(ip.ip()));
    compare_routes("forwarder", socket, seen, wanted, found)
}

fn compare_neighbours(
    side: &str,
    socket: &mut Socket,
    seen: &Seen,
    wanted: impl Iterator<Item = (IpAddr, Mac)>,
    found: &mut Vec<String>,
) -> Result<(), Error> {
    let neighbours = neighbours(socket, seen.index)?;
    for (address, mac) in wanted {
        if !neighbours.contains(&(address, mac)) {
            let name = &seen.name;
            found.push(format!(
                "{side}: {name} lacks permanent neighbour {address}"
            ));
        }
    }
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

pub(super) fn addresses(socket: &mut Socket, index: u32) -> Result<BTreeSet<IpAddr>, Error> {
    let mut batch = Batch::new();
    batch.message(
        RTM_GETADDR,
        NLM_F_DUMP,
        &ifaddrmsg(AF_UNSPEC, 0, 0, 0, index),
    );
    let mut found = BTreeSet::new();
    socket.dump(&mut batch, |_, payload| {
        if payload.get(4..).and_then(read_u32) == Some(index) {
            let attributes = attributes(payload.get(8..).unwrap_or_default());
            let ours = attributes.filter(|entry| matches!(entry.kind, IFA_ADDRESS | IFA_LOCAL));
            found.extend(ours.filter_map(|entry| read_ip(entry.value)));
        }
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
