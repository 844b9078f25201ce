//! The desired Forwarders: the declaration expanded on these nodes with these pods.

use std::collections::BTreeMap;

use crds::{
    Forwarder, Grants, Layout, MicroServiceTopology, Problem,
    attach::{self, Attachments},
    expand::Settled,
};

use super::{
    consistency, limits,
    observed::{Observed, Pod},
};

/// Reason of a declaration that is wrong in itself.
pub(super) const INVALID: &str = "Invalid";
/// Reason when a Forwarder has no node that it could be on.
const NO_NODE: &str = "NoNode";
/// Reason when there are fewer blocks than Forwarders.
const NO_ADDRESSES: &str = "NoAddresses";

/// A pod that is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unattached {
    /// The pod.
    pub pod: Pod,
    /// One CamelCase word, such as `NoForwarder`.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
}

/// Desired objects of the declaration.
#[derive(Debug, Default)]
pub(super) struct Desired {
    /// Sorted by name; blocks and VNIs are still to be granted.
    pub(super) forwarders: Vec<Forwarder>,
    /// Number of pods that are instances.
    pub(super) pods: u32,
    /// Pods that cannot be.
    pub(super) unattached: Vec<Unattached>,
    /// Nodes that match and cannot have a Forwarder, `NODE (reason)`.
    pub(super) left_out: Vec<String>,
}

/// Rejected declaration, of which no new objects are created.
#[derive(Debug)]
pub(super) struct Rejection {
    /// One CamelCase word.
    pub(super) reason: &'static str,
    /// Problems, with paths.
    pub(super) problems: Vec<Problem>,
}

/// Expands the declaration, keeping Forwarders on the nodes they are on.
pub(super) fn desired(observed: &Observed) -> Result<Desired, Rejection> {
    let rejected = |reason| move |problems| Rejection { reason, problems };
    let topology = &observed.topology;
    let usable = observed.usable();
    let settled = usable.iter().filter(|(_, f)| !f.spec.node.is_empty());
    let settled: Settled<'_> = settled
        .map(|(name, f)| (*name, f.spec.node.as_str()))
        .collect();
    let nodes = observed.places();
    let layout = Layout::new(topology, &nodes, &settled).map_err(|problems| Rejection {
        reason: reason(topology, &problems),
        problems,
    })?;
    limits::check(observed, layout.places())
        .map_err(|problem| rejected(limits::REASON)(vec![problem]))?;
    limits::check_memory(observed, layout.memory())
        .map_err(|problem| rejected(limits::NO_MEMORY)(vec![problem]))?;
    layout
        .blocks(&BTreeMap::new())
        .map_err(rejected(NO_ADDRESSES))?;
    check_addressing(observed).map_err(|problem| rejected(INVALID)(vec![problem]))?;
    let attachments = attach::assign(topology, layout.places(), &observed.pods);
    Ok(Desired {
        forwarders: layout.forwarders(&Grants::default(), &attachments),
        pods: u32::try_from(attachments.instances.len()).unwrap_or(u32::MAX),
        unattached: unattached(observed, attachments),
        left_out: layout
            .left_out()
            .iter()
            .map(|left| format!("{} ({})", left.node, left.reason))
            .collect(),
    })
}

fn unattached(observed: &Observed, attachments: Attachments) -> Vec<Unattached> {
    let left_out = attachments.unattached.into_iter();
    let left_out = left_out.map(|left| Unattached {
        pod: observed.pods[left.pod].clone(),
        reason: left.reason.as_str().to_owned(),
        message: left.message,
    });
    left_out.collect()
}

/// `NoNode` when the declaration is right in itself and only nodes are missing.
fn reason(topology: &MicroServiceTopology, problems: &[Problem]) -> &'static str {
    let is_of_node = |problem: &Problem| problem.path.starts_with("spec.forwarders[");
    if problems.iter().all(is_of_node) && crds::lint(topology).is_empty() {
        NO_NODE
    } else {
        INVALID
    }
}

/// Checks that granted blocks lie in the CIDRs: these cannot change under Forwarders that have
/// blocks.
///
/// When a Forwarder has such blocks, the allocation was changed, not the declaration.
fn check_addressing(observed: &Observed) -> Result<(), Problem> {
    let cidrs = &observed.topology.spec.addressing.cidrs;
    let Some(persisted) = observed.persisted() else {
        return Ok(());
    };
    let is_carried_well = |uid: &str| {
        let mut existing = observed.forwarders.iter();
        existing.any(|f| f.uid == uid && consistency::fits(cidrs, &f.spec.blocks))
    };
    let mut grants = persisted.blocks.iter();
    let found = grants
        .find(|(uid, grant)| !consistency::fits(cidrs, &grant.blocks) && !is_carried_well(uid));
    match found {
        None => Ok(()),
        Some((_, grant)) => Err(Problem::new(
            "spec.addressing.cidrs",
            format!(
                "cannot change while Forwarder {:?} holds {}: delete the topology and create it again",
                grant.forwarder,
                consistency::enumerate(&grant.blocks)
            ),
        )),
    }
}

/// Forwarders by name.
pub(super) fn by_name(forwarders: &[Forwarder]) -> BTreeMap<&str, &Forwarder> {
    let named = forwarders.iter().map(|f| (f.spec.name.as_str(), f));
    named.collect()
}
