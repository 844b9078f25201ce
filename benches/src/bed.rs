//! Two fresh namespaces joined by veth links, and the same routes for both sides of a comparison.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr},
};

use anyhow::{Context as _, Result};
use dataplane::{
    Applied, Kernel, Link, LinkKind, Namespace, Routes, Target, converge, mac::link_mac,
};
use ipnetwork::IpNetwork;

use crate::harness::{bench::Context, netns::Netns};

/// Links between the two namespaces.
pub(crate) const LINKS: usize = 4;
/// Distinct sets of next hops: every choice of the links but none.
pub(crate) const SETS: usize = (1 << LINKS) - 1;

/// The pair as our dataplane makes it, without routes.
pub(crate) struct Ours {
    /// Namespace that the routes are in.
    pub(crate) near: Netns,
    /// Desired structure of `near`.
    pub(crate) structure: Namespace,
    _far: Netns,
}

impl Ours {
    /// Makes both namespaces with links, neighbours and next hops.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn new(context: &Context, kernel: &mut impl Kernel) -> Result<Self> {
        let (near, far) = (Netns::reserve(context), Netns::reserve(context));
        let structure = namespace(&far, ["near", "far"]);
        let desired = BTreeMap::from([
            (near.name().to_owned(), structure.clone()),
            (far.name().to_owned(), namespace(&near, ["far", "near"])),
        ]);
        check(converge(kernel, &desired))?;
        Ok(Self {
            near,
            structure,
            _far: far,
        })
    }
}

fn namespace(peer: &Netns, [this, that]: [&str; 2]) -> Namespace {
    let links = (0..LINKS).map(|number| {
        let id = format!("bench/{number}");
        let link = Link {
            kind: LinkKind::Veth {
                peer_netns: peer.name().to_owned(),
                peer_name: interface(number),
            },
            mac: link_mac(&id, this),
            peer_mac: link_mac(&id, that),
            mtu: 1500,
            alias: format!("beemesh:{id}"),
        };
        (interface(number), link)
    });
    Namespace {
        links: links.collect(),
        ..Namespace::default()
    }
}

/// Name of both ends of a link.
pub(crate) fn interface(number: usize) -> String {
    format!("l-{number}")
}

/// Fails unless all was done.
///
/// # Errors
/// With the first failure.
pub(crate) fn check(applied: Applied) -> Result<()> {
    let count = applied.failures.len();
    match applied.failures.into_iter().next() {
        None => Ok(()),
        Some(first) => Err(first).with_context(|| format!("{count} operations failed")),
    }
}

/// Pair of namespaces without our dataplane, with next hops 1 to [`LINKS`], without routes.
pub(crate) struct ByHand {
    /// Namespace that the routes are in.
    pub(crate) near: Netns,
    _far: Netns,
}

impl ByHand {
    /// Makes both namespaces.
    ///
    /// # Errors
    /// Failure of `ip`, with its message.
    pub(crate) fn new(context: &Context) -> Result<Self> {
        let (near, far) = (Netns::new(context)?, Netns::new(context)?);
        for number in 0..LINKS {
            let (name, id) = (interface(number), number + 1);
            near.ip(&format!(
                "link add {name} type veth peer name {name} netns {}",
                far.name()
            ))?;
            far.ip(&format!("link set {name} up"))?;
            near.ip(&format!("link set {name} up"))?;
            near.ip(&format!(
                "nexthop add id {id} via fe80::{id} dev {name} onlink"
            ))?;
        }
        Ok(Self { near, _far: far })
    }
}

/// The routes `first..first + count` of 10.0.0.0/8, /32 each, over all [`SETS`] in turn.
pub(crate) fn routes(count: usize) -> Routes {
    let mut routes = Routes::new();
    let targets: Vec<_> = (1..=SETS)
        .map(|set| {
            routes.intern(Target::Links(
                members(set).map(interface).collect::<BTreeSet<_>>(),
            ))
        })
        .collect();
    for number in 0..count {
        routes.insert_shared(prefix(number), targets[number % SETS]);
    }
    routes
}

/// The same for `ip -batch`: groups, then routes.
pub(crate) fn batch(count: usize) -> String {
    let mut text = String::new();
    for set in 1..=SETS {
        let ids: Vec<_> = members(set).map(|link| (link + 1).to_string()).collect();
        line(
            &mut text,
            format_args!("nexthop add id {} group {}", 100 + set, ids.join("/")),
        );
    }
    for number in 0..count {
        let group = 101 + number % SETS;
        line(
            &mut text,
            format_args!("route add {}/32 nhid {group}", address(number)),
        );
    }
    text
}

/// Adds a line to a batch.
pub(crate) fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a string takes everything");
}

fn members(set: usize) -> impl Iterator<Item = usize> {
    (0..LINKS).filter(move |link| set >> link & 1 == 1)
}

/// The destination of a route.
pub(crate) fn address(number: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a00_0000 + number as u32 + 1)
}

/// The destination of a route, /32.
pub(crate) fn prefix(number: usize) -> IpNetwork {
    IpNetwork::from(IpAddr::V4(address(number)))
}
