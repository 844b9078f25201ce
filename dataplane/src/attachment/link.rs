//! One interface as the kernel reports it.

use std::os::fd::AsRawFd;

use libc::{ENODEV, IFF_UP};

use crate::{
    ALIAS_PREFIX, Error, LINK_GROUP,
    mac::Mac,
    netlink::{
        AF_UNSPEC, Batch, IFLA_ADDRESS, IFLA_EXT_MASK, IFLA_GROUP, IFLA_IFALIAS, IFLA_IFNAME,
        IFLA_LINK, IFLA_LINK_NETNSID, IFLA_MTU, NETNSA_FD, NETNSA_NSID, NLM_F_DUMP,
        RTEXT_FILTER_SKIP_STATS, RTM_GETLINK, RTM_GETNSID, RTM_NEWLINK, Socket, attributes,
        ifinfomsg, read_str, read_u32,
    },
    netns::Netns,
};

/// Bytes of `struct ifinfomsg`.
const HEADER: usize = 16;
/// `struct rtgenmsg` with its padding.
const RTGENMSG: [u8; 4] = [AF_UNSPEC, 0, 0, 0];

/// An interface, as far as attachments care.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Seen {
    pub(super) index: u32,
    /// Index of the other end, in its own namespace.
    pub(super) peer_index: u32,
    /// Number of that namespace in this one; none when it is this one.
    pub(super) peer_netns: Option<u32>,
    pub(super) name: String,
    pub(super) alias: String,
    pub(super) group: u32,
    pub(super) mac: Mac,
    pub(super) mtu: u32,
    pub(super) is_up: bool,
}

impl Seen {
    /// True when it carries beemesh's mark.
    pub(super) fn is_marked(&self) -> bool {
        self.group == LINK_GROUP || self.alias.starts_with(ALIAS_PREFIX)
    }

    /// True when it carries beemesh's mark and no other alias than `alias`; none yet when its maker was killed.
    pub(super) fn is_marked_as(&self, alias: &str) -> bool {
        self.is_marked() && (self.alias.is_empty() || self.alias == alias)
    }

    fn read(payload: &[u8]) -> Option<Self> {
        let mut seen = Self {
            index: read_u32(payload.get(4..)?)?,
            is_up: read_u32(payload.get(8..)?)? & IFF_UP.cast_unsigned() != 0,
            ..Self::default()
        };
        for attribute in attributes(payload.get(HEADER..)?) {
            let value = attribute.value;
            match attribute.kind {
                IFLA_IFNAME => seen.name = read_str(value),
                IFLA_IFALIAS => seen.alias = read_str(value),
                IFLA_LINK => seen.peer_index = read_u32(value)?,
                IFLA_LINK_NETNSID => seen.peer_netns = read_u32(value),
                IFLA_GROUP => seen.group = read_u32(value)?,
                IFLA_MTU => seen.mtu = read_u32(value)?,
                IFLA_ADDRESS => seen.mac = value.try_into().unwrap_or_default(),
                _ => {}
            }
        }
        Some(seen)
    }
}

/// The interface called `name` in the socket's namespace.
pub(super) fn find(socket: &mut Socket, name: &str) -> Result<Option<Seen>, Error> {
    let mut batch = Batch::new();
    batch
        .message(RTM_GETLINK, 0, &ifinfomsg(AF_UNSPEC, 0, 0, 0))
        .string(IFLA_IFNAME, name)
        .u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    let mut found = None;
    let each = |kind, payload: &[u8]| {
        if kind == RTM_NEWLINK {
            found = Seen::read(payload);
        }
    };
    match socket.dump(&mut batch, each) {
        Err(Error::Refused { source, .. }) if source.errno == ENODEV => Ok(None),
        result => result.map(|()| found),
    }
}

/// Every interface in the socket's namespace.
pub(super) fn list(socket: &mut Socket) -> Result<Vec<Seen>, Error> {
    let mut batch = Batch::new();
    batch
        .message(RTM_GETLINK, NLM_F_DUMP, &ifinfomsg(AF_UNSPEC, 0, 0, 0))
        .u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    let mut links = Vec::new();
    socket.dump(&mut batch, |kind, payload| {
        if kind == RTM_NEWLINK {
            links.extend(Seen::read(payload));
        }
    })?;
    Ok(links)
}

/// The number by which the socket's namespace knows another. It has one once an interface whose peer
/// is there was listed.
pub(super) fn number(socket: &mut Socket, netns: &Netns) -> Result<Option<u32>, Error> {
    let mut batch = Batch::new();
    batch
        .message(RTM_GETNSID, 0, &RTGENMSG)
        .u32(NETNSA_FD, netns.as_raw_fd().cast_unsigned());
    let mut number = None;
    socket.dump(&mut batch, |_, payload| {
        let mut found = attributes(payload.get(RTGENMSG.len()..).unwrap_or_default());
        let found = found.find(|attribute| attribute.kind == NETNSA_NSID);
        number = found.and_then(|attribute| read_u32(attribute.value));
    })?;
    Ok(number.filter(|number| *number != u32::MAX))
}
