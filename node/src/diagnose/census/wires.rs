//! Links, both ends of attachments, and leases in the census.

use super::{Needed, count};
use crate::attach::leases::Lease;
use crate::attach::pod_links::{KernelPodWiring, PodWiring as _};
use crate::diagnose::NAMESPACES;
use crds::{
    Forwarder,
    diagnosis::report::{Census, Kind, Leak},
    forwarder::ForwarderLink,
};
use dataplane::{Kernel as _, LinuxKernel, Observed, SeenLink, SeenNexthop, Via, observe_again};
use std::collections::BTreeSet;

/// Links and next hops that the Forwarder does not need. Its daemon removes them at the next
/// resync.
pub(super) fn links(netns: &str, forwarder: &Forwarder, observed: &Observed) -> Vec<Leak> {
    let wanted: BTreeSet<String> = forwarder
        .spec
        .links
        .iter()
        .map(ForwarderLink::interface)
        .collect();
    let is_stray = |(name, link): &(&String, &SeenLink)| {
        link.is_ours && !link.is_attachment(name) && !wanted.contains(*name)
    };
    let used = used_next_hops(observed);
    let links = observed.links.iter().filter(is_stray).map(|(name, _)| {
        let is_used = observed.nexthops.iter().any(|(id, nexthop)| {
            let is_over = matches!(nexthop, SeenNexthop::Single { link, .. } if link == name);
            is_over && used.contains(id)
        });
        let why = match is_used {
            true => "no link of its Forwarder has this name, but routes use it",
            false => "no link of its Forwarder has this name, and no route uses it",
        };
        leak(Kind::Link, name, netns, why, !is_used)
    });
    let groups = observed.nexthops.iter().filter(|(id, nexthop)| {
        matches!(nexthop, SeenNexthop::Group { is_ours: true, .. }) && !used.contains(id)
    });
    let why = "no route names this group; its daemon removes it when it next looks";
    let groups =
        groups.map(|(id, _)| leak(Kind::NextHop, &format!("group {id}"), netns, why, false));
    links.chain(groups).collect()
}

/// Ids of next hops that routes use, including groups and their members.
fn used_next_hops(observed: &Observed) -> BTreeSet<u32> {
    let named = observed.routes.iter().filter_map(|route| match route.via {
        Via::Nexthop(id) => Some(id),
        Via::Device(_) | Via::Unreachable | Via::Other => None,
    });
    let mut used: BTreeSet<u32> = named.collect();
    for (id, nexthop) in &observed.nexthops {
        if let (SeenNexthop::Group { members, .. }, true) = (nexthop, used.contains(id)) {
            used.extend(members);
        }
    }
    used
}

/// Forwarders' ends of attachments without a lease.
pub(super) fn attachments(needed: &Needed, netns: &str, observed: &Observed) -> Vec<Leak> {
    let path = crate::attach::admission::netns_path(netns);
    let shares = || needed.leases.iter().flat_map(|lease| &lease.shares);
    let is_leased = |name: &str| {
        shares().any(|share| {
            let attachment = &share.attachment;
            attachment.forwarder_netns == path && attachment.forwarder_interface == name
        })
    };
    let attachments = observed
        .links
        .iter()
        .filter(|(name, link)| link.is_attachment(name));
    let stray = attachments.filter(|(name, _)| !is_leased(name));
    stray
        .map(|(name, link)| leak(Kind::Attachment, name, netns, unleased(link), !link.is_up))
        .collect()
}

fn unleased(link: &SeenLink) -> &'static str {
    match link.is_up {
        true => "no lease has it, but its other end is up",
        false => "no lease has it, and its other end is down or gone",
    }
}

/// Own interfaces in named namespaces of pods.
pub(super) fn pods(census: &mut Census, needed: &Needed, linux: &mut LinuxKernel) {
    let names = linux.namespaces("").unwrap_or_default();
    for netns in names.iter().filter(|name| !name.starts_with(NAMESPACES)) {
        // A namespace that is deleted meanwhile takes its interfaces with it.
        let observed = observe_again(linux, |linux| linux.observe_structure(netns));
        let Ok(Some(observed)) = observed else {
            continue;
        };
        let here: BTreeSet<&str> = interfaces_of(needed, netns);
        for (name, link) in observed.links.iter().filter(|(_, link)| link.is_ours) {
            if needed.is_labs(netns) {
                continue;
            }
            count(census, "pod-interfaces", 1);
            if !here.contains(name.as_str()) {
                let why = unleased(link);
                census
                    .leaks
                    .push(leak(Kind::PodInterface, name, netns, why, !link.is_up));
            }
        }
    }
}

/// Pods' interface names in the leases of one namespace.
fn interfaces_of<'a>(needed: &'a Needed, netns: &str) -> BTreeSet<&'a str> {
    let is_here = |lease: &&Lease| lease.netns.rsplit('/').next() == Some(netns);
    let shares = needed
        .leases
        .iter()
        .filter(is_here)
        .flat_map(|lease| &lease.shares);
    shares
        .map(|share| share.attachment.pod_interface.as_str())
        .collect()
}

/// Leases whose pod is gone by both proofs: its namespace, and the Forwarder's end of its link.
pub(super) fn leases(census: &mut Census, needed: &Needed) {
    count(census, "leases", needed.leases.len());
    for lease in &needed.leases {
        let is_wired = |it: &crate::attach::leases::Share| {
            KernelPodWiring.is_wired(&it.attachment).unwrap_or(true)
        };
        let is_gone =
            !KernelPodWiring.is_alive(&super::super::packets::here(&lease.netns), lease.netns_id);
        if is_gone && !lease.shares.iter().any(is_wired) {
            let why = "its namespace is gone, and the Forwarder's end of its interface";
            census
                .leaks
                .push(leak(Kind::Lease, &shown(lease), "", why, true));
        }
    }
}

/// Lease as shown in messages.
pub(in crate::diagnose) fn shown(lease: &Lease) -> String {
    format!(
        "{}/{}/{}",
        lease.key.network, lease.key.container_id, lease.key.ifname
    )
}

pub(super) fn leak(kind: Kind, name: &str, netns: &str, why: &str, removable: bool) -> Leak {
    Leak {
        kind,
        name: name.to_owned(),
        netns: netns.to_owned(),
        why: why.to_owned(),
        removable,
    }
}
