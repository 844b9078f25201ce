//! Reads one namespace: a dump for each kind of object.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnetwork::IpNetwork;

use super::settings::Directories;
use crate::{
    Error,
    mac::Mac,
    netlink::*,
    observed::{Observed, Rule, SeenLink, SeenNeighbour, SeenNexthop, SeenRoute, Via},
    settings::{InterfaceSetting, Role, SETTINGS},
    state::{ALIAS_PREFIX, ATTACHMENT_PROTOCOL, Balance, LINK_GROUP, PROTOCOL},
};

/// `RTPROT_KERNEL`.
const PROTOCOL_KERNEL: u8 = 2;
/// `RTPROT_UNSPEC`: as a filter, any protocol.
const RTPROT_ANY: u8 = 0;
/// `RTM_F_CLONED`: a cached exception, not a route.
const CLONED: u32 = 0x200;

/// Complete content of the namespace of `socket`, which the calling thread must be in (for the
/// settings).
pub(super) fn everything(socket: &mut Socket) -> Result<Observed, Error> {
    let Observed {
        nexthops, routes, ..
    } = routing(socket)?;
    Ok(Observed {
        nexthops,
        routes,
        ..structure(socket)?
    })
}

/// Content without next hops; of the routes only those to pods. The calling thread must be in the
/// namespace.
pub(super) fn structure(socket: &mut Socket) -> Result<Observed, Error> {
    let links = links(socket)?;
    let names = names(&links);
    let has_vxlan = links.values().any(|link| link.kind == "vxlan");
    let (addresses, link_addresses) = addresses(socket, &names)?;
    let mut observed = Observed {
        addresses,
        link_addresses,
        neighbours: neighbours(socket, &names)?,
        fdb: if has_vxlan {
            fdb(socket, &names)?
        } else {
            BTreeMap::new()
        },
        routes: routes(socket, ATTACHMENT_PROTOCOL)?,
        wrong_settings: wrong_settings(),
        missing_rules: missing_rules(socket)?,
        ..Observed::default()
    };
    observed.links = links;
    Ok(observed)
}

/// Interfaces, next hops and routes. Not the settings: opening them takes as long as there are namespaces.
pub(super) fn routing(socket: &mut Socket) -> Result<Observed, Error> {
    let links = links(socket)?;
    Ok(Observed {
        nexthops: nexthops(socket, &names(&links))?,
        routes: routes(socket, RTPROT_ANY)?,
        links,
        ..Observed::default()
    })
}

fn names(links: &BTreeMap<String, SeenLink>) -> BTreeMap<u32, &str> {
    let numbered = links.iter();
    numbered
        .map(|(name, link)| (link.index, name.as_str()))
        .collect()
}

/// All interfaces by name.
pub(super) fn links(socket: &mut Socket) -> Result<BTreeMap<String, SeenLink>, Error> {
    let mut links = BTreeMap::new();
    let mut request = Batch::new();
    request
        .message(RTM_GETLINK, NLM_F_DUMP, &ifinfomsg(AF_UNSPEC, 0, 0, 0))
        .u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    socket.dump(&mut request, |_, payload| {
        if let Some((name, link)) = link(payload) {
            links.insert(name, link);
        }
    })?;
    Ok(links)
}

/// One interface from the bytes of an `RTM_NEWLINK`.
pub(crate) fn link(payload: &[u8]) -> Option<(String, SeenLink)> {
    let flags = read_u32(payload.get(8..)?)?;
    let has = |flag: i32| flags & flag.cast_unsigned() != 0;
    let is_enabled = has(libc::IFF_UP);
    let mut link = SeenLink {
        index: read_u32(payload.get(4..)?)?,
        is_enabled,
        is_up: is_enabled && has(libc::IFF_LOWER_UP),
        ..SeenLink::default()
    };
    let (mut name, mut families) = (None, &[][..]);
    for Attribute { kind, value } in attributes(payload.get(16..)?) {
        match kind {
            IFLA_IFNAME => name = Some(read_str(value)),
            IFLA_ADDRESS => link.mac = value.try_into().unwrap_or_default(),
            IFLA_MTU => link.mtu = read_u32(value)?,
            IFLA_IFALIAS => {
                link.alias = read_str(value);
                link.is_ours |= link.alias.starts_with(ALIAS_PREFIX);
            }
            IFLA_GROUP => link.is_ours |= read_u32(value) == Some(LINK_GROUP),
            IFLA_LINKINFO => link_info(value, &mut link),
            IFLA_AF_SPEC => families = value,
            _ => {}
        }
    }
    let name = name?;
    let role = match &*name {
        "lo" => Some(Role::Loopback),
        name if link.is_attachment(name) => Some(Role::Attachment),
        _ if link.is_ours => Some(Role::Link),
        _ => None,
    };
    link.wrong_settings =
        role.map_or_else(BTreeSet::new, |role| interface_settings(role, families));
    Some((name, link))
}

/// The settings of an interface that are not as its part needs them. A family that is not on it has none.
fn interface_settings(role: Role, families: &[u8]) -> BTreeSet<InterfaceSetting> {
    let mut wrong = BTreeSet::new();
    for family in attributes(families) {
        // The kernel numbers IPv4 settings from 1 and puts them into an array from 0.
        let (conf, wanted, first) = match family.kind {
            kind if kind == u16::from(AF_INET) => (IFLA_INET_CONF, role.ipv4(), 1),
            kind if kind == u16::from(AF_INET6) => (IFLA_INET6_CONF, role.ipv6(), 0),
            _ => continue,
        };
        let Some(values) = family.nested().find(|attribute| attribute.kind == conf) else {
            continue;
        };
        for &(number, setting) in wanted {
            let at = 4 * usize::from(number - first);
            let now = values.value.get(at..).and_then(read_u32);
            if now.is_some_and(|now| now.to_string() != setting.1) {
                wrong.insert(setting);
            }
        }
    }
    wrong
}

fn link_info(value: &[u8], link: &mut SeenLink) {
    for attribute in attributes(value) {
        match attribute.kind {
            IFLA_INFO_KIND => link.kind = read_str(attribute.value),
            IFLA_INFO_DATA if link.kind == "vxlan" => {
                let (mut vni, mut port, mut local) = (0, 0, None);
                for Attribute { kind, value } in attribute.nested() {
                    match kind {
                        IFLA_VXLAN_ID => vni = read_u32(value).unwrap_or_default(),
                        IFLA_VXLAN_PORT => {
                            port = value.first_chunk().map_or(0, |b| u16::from_be_bytes(*b));
                        }
                        IFLA_VXLAN_LOCAL | IFLA_VXLAN_LOCAL6 => local = read_ip(value),
                        _ => {}
                    }
                }
                link.vxlan = Some((vni, port, local));
            }
            _ => {}
        }
    }
}

/// Addresses on `lo` with whether they are ours, and those of all other interfaces.
type Addresses = (BTreeMap<IpNetwork, bool>, BTreeSet<(String, IpAddr)>);

fn addresses(socket: &mut Socket, names: &BTreeMap<u32, &str>) -> Result<Addresses, Error> {
    let (mut on_loopback, mut on_links) = (BTreeMap::new(), BTreeSet::new());
    let mut request = Batch::new();
    request.message(RTM_GETADDR, NLM_F_DUMP, &ifaddrmsg(AF_UNSPEC, 0, 0, 0, 0));
    socket.dump(&mut request, |_, payload| {
        let (Some(&[_, length]), Some(index)) =
            (payload.first_chunk(), payload.get(4..).and_then(read_u32))
        else {
            return;
        };
        let (mut address, mut is_ours) = (None, false);
        for Attribute { kind, value } in attributes(payload.get(8..).unwrap_or_default()) {
            match kind {
                IFA_LOCAL => address = read_ip(value),
                IFA_ADDRESS => address = address.or_else(|| read_ip(value)),
                IFA_PROTO => is_ours = value.first() == Some(&PROTOCOL),
                _ => {}
            }
        }
        let Some(address) = address.filter(|address| !address.is_loopback()) else {
            return;
        };
        match (index, names.get(&index), IpNetwork::new(address, length)) {
            // In every namespace `lo` is the first interface.
            (1, _, Ok(network)) => drop(on_loopback.insert(network, is_ours)),
            (_, Some(name), _) => drop(on_links.insert(((*name).to_owned(), address))),
            _ => {}
        }
    })?;
    Ok((on_loopback, on_links))
}

/// The rules of [`Rule::ALL`] that are not there, of the families that the kernel has.
fn missing_rules(socket: &mut Socket) -> Result<BTreeSet<Rule>, Error> {
    let mut missing = BTreeSet::new();
    for (family, is_ipv4) in [(AF_INET, true), (AF_INET6, false)] {
        let mut header = [0; 12];
        header[0] = family;
        let mut request = Batch::new();
        request.message(RTM_GETRULE, NLM_F_DUMP, &header);
        let mut tables = BTreeSet::new();
        match socket.dump(&mut request, |_, payload| {
            tables.extend(plain_rule(payload))
        }) {
            Err(Error::Refused { source, .. }) if lacks_family(source.errno) => continue,
            result => result?,
        }
        let of_family = Rule::ALL.into_iter().filter(|rule| rule.is_ipv4 == is_ipv4);
        missing.extend(of_family.filter(|rule| !tables.contains(&u32::from(rule.table))));
    }
    Ok(missing)
}

fn lacks_family(errno: i32) -> bool {
    matches!(errno, libc::EAFNOSUPPORT | libc::EOPNOTSUPP)
}

/// The table that a rule leads every packet to; none for a rule that asks for more.
fn plain_rule(payload: &[u8]) -> Option<u32> {
    let &[_, destination, source, tos, table, _, _, action] = payload.first_chunk()?;
    let flags = read_u32(payload.get(8..)?)?;
    let mut table = u32::from(table);
    let mut is_plain = (destination, source, tos, action, flags) == (0, 0, 0, FR_ACT_TO_TBL, 0);
    for Attribute { kind, value } in attributes(payload.get(12..)?) {
        match kind {
            FRA_TABLE => table = read_u32(value)?,
            FRA_PRIORITY | FRA_PROTOCOL => {}
            FRA_SUPPRESS_PREFIXLEN => is_plain &= read_u32(value) == Some(u32::MAX),
            _ => is_plain = false,
        }
    }
    is_plain.then_some(table)
}

/// A neighbour or forwarding entry.
struct Entry {
    index: u32,
    state: u16,
    address: IpAddr,
    mac: Mac,
    protocol: u8,
}

fn entry(payload: &[u8]) -> Option<Entry> {
    let (index, state) = (read_u32(payload.get(4..)?)?, read_u16(payload.get(8..)?)?);
    let (mut address, mut mac, mut protocol) = (None, None, 0);
    for Attribute { kind, value } in attributes(payload.get(12..)?) {
        match kind {
            NDA_DST => address = read_ip(value),
            NDA_LLADDR => mac = value.try_into().ok(),
            NDA_PROTOCOL => protocol = value.first().copied().unwrap_or_default(),
            _ => {}
        }
    }
    Some(Entry {
        index,
        state,
        address: address?,
        mac: mac?,
        protocol,
    })
}

fn neighbours(
    socket: &mut Socket,
    names: &BTreeMap<u32, &str>,
) -> Result<BTreeMap<(String, IpAddr), SeenNeighbour>, Error> {
    let mut neighbours = BTreeMap::new();
    let mut request = Batch::new();
    request.message(RTM_GETNEIGH, NLM_F_DUMP, &ndmsg(AF_UNSPEC, 0, 0, 0));
    socket.dump(&mut request, |_, payload| {
        if let Some(Entry {
            index,
            state,
            address,
            mac,
            protocol,
        }) = entry(payload)
            && state & NUD_PERMANENT != 0
            && let Some(&name) = names.get(&index)
        {
            let is_ours = protocol == PROTOCOL || protocol == ATTACHMENT_PROTOCOL;
            neighbours.insert((name.to_owned(), address), SeenNeighbour { mac, is_ours });
        }
    })?;
    Ok(neighbours)
}

fn fdb(
    socket: &mut Socket,
    names: &BTreeMap<u32, &str>,
) -> Result<BTreeMap<(String, Mac), BTreeSet<IpAddr>>, Error> {
    let mut entries: BTreeMap<(String, Mac), BTreeSet<IpAddr>> = BTreeMap::new();
    let mut request = Batch::new();
    request.message(RTM_GETNEIGH, NLM_F_DUMP, &ndmsg(AF_BRIDGE, 0, 0, 0));
    socket.dump(&mut request, |_, payload| {
        if let Some(Entry {
            index,
            address: remote,
            mac,
            ..
        }) = entry(payload)
            && let Some(&name) = names.get(&index)
        {
            entries
                .entry((name.to_owned(), mac))
                .or_default()
                .insert(remote);
        }
    })?;
    Ok(entries)
}

/// All nexthop objects by id; `names` are the interfaces.
pub(super) fn nexthops(
    socket: &mut Socket,
    names: &BTreeMap<u32, &str>,
) -> Result<BTreeMap<u32, SeenNexthop>, Error> {
    let mut nexthops = BTreeMap::new();
    let mut request = Batch::new();
    request.message(RTM_GETNEXTHOP, NLM_F_DUMP, &nhmsg(AF_UNSPEC, 0, 0));
    socket.dump(&mut request, |_, payload| {
        if let Some((id, nexthop)) = nexthop(payload, names) {
            nexthops.insert(id, nexthop);
        }
    })?;
    Ok(nexthops)
}

fn nexthop(payload: &[u8], names: &BTreeMap<u32, &str>) -> Option<(u32, SeenNexthop)> {
    let is_ours = *payload.get(2)? == PROTOCOL;
    let (mut id, mut link, mut gateway, mut members) = (None, None, None, None);
    let mut balance = Balance::HashThreshold;
    for attribute in attributes(payload.get(8..)?) {
        let value = attribute.value;
        match attribute.kind {
            NHA_ID => id = read_u32(value),
            NHA_OIF => link = read_u32(value).and_then(|index| names.get(&index)),
            NHA_GATEWAY => gateway = read_ip(value),
            NHA_GROUP => {
                members = Some(value.chunks_exact(8).filter_map(read_u32).collect());
            }
            NHA_RES_GROUP => {
                let buckets = attribute.nested().find(|a| a.kind == NHA_RES_GROUP_BUCKETS);
                let buckets = buckets.and_then(|a| read_u16(a.value)).unwrap_or_default();
                balance = Balance::Resilient {
                    buckets,
                    idle: std::time::Duration::ZERO,
                };
            }
            _ => {}
        }
    }
    let nexthop = match (members, link) {
        (Some(members), _) => SeenNexthop::Group {
            members,
            balance,
            is_ours,
        },
        (None, Some(&link)) => SeenNexthop::Single {
            link: link.to_owned(),
            gateway,
            is_ours,
        },
        (None, None) => SeenNexthop::Other,
    };
    Some((id?, nexthop))
}

/// Routes of the main table that `protocol` made.
fn routes(socket: &mut Socket, protocol: u8) -> Result<Vec<SeenRoute>, Error> {
    let mut routes = Vec::new();
    for family in [AF_INET, AF_INET6] {
        let mut request = Batch::new();
        let mut header = [0; 12];
        (header[0], header[4], header[5]) = (family, RT_TABLE_MAIN, protocol);
        request.message(RTM_GETROUTE, NLM_F_DUMP, &header);
        match socket.dump(&mut request, |_, payload| routes.extend(route(payload))) {
            // A namespace whose `lo` was never up has no main table yet.
            Err(Error::Refused { source, .. }) if source.errno == libc::ENOENT => {}
            result => result?,
        }
    }
    Ok(routes)
}

fn route(payload: &[u8]) -> Option<SeenRoute> {
    let &[family, length, _, _, table, protocol, _, kind] = payload.first_chunk()?;
    let flags = read_u32(payload.get(8..)?)?;
    if table != RT_TABLE_MAIN || protocol == PROTOCOL_KERNEL || flags & CLONED != 0 {
        return None;
    }
    let mut address: IpAddr = match family {
        AF_INET => std::net::Ipv4Addr::UNSPECIFIED.into(),
        _ => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let (mut nexthop, mut device, mut is_plain) = (None, None, kind == RTN_UNICAST);
    for Attribute { kind, value } in attributes(payload.get(12..)?) {
        match kind {
            RTA_DST => address = read_ip(value)?,
            RTA_NH_ID => nexthop = read_u32(value),
            RTA_OIF => device = read_u32(value),
            RTA_GATEWAY | RTA_VIA => is_plain = false,
            _ => {}
        }
    }
    let via = match (nexthop, device) {
        _ if kind == RTN_UNREACHABLE => Via::Unreachable,
        (Some(id), _) => Via::Nexthop(id),
        (None, Some(index)) if is_plain => Via::Device(index),
        _ => Via::Other,
    };
    Some(SeenRoute {
        prefix: IpNetwork::new(address, length).ok()?,
        protocol,
        via,
    })
}

/// Settings of the calling thread's namespace that are not as they should be. One that the kernel does not have is not wrong.
fn wrong_settings() -> BTreeSet<(&'static str, &'static str)> {
    // Where they cannot be read the attempt to write them says why.
    let Ok(directories) = Directories::open() else {
        return BTreeSet::from(SETTINGS);
    };
    SETTINGS
        .into_iter()
        .filter(|(path, value)| directories.differs(path, value))
        .collect()
}
