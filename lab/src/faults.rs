//! Faults of links and Forwarders, and their repair.
//!
//! - cut: both ends are set down, as when a cable is pulled;
//! - silent cut: both ends look up and drop all that arrives, as when a switch on the way fails;
//! - kill: nothing goes in or out of a Forwarder, as when it loses power.

mod nft;

use std::collections::BTreeSet;

use crds::Forwarder;
use crds::names::LINK_PREFIX;
pub(crate) use crds::names::netns_of as netns;
use dataplane::netlink::{
    self, Batch, IFLA_IFNAME, NLM_F_DUMP, RTM_GETLINK, RTM_NEWLINK, Socket, attributes, read_str,
};
use dataplane::netns::Netns;
use nix::libc;

use crate::state::directory::Faults;
use console::failure::Failure;

/// One end of a link: the namespace and the interface in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// Name of the namespace.
    pub(crate) netns: String,
    /// The interface.
    pub(crate) interface: String,
}

/// Ends of the link `id`; `None` for an unknown link.
pub(crate) fn ends(forwarders: &[Forwarder], id: &str) -> Option<[End; 2]> {
    let mut ends = forwarders.iter().filter_map(|forwarder| {
        let link = forwarder.spec.links.iter().find(|link| link.id == id)?;
        Some(End {
            netns: netns(forwarder),
            interface: link.interface(),
        })
    });
    Some([ends.next()?, ends.next()?])
}

/// Sets the ends of a link down or up.
///
/// # Errors
/// [`Failure::Failed`] with the kernel's refusal.
pub(crate) fn set_up(ends: &[End], is_up: bool) -> Result<(), Failure> {
    for end in ends {
        let mut batch = Batch::new();
        add_set_up(&mut batch, &end.interface, is_up);
        run(&end.netns, &mut batch, &end.interface)?;
    }
    Ok(())
}

/// Cuts a Forwarder off, or reconnects it: its links go down, and packets from its Apps are
/// dropped.
///
/// The Apps' interfaces stay up: otherwise the kernel would remove their routes, which only a new
/// attachment restores.
///
/// # Errors
/// [`Failure::Failed`] with the kernel's refusal.
pub(crate) fn set_powered(netns: &str, is_powered: bool) -> Result<(), Failure> {
    let mut batch = Batch::new();
    let (links, others): (Vec<String>, Vec<String>) = interfaces(netns)?
        .into_iter()
        .partition(|name| name.starts_with(LINK_PREFIX));
    for name in &links {
        add_set_up(&mut batch, name, is_powered);
    }
    let apps: Vec<End> = others
        .into_iter()
        .map(|interface| End {
            netns: netns.to_owned(),
            interface,
        })
        .collect();
    set_silent(&apps, !is_powered)?;
    run(netns, &mut batch, netns)
}

fn add_set_up(batch: &mut Batch, interface: &str, is_up: bool) {
    let up = libc::IFF_UP as u32;
    let header = netlink::ifinfomsg(0, 0, if is_up { up } else { 0 }, up);
    batch
        .message(RTM_NEWLINK, 0, &header)
        .string(IFLA_IFNAME, interface);
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

/// Starts or stops a silent drop of all packets that arrive at these ends; carrier stays up.
///
/// # Errors
/// [`Failure::Failed`] with the kernel's refusal, for instance without nf_tables.
pub(crate) fn set_silent(ends: &[End], is_silent: bool) -> Result<(), Failure> {
    let set = if is_silent { nft::begin } else { nft::end };
    ends.iter().try_for_each(|end| {
        set(&end.netns, &end.interface).map_err(|error| failed(&end.interface, &error))
    })
}

fn open(netns: &str) -> Result<Socket, Failure> {
    Netns::open(netns)
        .and_then(|opened| opened.run(Socket::open)?)
        .map_err(|error| failed(netns, &error))
}

fn run(netns: &str, batch: &mut Batch, what: &str) -> Result<(), Failure> {
    if batch.is_empty() {
        return Ok(());
    }
    let refusals = open(netns)?
        .run(batch)
        .map_err(|error| failed(what, &error))?;
    // Repairing a working link is success.
    match refusals
        .iter()
        .find(|refusal| refusal.errno != libc::ENOENT)
    {
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

impl Faults {
    /// True when the link between these two is down by any fault.
    pub(crate) fn takes_out(&self, link: &str, ends: [&str; 2]) -> bool {
        self.cut.contains(link)
            || self.silent.contains(link)
            || ends.iter().any(|end| self.killed.contains(*end))
    }

    /// True without a fault.
    pub(crate) fn is_empty(&self) -> bool {
        self.cut.is_empty() && self.silent.is_empty() && self.killed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_out_when_it_or_an_end_of_it_is() {
        let mut faults = Faults::default();
        assert!(!faults.takes_out("a/b", ["a", "b"]));
        faults.killed.insert("b".to_owned());
        assert!(faults.takes_out("a/b", ["a", "b"]));
        assert!(!faults.takes_out("a/c", ["a", "c"]));
        faults.silent.insert("a/c".to_owned());
        assert!(faults.takes_out("a/c", ["a", "c"]));
    }
}
