//! Addresses of a host, and the largest packet that travels behind each.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use super::read_link;
use crate::{
    Error,
    netlink::{
        AF_INET, AF_INET6, AF_UNSPEC, Batch, IFA_ADDRESS, IFA_LOCAL, IFLA_EXT_MASK, NLM_F_DUMP,
        RTA_DST, RTA_METRICS, RTA_OIF, RTAX_MTU, RTEXT_FILTER_SKIP_STATS, RTM_GETADDR, RTM_GETLINK,
        RTM_GETROUTE, Socket, attributes, ifaddrmsg, ifinfomsg, read_ip, read_u32,
    },
};

/// An interface of the host.
struct Interface {
    mtu: u32,
    /// False for a loopback or dummy interface: packets of its addresses leave by another one.
    sends: bool,
}

/// MTU in bytes behind each of `own` that the namespace of `socket` has. Behind an address of an interface that sends nothing it is
/// the smallest one of the ways to `peers` of its family; where there is no way as yet, the address is left out.
///
/// Other addresses are not looked at: a dummy interface may carry one of each Service.
///
/// # Errors
/// When the kernel cannot be asked.
pub fn observe(
    socket: &mut Socket,
    own: &BTreeSet<IpAddr>,
    peers: &BTreeSet<IpAddr>,
) -> Result<BTreeMap<IpAddr, u32>, Error> {
    let interfaces = interfaces(socket)?;
    let mut addresses = addresses(socket)?;
    addresses.retain(|(address, _)| own.contains(address));
    let mut mtu_by_address = BTreeMap::new();
    let mut smallest_by_family = BTreeMap::new();
    for (address, index) in addresses {
        let Some(interface) = interfaces.get(&index) else {
            continue;
        };
        if interface.sends {
            mtu_by_address.insert(address, interface.mtu);
            continue;
        }
        if address.is_loopback() {
            continue;
        }
        let is_ipv4 = address.is_ipv4();
        let smallest = match smallest_by_family.get(&is_ipv4) {
            Some(smallest) => *smallest,
            None => smallest_way(socket, &interfaces, peers, is_ipv4)?,
        };
        smallest_by_family.insert(is_ipv4, smallest);
        mtu_by_address.extend(smallest.map(|mtu| (address, mtu)));
    }
    Ok(mtu_by_address)
}

/// Smallest MTU in bytes of the routes to the `peers` of one family.
fn smallest_way(
    socket: &mut Socket,
    interfaces: &HashMap<u32, Interface>,
    peers: &BTreeSet<IpAddr>,
    is_ipv4: bool,
) -> Result<Option<u32>, Error> {
    let mut smallest = None;
    for peer in peers.iter().filter(|peer| peer.is_ipv4() == is_ipv4) {
        let way = way(socket, interfaces, *peer)?;
        smallest = smallest.into_iter().chain(way).min();
    }
    Ok(smallest)
}

fn interfaces(socket: &mut Socket) -> Result<HashMap<u32, Interface>, Error> {
    let mut interfaces = HashMap::new();
    let mut request = Batch::new();
    request
        .message(RTM_GETLINK, NLM_F_DUMP, &ifinfomsg(AF_UNSPEC, 0, 0, 0))
        .u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    socket.dump(&mut request, |_, payload| {
        if let Some((name, link)) = read_link(payload) {
            let sends = name != "lo" && link.kind != "dummy";
            let mtu = link.mtu;
            interfaces.insert(link.index, Interface { mtu, sends });
        }
    })?;
    Ok(interfaces)
}

/// The host's own addresses, each with the number of its interface. `IFA_ADDRESS` is the other end's on a point-to-point link.
fn addresses(socket: &mut Socket) -> Result<Vec<(IpAddr, u32)>, Error> {
    let mut addresses = Vec::new();
    let mut request = Batch::new();
    request.message(RTM_GETADDR, NLM_F_DUMP, &ifaddrmsg(AF_UNSPEC, 0, 0, 0, 0));
    socket.dump(&mut request, |_, payload| {
        let index = payload.get(4..).and_then(read_u32);
        let all = || attributes(payload.get(8..).unwrap_or_default());
        let of = |kind| {
            all()
                .find(|it| it.kind == kind)
                .and_then(|it| read_ip(it.value))
        };
        let address = of(IFA_LOCAL).or_else(|| of(IFA_ADDRESS));
        addresses.extend(address.zip(index));
    })?;
    Ok(addresses)
}

/// MTU in bytes of the route to `peer`; none where there is no route that leaves the host.
fn way(
    socket: &mut Socket,
    interfaces: &HashMap<u32, Interface>,
    peer: IpAddr,
) -> Result<Option<u32>, Error> {
    let (family, length) = match peer {
        IpAddr::V4(_) => (AF_INET, 32),
        IpAddr::V6(_) => (AF_INET6, 128),
    };
    let mut request = Batch::new();
    let header = [family, length, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    request.message(RTM_GETROUTE, 0, &header).ip(RTA_DST, peer);
    let mut found = None;
    let answer = socket.dump(&mut request, |_, payload| {
        let (mut interface, mut metric) = (None, None);
        for attribute in attributes(payload.get(12..).unwrap_or_default()) {
            match attribute.kind {
                RTA_OIF => interface = read_u32(attribute.value),
                RTA_METRICS => {
                    let mut metrics = attribute.nested();
                    let mtu = metrics.find(|metric| metric.kind == RTAX_MTU);
                    metric = mtu.and_then(|mtu| read_u32(mtu.value));
                }
                _ => {}
            }
        }
        let interface = interface.and_then(|index| interfaces.get(&index));
        let interface = interface.filter(|interface| interface.sends);
        found = interface.map(|interface| metric.unwrap_or(u32::MAX).min(interface.mtu));
    });
    match answer {
        Err(Error::Refused { .. }) => Ok(None),
        answer => answer.map(|()| found),
    }
}
