//! Census of all objects of beemesh on a node, and of the orphaned ones. Read-only.
//!
//! ```text
//! object                   needed by
//! namespaces           <-  Forwarders of this node (last known objects)
//! links, next hops     <-  spec.links of their Forwarder, routes
//! attachments, pods'   <-  leases
//! leases               <-  the pod's namespace, the kernel
//! queue, link states   <-  leases, Forwarders of the topology
//! ```
//! An object counts as orphaned only when everything that may need it is known; two proofs must
//! agree before it is removed.

mod files;
mod wires;

pub(super) use wires::shown;

use super::Error;
use super::{NAMESPACES, desired::Desired, leases::leases, paths::Paths};
use crate::attach::leases::Lease;
use crate::host::labs::Labs;
use crate::host::netns_registry::NetnsRegistry;
use crds::diagnosis::report::{Census, Kind, Leak};
use dataplane::{Kernel as _, LinuxKernel, Observed, observe_again};
use std::collections::{BTreeMap, BTreeSet};

/// Facts that decide which objects are needed.
pub(super) struct Needed {
    pub(super) desired: Desired,
    /// Namespaces in the registry of this node's daemon.
    owned: BTreeSet<String>,
    /// Namespaces of labs on this host, which are skipped.
    labs: BTreeSet<String>,
    pub(super) leases: Vec<Lease>,
}

impl Needed {
    fn read(paths: &Paths) -> Result<Self, Error> {
        Ok(Self {
            desired: Desired::read(paths),
            owned: NetnsRegistry::open(&paths.state_dir)
                .iter()
                .map(|(netns, _)| netns.clone())
                .collect(),
            labs: Labs::beside(None).namespaces().into_keys().collect(),
            leases: leases(paths)?.leases,
        })
    }

    fn is_wanted(&self, netns: &str) -> bool {
        self.desired.of_netns(netns).is_some()
    }

    fn is_leased(&self, netns: &str) -> bool {
        let path = crate::attach::admission::netns_path(netns);
        let shares = self.leases.iter().flat_map(|lease| &lease.shares);
        shares
            .into_iter()
            .any(|share| share.attachment.forwarder_netns == path)
    }

    /// True when a lab on this host created the namespace, for a node of its own or an instance.
    fn is_labs(&self, netns: &str) -> bool {
        self.labs.contains(netns) && !self.leases.iter().any(|it| it.netns.ends_with(netns))
    }

    /// True when the namespace belongs to this node.
    fn is_ours(&self, netns: &str) -> bool {
        let is_called_so = netns.starts_with(NAMESPACES) && !self.labs.contains(netns);
        self.owned.contains(netns) || self.is_wanted(netns) || is_called_so
    }
}

/// Counts all objects of beemesh, and lists the orphaned ones.
///
/// # Errors
/// [`Error::Kernel`], [`Error::Journal`].
pub(crate) fn census(paths: &Paths) -> Result<Census, Error> {
    let needed = Needed::read(paths)?;
    let mut linux = LinuxKernel::new()?;
    let mut census = Census {
        unknown: needed.desired.problems.clone(),
        ..Census::default()
    };
    let mut seen = BTreeMap::new();
    for netns in linux.namespaces("")? {
        if !needed.is_ours(&netns) {
            continue;
        }
        match observe_again(&mut linux, |linux| linux.observe(&netns)) {
            Ok(Some(observed)) => drop(seen.insert(netns, observed)),
            Ok(None) => {}
            Err(error) => census.unknown.push(format!("{netns}: {error}")),
        }
    }
    for (netns, observed) in &seen {
        namespace(&mut census, &needed, netns, observed);
    }
    wires::pods(&mut census, &needed, &mut linux);
    wires::leases(&mut census, &needed);
    files::all(&mut census, &needed, paths);
    census.leaks.sort();
    Ok(census)
}

fn count(census: &mut Census, what: &str, more: usize) {
    *census.counts.entry(what.to_owned()).or_default() += more as u64;
}

fn namespace(census: &mut Census, needed: &Needed, netns: &str, observed: &Observed) {
    count(census, "namespaces", 1);
    let ours = observed.links.iter().filter(|(_, link)| link.is_ours);
    let (attachments, links): (Vec<_>, Vec<_>) =
        ours.partition(|(name, link)| link.is_attachment(name));
    count(census, "links", links.len());
    count(census, "attachments", attachments.len());
    count(
        census,
        "addresses",
        observed
            .addresses
            .values()
            .filter(|is_ours| **is_ours)
            .count(),
    );
    count(
        census,
        "next-hops",
        observed.nexthops.values().filter(|it| it.is_ours()).count(),
    );
    count(
        census,
        "routes",
        observed.routes.iter().filter(|it| it.is_ours()).count(),
    );
    count(
        census,
        "neighbours",
        observed.neighbours.values().filter(|it| it.is_ours).count(),
    );
    if needed.desired.is_complete() && !needed.is_wanted(netns) {
        census.leaks.push(unwanted_namespace(needed, netns));
        return;
    }
    if let Some(forwarder) = needed.desired.of_netns(netns) {
        census
            .leaks
            .extend(wires::links(netns, forwarder, observed));
    }
    census
        .leaks
        .extend(wires::attachments(needed, netns, observed));
}

/// Orphan entry of a namespace without a Forwarder on this node.
fn unwanted_namespace(needed: &Needed, netns: &str) -> Leak {
    let (is_leased, is_owned) = (needed.is_leased(netns), needed.owned.contains(netns));
    let why = match (is_leased, is_owned) {
        (true, _) => "no Forwarder of this node has it, but a lease does",
        (false, false) => {
            "no Forwarder of this node has it, but this node's daemon did not make it"
        }
        (false, true) => "no Forwarder of this node has it, and no lease",
    };
    Leak {
        kind: Kind::Namespace,
        name: netns.to_owned(),
        netns: String::new(),
        why: why.to_owned(),
        removable: !is_leased && is_owned,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needed(owned: &[&str]) -> Needed {
        Needed {
            desired: Desired::default(),
            owned: owned.iter().map(|name| (*name).to_owned()).collect(),
            labs: BTreeSet::from(["bm-lab".to_owned()]),
            leases: Vec::new(),
        }
    }

    #[test]
    fn a_namespace_goes_only_by_two_proofs() {
        let needed = needed(&["bm-mine"]);
        assert!(unwanted_namespace(&needed, "bm-mine").removable);
        assert!(
            !unwanted_namespace(&needed, "bm-other").removable,
            "somebody else made it"
        );
    }

    #[test]
    fn a_labs_namespaces_are_no_leaks_of_a_node() {
        let needed = needed(&["bm-mine"]);
        assert!(needed.is_ours("bm-mine") && needed.is_ours("bm-lost"));
        assert!(!needed.is_ours("bm-lab") && !needed.is_ours("cni-1234"));
    }
}
