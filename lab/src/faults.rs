//! Faults of links, Forwarders and nodes, and their repair: each part is brought to the state that the record asks for, so
//! that any verb may be repeated, and a killed one be finished by `heal`.
//!
//! - cut: both ends are set down, as when a cable is pulled;
//! - silent cut: both ends look up and drop all that arrives, as when a switch on the way fails; one way: one end does;
//! - slow: both ends send through a token bucket;
//! - kill: nothing goes in or out of a Forwarder, as when it loses power;
//! - nodes: their daemons stop or die, or their network falls apart.

mod nft;
pub(crate) mod nodes;
mod plan;
mod tbf;

use std::collections::BTreeSet;

use crds::Forwarder;
use crds::names::LINK_PREFIX;
pub(crate) use crds::names::netns_of as netns;
use dataplane::netlink::{
    self, Batch, IFLA_IFNAME, NLM_F_DUMP, RTM_GETLINK, RTM_NEWLINK, Socket, attributes, read_str,
};
use dataplane::netns::Netns;
use nix::libc;
use nix::net::if_::if_nametoindex;

use crate::faults::plan::EndFaults;
use crate::state::directory::{Faults, Limit};
use console::failure::Failure;
use probe::namespace;

/// One end of a link: the namespace and the interface in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// Name of the namespace.
    pub(crate) netns: String,
    /// The Forwarder of that namespace.
    pub(crate) forwarder: String,
    /// The interface.
    pub(crate) interface: String,
}

/// Ends of the link `id`; `None` for an unknown link.
pub(crate) fn ends(forwarders: &[Forwarder], id: &str) -> Option<[End; 2]> {
    let mut ends = forwarders.iter().filter_map(|forwarder| {
        let link = forwarder.spec.links.iter().find(|link| link.id == id)?;
        Some(End {
            netns: netns(forwarder),
            forwarder: forwarder.spec.name.clone(),
            interface: link.interface(),
        })
    });
    Some([ends.next()?, ends.next()?])
}

/// Brings all links and Forwarders with a fault, `before` or `now`, to their state `now`. A refused part does not keep the
/// others from theirs.
///
/// # Errors
/// [`Failure::Failed`] with the kernel's first refusal.
pub(crate) fn enforce(
    forwarders: &[Forwarder],
    before: &Faults,
    now: &Faults,
) -> Result<(), Failure> {
    let mut links: BTreeSet<&String> = before.links();
    links.extend(now.links());
    let mut result = Ok(());
    for forwarder in forwarders {
        let name = &forwarder.spec.name;
        if before.killed.contains(name) || now.killed.contains(name) {
            links.extend(forwarder.spec.links.iter().map(|link| &link.id));
            result = result.and(cut_apps_off(forwarder, now.killed.contains(name)));
        }
    }
    for link in links {
        let is_limited = before.slow.contains_key(link) || now.slow.contains_key(link);
        let wanted: Vec<(End, EndFaults)> = ends(forwarders, link)
            .into_iter()
            .flatten()
            .map(|end| {
                let wanted = now.of_end(link, &end.forwarder);
                (end, wanted)
            })
            // A fault of what is not there is healed already.
            .filter(|(end, wanted)| *wanted != EndFaults::default() || is_there(&end.netns))
            .collect();
        result = result.and(set_ends(&wanted, is_limited));
    }
    result
}

/// Brings the ends of a link to their wanted state: down first, and up last.
fn set_ends(wanted: &[(End, EndFaults)], is_limited: bool) -> Result<(), Failure> {
    for (end, _) in wanted.iter().filter(|(_, wanted)| wanted.is_down) {
        set_up(&end.netns, &end.interface, false)?;
    }
    for (end, wanted) in wanted {
        set_silent(&end.netns, &end.interface, wanted.is_deaf)?;
        if is_limited {
            set_limit(end, wanted.limit)?;
        }
    }
    for (end, _) in wanted.iter().filter(|(_, wanted)| !wanted.is_down) {
        set_up(&end.netns, &end.interface, true)?;
    }
    Ok(())
}

fn is_there(netns: &str) -> bool {
    namespace::path(netns).exists()
}

/// Drops packets from a Forwarder's Apps, or stops to do so.
///
/// The Apps' interfaces stay up: otherwise the kernel would remove their routes, which only a new
/// attachment restores.
fn cut_apps_off(forwarder: &Forwarder, is_cut_off: bool) -> Result<(), Failure> {
    let netns = netns(forwarder);
    if !is_cut_off && !is_there(&netns) {
        return Ok(());
    }
    let mut interfaces = interfaces(&netns)?.into_iter();
    interfaces.try_for_each(|name| match name.starts_with(LINK_PREFIX) {
        true => Ok(()),
        false => set_silent(&netns, &name, is_cut_off),
    })
}

/// Limits what the end sends, or removes the limit.
fn set_limit(end: &End, limit: Option<Limit>) -> Result<(), Failure> {
    let interface = end.interface.clone();
    let index = namespace::within(&end.netns, move || {
        if_nametoindex(interface.as_str()).map_err(Into::into)
    });
    let index = match (index, limit) {
        (Ok(index), _) => index,
        (Err(_), None) => return Ok(()),
        (Err(error), Some(_)) => return Err(failed(&end.interface, &error)),
    };
    let mut batch = Batch::new();
    match limit {
        Some(limit) => tbf::add_limit(&mut batch, index, limit),
        None => tbf::remove_limit(&mut batch, index),
    }
    let absent: &[i32] = match limit {
        Some(_) => &[],
        None => &[libc::ENOENT, libc::EINVAL],
    };
    run(&end.netns, &mut batch, &end.interface, absent)
}

/// Sets an interface down or up.
///
/// # Errors
/// [`Failure::Failed`] with the kernel's refusal.
pub(crate) fn set_up(netns: &str, interface: &str, is_up: bool) -> Result<(), Failure> {
    let up = libc::IFF_UP as u32;
    let header = netlink::ifinfomsg(0, 0, if is_up { up } else { 0 }, up);
    let mut batch = Batch::new();
    batch
        .message(RTM_NEWLINK, 0, &header)
        .string(IFLA_IFNAME, interface);
    // Repairing a working link is success.
    run(netns, &mut batch, interface, &[libc::ENOENT])
}

/// Names of all interfaces of a namespace except loopback.
fn interfaces(netns: &str) -> Result<Vec<String>, Failure> {
    const HEADER: usize = 16;
    let mut batch = Batch::new();
    batch.message(RTM_GETLINK, NLM_F_DUMP, &netlink::ifinfomsg(0, 0, 0, 0));
    let mut names = BTreeSet::new();
    let dumped = open(netns).and_then(|mut socket| {
        let dumped = socket.dump(&mut batch, |_, message| {
            let name = attributes(message.get(HEADER..).unwrap_or_default())
                .find(|attribute| attribute.kind == IFLA_IFNAME);
            names.extend(name.map(|name| read_str(name.value)));
        });
        dumped.map_err(|error| failed(netns, &error))
    });
    dumped?;
    names.remove("lo");
    Ok(names.into_iter().collect())
}

/// Starts or stops a silent drop of all packets that arrive at an interface; carrier stays up.
fn set_silent(netns: &str, interface: &str, is_silent: bool) -> Result<(), Failure> {
    let set = if is_silent { nft::begin } else { nft::end };
    set(netns, interface).map_err(|error| failed(interface, &error))
}

fn open(netns: &str) -> Result<Socket, Failure> {
    Netns::open(netns)
        .and_then(|opened| opened.run(Socket::open)?)
        .map_err(|error| failed(netns, &error))
}

/// Runs the requests; refusals with an error of `absent` count as done.
fn run(netns: &str, batch: &mut Batch, what: &str, absent: &[i32]) -> Result<(), Failure> {
    let refusals = open(netns)?
        .run(batch)
        .map_err(|error| failed(what, &error))?;
    match refusals.iter().find(|it| !absent.contains(&it.errno)) {
        None => Ok(()),
        Some(refusal) => Err(failed(what, refusal)),
    }
}

fn failed(what: &str, error: &dyn std::error::Error) -> Failure {
    let cause = error
        .source()
        .map(|cause| format!(": {cause}"))
        .unwrap_or_default();
    Failure::Failed(format!("failed to change {what}: {error}{cause}"))
}
