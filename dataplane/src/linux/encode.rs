//! Operations as netlink messages.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    os::fd::RawFd,
};

use ipnetwork::IpNetwork;

use crate::{
    mac::Mac,
    netlink::*,
    observed::{Rule, SeenLink},
    operation::Operation,
    state::{ALIAS_PREFIX, ATTACHMENT_PROTOCOL, Balance, LINK_GROUP, Link, LinkKind, PROTOCOL},
};

/// In every namespace `lo` is the first interface.
const LOOPBACK: u32 = 1;

/// Writes the message for an operation in one namespace, whose interfaces are `links`.
///
/// # Errors
/// The name of an interface that is not there.
pub(super) fn operation(
    batch: &mut Batch,
    operation: &Operation,
    links: &BTreeMap<String, SeenLink>,
) -> Result<(), String> {
    let index = |name: &str| {
        links
            .get(name)
            .map(|link| link.index)
            .ok_or_else(|| name.to_owned())
    };
    match operation {
        Operation::DeleteLink { name } => {
            // Absent is deleted.
            if let Ok(index) = index(name) {
                batch.message(RTM_DELLINK, 0, &ifinfomsg(AF_UNSPEC, index, 0, 0));
            }
        }
        Operation::CreateLink { name, link } | Operation::ChangeLink { name, link } => {
            let now = links.get(name).ok_or_else(|| name.clone())?;
            if (now.mtu, &now.alias) != (link.mtu, &link.alias) {
                change_link(batch, now, link);
            }
        }
        Operation::AddRule(rule) => add_rule(batch, *rule),
        // An interface that was deleted meanwhile is recreated by the CNI plugin.
        Operation::EnableLink { name } => {
            if let Ok(index) = index(name) {
                enable(batch, index);
            }
        }
        Operation::AddGateway { link, address } => {
            if let Ok(index) = index(link) {
                add_gateway(batch, index, *address);
            }
        }
        Operation::AddAddress(address) => self::address(batch, RTM_NEWADDR, *address),
        Operation::DeleteAddress(address) => self::address(batch, RTM_DELADDR, *address),
        Operation::SetNeighbour { link, address, mac } => {
            set_neighbour(batch, index(link)?, *address, *mac, PROTOCOL);
        }
        Operation::DeleteNeighbour { link, address } => {
            if let Ok(index) = index(link) {
                let header = ndmsg(family(*address), index, 0, 0);
                batch
                    .message(RTM_DELNEIGH, 0, &header)
                    .ip(NDA_DST, *address);
            }
        }
        Operation::SetForwarding { link, mac, remote } => {
            forwarding(batch, RTM_NEWNEIGH, index(link)?, *mac, *remote);
        }
        Operation::DeleteForwarding { link, mac, remote } => {
            if let Ok(index) = index(link) {
                forwarding(batch, RTM_DELNEIGH, index, *mac, *remote);
            }
        }
        Operation::SetNexthop { id, link, gateway } => {
            let header = nhmsg(family(*gateway), PROTOCOL, RTNH_F_ONLINK);
            batch
                .message(RTM_NEWNEXTHOP, NLM_F_CREATE | NLM_F_REPLACE, &header)
                .u32(NHA_ID, *id)
                .u32(NHA_OIF, index(link)?)
                .ip(NHA_GATEWAY, *gateway);
        }
        Operation::SetGroup {
            id,
            members,
            balance,
        } => group(batch, *id, members, *balance),
        Operation::SetRoute {
            prefix,
            group,
            replace,
        } => {
            let how = if *replace { NLM_F_REPLACE } else { NLM_F_EXCL };
            let flags = NLM_F_CREATE | how;
            route(batch, RTM_NEWROUTE, flags, *prefix, RT_SCOPE_UNIVERSE).u32(RTA_NH_ID, *group);
        }
        Operation::SetPodRoute {
            address,
            link,
            replace,
        } => {
            let how = if *replace { NLM_F_REPLACE } else { NLM_F_EXCL };
            if let Ok(index) = index(link) {
                pod_route(batch, NLM_F_CREATE | how, *address, index);
            }
        }
        Operation::SetUnreachable { prefix, replace } => {
            let how = if *replace { NLM_F_REPLACE } else { NLM_F_EXCL };
            unreachable(batch, NLM_F_CREATE | how, *prefix);
        }
        Operation::SetDeviceRoute { prefix, link } => {
            let flags = NLM_F_CREATE | NLM_F_REPLACE;
            route(batch, RTM_NEWROUTE, flags, *prefix, RT_SCOPE_LINK).u32(RTA_OIF, index(link)?);
        }
        Operation::DeleteRoute(prefix) => {
            route(batch, RTM_DELROUTE, 0, *prefix, RT_SCOPE_NOWHERE);
        }
        Operation::DeleteNexthop(id) => {
            batch
                .message(RTM_DELNEXTHOP, 0, &nhmsg(AF_UNSPEC, 0, 0))
                .u32(NHA_ID, *id);
        }
        Operation::CreateNamespace => enable(batch, LOOPBACK),
        Operation::WriteSetting { .. } | Operation::DeleteNamespace => {}
    }
    Ok(())
}

/// `RT_SCOPE_NOWHERE`: a deletion that matches any scope.
const RT_SCOPE_NOWHERE: u8 = 255;

/// True when a refusal means that the operation was done already.
pub(super) fn is_done(operation: &Operation, errno: i32) -> bool {
    match operation {
        Operation::DeleteLink { .. }
        | Operation::DeleteNeighbour { .. }
        | Operation::DeleteForwarding { .. }
        | Operation::DeleteAddress(_)
        | Operation::DeleteRoute(_)
        | Operation::DeleteNexthop(_) => {
            matches!(
                errno,
                libc::ENOENT | libc::ESRCH | libc::ENODEV | libc::EADDRNOTAVAIL
            )
        }
        Operation::AddAddress(_) | Operation::AddGateway { .. } | Operation::AddRule(_) => {
            errno == libc::EEXIST
        }
        _ => false,
    }
}

/// Brings an interface up.
fn enable(batch: &mut Batch, index: u32) {
    let up = libc::IFF_UP.cast_unsigned();
    batch.message(RTM_SETLINK, 0, &ifinfomsg(AF_UNSPEC, index, up, up));
}

/// Sets what can be set later. A link that has no alias yet was never finished and is brought up too; one that has was
/// disabled by somebody else.
fn change_link(batch: &mut Batch, now: &SeenLink, link: &Link) {
    let up = match now.alias.starts_with(ALIAS_PREFIX) {
        true => 0,
        false => libc::IFF_UP.cast_unsigned(),
    };
    batch
        .message(RTM_SETLINK, 0, &ifinfomsg(AF_UNSPEC, now.index, up, up))
        .u32(IFLA_MTU, link.mtu)
        .bytes(IFLA_IFALIAS, link.alias.as_bytes());
}

/// Writes the message that makes a link in `netns`, up at once, and its peer in `peer`, which cannot be up before the
/// link is whole. It is sent from the host's namespace, where a VXLAN's socket stays. The group is the mark that a link has
/// from its first moment; the alias follows when it is finished.
pub(super) fn create_link(
    batch: &mut Batch,
    name: &str,
    link: &Link,
    netns: RawFd,
    peer: Option<RawFd>,
) {
    let up = libc::IFF_UP.cast_unsigned();
    let header = ifinfomsg(AF_UNSPEC, 0, up, up);
    let mut message = batch.message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &header);
    end(&mut message, name, link.mac, link.mtu, netns);
    message.nested(IFLA_LINKINFO, &[], |info| match &link.kind {
        LinkKind::Veth { peer_name, .. } => {
            info.bytes(IFLA_INFO_KIND, b"veth")
                .nested(IFLA_INFO_DATA, &[], |data| {
                    let header = ifinfomsg(AF_UNSPEC, 0, 0, 0);
                    data.nested(VETH_INFO_PEER, &header, |data| {
                        end(
                            data,
                            peer_name,
                            link.peer_mac,
                            link.mtu,
                            peer.unwrap_or(netns),
                        );
                    });
                });
        }
        LinkKind::Vxlan {
            vni, port, local, ..
        } => {
            info.bytes(IFLA_INFO_KIND, b"vxlan")
                .nested(IFLA_INFO_DATA, &[], |data| {
                    let kind = if local.is_ipv4() {
                        IFLA_VXLAN_LOCAL
                    } else {
                        IFLA_VXLAN_LOCAL6
                    };
                    data.u32(IFLA_VXLAN_ID, *vni)
                        .ip(kind, *local)
                        .u8(IFLA_VXLAN_LEARNING, 0)
                        .bytes(IFLA_VXLAN_PORT, &port.to_be_bytes());
                });
        }
        LinkKind::Attachment => {}
    });
}

fn end(message: &mut Message<'_>, name: &str, mac: Mac, mtu: u32, netns: RawFd) {
    message
        .string(IFLA_IFNAME, name)
        .bytes(IFLA_ADDRESS, &mac)
        .u32(IFLA_MTU, mtu)
        .u32(IFLA_GROUP, LINK_GROUP)
        // A veth queues on the receiver's processors: more queues cost memory and win nothing.
        .u32(IFLA_NUM_TX_QUEUES, 1)
        .u32(IFLA_NUM_RX_QUEUES, 1)
        .u32(IFLA_NET_NS_FD, netns.cast_unsigned());
}

fn address(batch: &mut Batch, kind: u16, address: IpNetwork) {
    // A gateway of pods is answered for, and never the source of what the Forwarder sends.
    let scope = match address.ip() {
        IpAddr::V4(address) if address.is_link_local() => RT_SCOPE_HOST,
        _ => RT_SCOPE_UNIVERSE,
    };
    let header = ifaddrmsg(family(address.ip()), address.prefix(), 0, scope, LOOPBACK);
    let flags = if kind == RTM_NEWADDR {
        NLM_F_CREATE | NLM_F_EXCL
    } else {
        0
    };
    let mut message = batch.message(kind, flags, &header);
    message.ip(IFA_LOCAL, address.ip());
    if kind == RTM_NEWADDR {
        message.u8(IFA_PROTO, PROTOCOL);
    }
}

fn add_gateway(batch: &mut Batch, index: u32, address: IpAddr) {
    let length = if address.is_ipv4() { 32 } else { 128 };
    let flags = libc::IFA_F_NODAD as u8;
    let header = ifaddrmsg(family(address), length, flags, RT_SCOPE_UNIVERSE, index);
    batch
        .message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &header)
        .ip(IFA_LOCAL, address)
        .ip(IFA_ADDRESS, address);
}

fn add_rule(batch: &mut Batch, rule: Rule) {
    let family = if rule.is_ipv4 { AF_INET } else { AF_INET6 };
    // `struct fib_rule_hdr`.
    let header = [family, 0, 0, 0, rule.table, 0, 0, FR_ACT_TO_TBL, 0, 0, 0, 0];
    batch
        .message(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, &header)
        .u32(FRA_PRIORITY, rule.priority())
        .u32(FRA_TABLE, rule.table.into())
        .u8(FRA_PROTOCOL, PROTOCOL);
}

/// Writes the message that makes or changes a permanent neighbour.
pub(crate) fn set_neighbour(
    batch: &mut Batch,
    index: u32,
    address: IpAddr,
    mac: Mac,
    protocol: u8,
) {
    let header = ndmsg(family(address), index, NUD_PERMANENT, 0);
    batch
        .message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &header)
        .ip(NDA_DST, address)
        .bytes(NDA_LLADDR, &mac)
        .u8(NDA_PROTOCOL, protocol);
}

fn forwarding(batch: &mut Batch, kind: u16, index: u32, mac: Mac, remote: IpAddr) {
    let header = ndmsg(AF_BRIDGE, index, NUD_PERMANENT | NUD_NOARP, NTF_SELF);
    let flags = if kind == RTM_NEWNEIGH {
        NLM_F_CREATE | NLM_F_REPLACE
    } else {
        0
    };
    batch
        .message(kind, flags, &header)
        .bytes(NDA_LLADDR, &mac)
        .ip(NDA_DST, remote);
}

/// Makes or replaces a group.
pub(super) fn group(batch: &mut Batch, id: u32, members: &BTreeSet<u32>, balance: Balance) {
    // `struct nexthop_grp`: id, weight - 1, padding.
    let entries: Vec<u8> = members
        .iter()
        .flat_map(|id| {
            let [a, b, c, d] = id.to_ne_bytes();
            [a, b, c, d, 0, 0, 0, 0]
        })
        .collect();
    let header = nhmsg(AF_UNSPEC, PROTOCOL, 0);
    let mut message = batch.message(RTM_NEWNEXTHOP, NLM_F_CREATE | NLM_F_REPLACE, &header);
    message.u32(NHA_ID, id).bytes(NHA_GROUP, &entries);
    if let Balance::Resilient { buckets, idle } = balance {
        // The kernel counts in hundredths of a second (USER_HZ).
        let idle = u32::try_from(idle.as_millis() / 10).unwrap_or(u32::MAX);
        message
            .u16(NHA_GROUP_TYPE, NEXTHOP_GRP_TYPE_RES)
            .nested(NHA_RES_GROUP, &[], |group| {
                group
                    .u16(NHA_RES_GROUP_BUCKETS, buckets)
                    .u32(NHA_RES_GROUP_IDLE_TIMER, idle);
            });
    }
}

/// Changes the members of a group and nothing else.
pub(super) fn edit_group(batch: &mut Batch, id: u32, members: &BTreeSet<u32>, balance: Balance) {
    match balance {
        Balance::Resilient { buckets, .. } => {
            let idle = match Balance::RESILIENT {
                Balance::Resilient { idle, .. } => idle,
                Balance::HashThreshold => std::time::Duration::ZERO,
            };
            group(batch, id, members, Balance::Resilient { buckets, idle });
        }
        Balance::HashThreshold => group(batch, id, members, balance),
    }
}

/// A nexthop that drops everything. It needs `lo` up.
pub(super) fn blackhole(batch: &mut Batch, id: u32) {
    enable(batch, LOOPBACK);
    batch
        .message(RTM_NEWNEXTHOP, NLM_F_CREATE, &nhmsg(AF_INET, 0, 0))
        .u32(NHA_ID, id)
        .flag(NHA_BLACKHOLE);
}

/// The route of an attachment to one address of its pod.
fn pod_route(batch: &mut Batch, flags: u16, address: IpAddr, index: u32) {
    let (length, scope) = match address {
        IpAddr::V4(_) => (32, RT_SCOPE_LINK),
        IpAddr::V6(_) => (128, RT_SCOPE_UNIVERSE),
    };
    let header = rtmsg(family(address), length, ATTACHMENT_PROTOCOL, scope);
    batch
        .message(RTM_NEWROUTE, flags, &header)
        .ip(RTA_DST, address)
        .u32(RTA_OIF, index);
}

fn unreachable(batch: &mut Batch, flags: u16, prefix: IpNetwork) {
    let address = prefix.ip();
    let mut header = rtmsg(
        family(address),
        prefix.prefix(),
        PROTOCOL,
        RT_SCOPE_UNIVERSE,
    );
    header[7] = RTN_UNREACHABLE;
    batch
        .message(RTM_NEWROUTE, flags, &header)
        .ip(RTA_DST, prefix.network());
}

fn route(batch: &mut Batch, kind: u16, flags: u16, prefix: IpNetwork, scope: u8) -> Message<'_> {
    let mut header = rtmsg(family(prefix.ip()), prefix.prefix(), PROTOCOL, scope);
    if kind == RTM_DELROUTE {
        // Of any type: an unreachable one too.
        header[7] = libc::RTN_UNSPEC;
    }
    let mut message = batch.message(kind, flags, &header);
    message.ip(RTA_DST, prefix.network());
    message
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { AF_INET } else { AF_INET6 }
}
