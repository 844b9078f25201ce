//! Making an attachment, all or nothing.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use libc::{EEXIST, IFA_F_NODAD, IFF_UP};

use super::{PodLink, link, verify};
use crate::{ATTACHMENT_PROTOCOL, Error, LINK_GROUP, mac::Mac, netlink::*, netns::Netns};

/// Longest alias that the kernel keeps, in bytes (`IFALIASZ` without its zero byte).
const MAX_ALIAS: usize = 255;

/// Wires a pod: one batch makes the pair, one completes each end.
///
/// A Forwarder's end of the same name that carries our mark is what a killed attempt left behind:
/// it goes first. Any other interface in the way, in either namespace, is an error.
///
/// # Errors
/// [`Error::Foreign`] when an interface name is taken; nothing was changed then. After any other
/// error nothing is left of the attachment.
pub fn wire(pod: &Netns, forwarder: &Netns, attachment: &PodLink) -> Result<(), Error> {
    let mut forwarder_socket = Socket::open_in(forwarder)?;
    let mut pod_socket = Socket::open_in(pod)?;
    create(&mut forwarder_socket, pod, attachment)?;
    let mut pair = Pair {
        socket: &mut forwarder_socket,
        attachment,
        is_kept: false,
    };
    let Some(seen) = link::find(&mut pod_socket, &attachment.pod_interface)? else {
        return Err(vanished(&attachment.pod_interface));
    };
    complete_pod(&mut pod_socket, pod, attachment, seen.index)?;
    complete_forwarder(pair.socket, attachment, seen.peer_index)?;
    pair.is_kept = true;
    Ok(())
}

/// Restores what the pod's end lost while it was down: the kernel removes routes and neighbours with the link. False when it is
/// absent, not this attachment's, down, or complete. An administratively down end stays down.
///
/// # Errors
/// What the kernel refuses. A route that another plugin has made meanwhile is left.
pub fn restore(pod: &Netns, attachment: &PodLink) -> Result<bool, Error> {
    let mut socket = Socket::open_in(pod)?;
    let seen = link::find(&mut socket, &attachment.pod_interface)?;
    let Some(seen) = seen.filter(|seen| seen.is_up && seen.alias == attachment.owner) else {
        return Ok(false);
    };
    let mut found = verify::routes_of(&mut socket, seen.index, true)?;
    found.extend(verify::routes_of(&mut socket, seen.index, false)?);
    let lost = attachment
        .routes
        .iter()
        .filter(|route| route.prefix() != 0 && !found.contains(route));
    if lost.count() == 0 {
        return Ok(false);
    }
    let mut plan = Plan::default();
    plan.contents(attachment, seen.index);
    let refused = refusals(&mut socket, plan)?.into_iter();
    first(refused.filter(|(_, rejection)| rejection.errno != EEXIST))?;
    Ok(true)
}

/// A new veth pair, deleted again unless it is kept.
struct Pair<'a> {
    socket: &'a mut Socket,
    attachment: &'a PodLink,
    is_kept: bool,
}

impl Drop for Pair<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            let mut batch = Batch::new();
            batch
                .message(RTM_DELLINK, 0, &ifinfomsg(AF_UNSPEC, 0, 0, 0))
                .string(IFLA_IFNAME, &self.attachment.forwarder_interface);
            // What cannot be deleted now is found by its mark later.
            let _ = self.socket.run(&mut batch);
        }
    }
}

fn create(socket: &mut Socket, pod: &Netns, attachment: &PodLink) -> Result<(), Error> {
    let object = || format!("interface {}", attachment.pod_interface);
    for may_clear in [true, false] {
        let mut batch = Batch::new();
        pair(&mut batch, pod, attachment);
        let Some(rejection) = socket.run(&mut batch)?.into_iter().next() else {
            return Ok(());
        };
        if rejection.errno != EEXIST {
            return Err(Error::Refused {
                object: object(),
                source: rejection,
            });
        }
        let (name, alias) = (&attachment.forwarder_interface, &attachment.alias);
        if !may_clear || !super::unwire::remove(socket, name, alias)? {
            break;
        }
    }
    Err(Error::Foreign { object: object() })
}

/// Both ends at once, each with name, address, MTU and mark; the Forwarder's end up (the pod's end
/// cannot be: it has no peer yet when it is made).
fn pair(batch: &mut Batch, pod: &Netns, attachment: &PodLink) {
    use std::os::fd::AsRawFd;
    let up = IFF_UP.cast_unsigned();
    let header = ifinfomsg(AF_UNSPEC, 0, up, up);
    let mut message = batch.message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &header);
    end(
        &mut message,
        &attachment.forwarder_interface,
        attachment.forwarder_mac,
        attachment.mtu,
    );
    message.nested(IFLA_LINKINFO, &[], |message| {
        message
            .string(IFLA_INFO_KIND, "veth")
            .nested(IFLA_INFO_DATA, &[], |message| {
                message.nested(VETH_INFO_PEER, &ifinfomsg(AF_UNSPEC, 0, 0, 0), |message| {
                    end(
                        message,
                        &attachment.pod_interface,
                        attachment.pod_mac,
                        attachment.mtu,
                    );
                    message.u32(IFLA_NET_NS_FD, pod.as_raw_fd().cast_unsigned());
                });
            });
    });
}

fn end(message: &mut Message<'_>, name: &str, mac: Mac, mtu: u32) {
    message
        .string(IFLA_IFNAME, name)
        .bytes(IFLA_ADDRESS, &mac)
        .u32(IFLA_MTU, mtu)
        .u32(IFLA_GROUP, LINK_GROUP)
        .u32(IFLA_NUM_TX_QUEUES, 1)
        .u32(IFLA_NUM_RX_QUEUES, 1);
}

fn complete_pod(
    socket: &mut Socket,
    pod: &Netns,
    attachment: &PodLink,
    index: u32,
) -> Result<(), Error> {
    if attachment.addresses.iter().any(IpNetwork::is_ipv6) {
        let interface = &attachment.pod_interface;
        pod.run(|| prepare_ipv6(interface))??;
    }
    let mut plan = Plan::default();
    plan.up(index, &attachment.owner, ARP_NOTIFY);
    plan.contents(attachment, index);
    run(socket, plan)
}

fn complete_forwarder(socket: &mut Socket, attachment: &PodLink, index: u32) -> Result<(), Error> {
    let mut plan = Plan::default();
    plan.up(index, &attachment.alias, STRICT_SOURCE);
    // A node that resolves addresses behind the pod needs a link-local address (RFC 4861, section 7.2.2).
    for gateway in attachment
        .gateways
        .iter()
        .filter(|gateway| gateway.is_ipv6())
    {
        plan.address(index, *gateway);
    }
    for address in &attachment.addresses {
        plan.neighbour(index, address.ip(), attachment.pod_mac, LEARNED);
        plan.route(index, &IpNetwork::from(address.ip()), None);
    }
    run(socket, plan)
}

/// IPv6 settings of the pod's end, in the calling thread's namespace: on, as container runtimes make namespaces with IPv6 off;
/// addresses outlive a link that goes down; a new MAC address is announced.
fn prepare_ipv6(interface: &str) -> Result<(), Error> {
    // `/proc/sys/net` shows the namespace of the thread that opens it.
    let directory = format!("/proc/sys/net/ipv6/conf/{interface}");
    let is_off = |text: String| text.trim() == "1";
    let mut settings = vec![("keep_addr_on_down", "1"), ("ndisc_notify", "1")];
    if std::fs::read_to_string(format!("{directory}/disable_ipv6")).is_ok_and(is_off) {
        settings.push(("disable_ipv6", "0"));
    }
    for (name, value) in settings {
        let file = format!("{directory}/{name}");
        match std::fs::write(&file, value) {
            // A kernel without IPv6: it refuses the addresses in its own words.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            result => result.map_err(|error| Error::system("write", file, error))?,
        }
    }
    Ok(())
}

/// An IPv4 setting of one interface: its number among `IPV4_DEVCONF_`, and its value.
type Setting = (u16, u32);
/// A change of the interface's MAC address is announced.
const ARP_NOTIFY: Setting = (IPV4_DEVCONF_ARP_NOTIFY, 1);
/// Packets whose source is not routed to this interface are dropped (RFC 3704, strict).
const STRICT_SOURCE: Setting = (IPV4_DEVCONF_RP_FILTER, 1);

/// State and flags of a neighbour that nothing changes.
const PERMANENT: (u16, u8) = (NUD_PERMANENT, 0);
/// State and flags of a neighbour that follows what the other end announces, and is not counted against the kernel's limit.
const LEARNED: (u16, u8) = (NUD_STALE, NTF_EXT_LEARNED);

/// A batch and what each of its messages is about.
#[derive(Default)]
struct Plan {
    batch: Batch,
    objects: Vec<Object>,
}

/// Object of a message; its text is built only after a refusal.
#[derive(Clone, Copy)]
enum Object {
    Interface,
    Address(IpAddr),
    Neighbour(IpAddr),
    Route(IpNetwork),
}

impl Plan {
    fn up(&mut self, index: u32, alias: &str, (setting, value): Setting) {
        self.objects.push(Object::Interface);
        let up = IFF_UP.cast_unsigned();
        self.batch
            .message(RTM_NEWLINK, 0, &ifinfomsg(AF_UNSPEC, index, up, up))
            .bytes(
                IFLA_IFALIAS,
                &alias.as_bytes()[..alias.len().min(MAX_ALIAS)],
            )
            .nested(IFLA_AF_SPEC, &[], |families| {
                families.nested(u16::from(AF_INET), &[], |ipv4| {
                    ipv4.nested(IFLA_INET_CONF, &[], |settings| {
                        settings.u32(setting, value);
                    });
                });
            });
    }

    /// Addresses, neighbours and routes of the pod's end.
    fn contents(&mut self, attachment: &PodLink, index: u32) {
        for address in &attachment.addresses {
            self.address(index, address.ip());
        }
        for gateway in &attachment.gateways {
            self.neighbour(index, *gateway, attachment.forwarder_mac, PERMANENT);
        }
        for route in &attachment.routes {
            self.route(index, route, attachment.gateway(route));
        }
    }

    fn address(&mut self, index: u32, address: IpAddr) {
        self.objects.push(Object::Address(address));
        let (family, length) = family(address);
        self.batch
            .message(
                RTM_NEWADDR,
                NLM_F_CREATE | NLM_F_REPLACE,
                // Without detection of duplicates: the node gives each address once.
                &ifaddrmsg(family, length, IFA_F_NODAD as u8, RT_SCOPE_UNIVERSE, index),
            )
            .ip(IFA_LOCAL, address)
            .ip(IFA_ADDRESS, address);
    }

    fn neighbour(&mut self, index: u32, address: IpAddr, mac: Mac, (state, flags): (u16, u8)) {
        self.objects.push(Object::Neighbour(address));
        let header = ndmsg(family(address).0, index, state, flags);
        self.batch
            .message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &header)
            .ip(NDA_DST, address)
            .bytes(NDA_LLADDR, &mac)
            .u8(NDA_PROTOCOL, ATTACHMENT_PROTOCOL);
    }

    /// One that exists is another's.
    fn route(&mut self, index: u32, destination: &IpNetwork, gateway: Option<IpAddr>) {
        self.objects.push(Object::Route(*destination));
        let is_link_scope = gateway.is_none() && destination.is_ipv4();
        let scope = if is_link_scope {
            RT_SCOPE_LINK
        } else {
            RT_SCOPE_UNIVERSE
        };
        let (family, length) = (family(destination.ip()).0, destination.prefix());
        let mut header = rtmsg(family, length, ATTACHMENT_PROTOCOL, scope);
        if gateway.is_some() {
            header[8..].copy_from_slice(&RTNH_F_ONLINK.to_ne_bytes());
        }
        let mut message = self
            .batch
            .message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &header);
        message
            .ip(RTA_DST, destination.network())
            .u32(RTA_OIF, index);
        if let Some(gateway) = gateway {
            message.ip(RTA_GATEWAY, gateway);
        }
    }
}

impl Object {
    /// CNI 1.1: a plugin skips its default route where another network has one.
    fn may_exist(&self) -> bool {
        matches!(self, Self::Route(destination) if destination.prefix() == 0)
    }
}

impl std::fmt::Display for Object {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Interface => write!(formatter, "an interface of the pair"),
            Self::Address(address) => write!(formatter, "address {address}"),
            Self::Neighbour(address) => write!(formatter, "neighbour {address}"),
            Self::Route(destination) => write!(formatter, "route {destination}"),
        }
    }
}

fn run(socket: &mut Socket, plan: Plan) -> Result<(), Error> {
    first(refusals(socket, plan)?)
}

/// Refusals of the kernel, in order.
fn refusals(socket: &mut Socket, mut plan: Plan) -> Result<Vec<(Object, Rejection)>, Error> {
    let rejections = socket.run(&mut plan.batch)?.into_iter();
    let refused = rejections.map(|rejection| (plan.objects[rejection.index], rejection));
    let counts = |(object, rejection): &(Object, Rejection)| {
        !(rejection.errno == EEXIST && object.may_exist())
    };
    Ok(refused.filter(counts).collect())
}

fn first(refused: impl IntoIterator<Item = (Object, Rejection)>) -> Result<(), Error> {
    match refused.into_iter().next() {
        None => Ok(()),
        Some((object, source)) => Err(Error::Refused {
            object: object.to_string(),
            source,
        }),
    }
}

fn family(address: IpAddr) -> (u8, u8) {
    match address {
        IpAddr::V4(_) => (AF_INET, 32),
        IpAddr::V6(_) => (AF_INET6, 128),
    }
}

fn vanished(interface: &str) -> Error {
    Error::system(
        "find",
        format!("interface {interface}"),
        nix::errno::Errno::ENODEV,
    )
}
