//! Which Forwarders the declaration asks for, on these nodes, with these pods.

use std::collections::BTreeMap;

use crds::{
    Forwarder, Grants, Layout, Problem,
    attach::{self, Attachments},
    expand::Settled,
};

use super::{
    sound,
    world::{Pod, World},
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

/// What the declaration asks for.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Sorted by name; blocks and VNIs are still to be granted.
    pub(super) forwarders: Vec<Forwarder>,
    /// How many pods are instances.
    pub(super) pods: u32,
    /// Pods that cannot be.
    pub(super) unattached: Vec<Unattached>,
    /// Nodes that match and cannot have a Forwarder, `NODE (reason)`.
    pub(super) left_out: Vec<String>,
}

/// Why nothing is wanted that is not there.
#[derive(Debug)]
pub(super) struct Rejection {
    /// One CamelCase word.
    pub(super) reason: &'static str,
    /// Where and why.
    pub(super) problems: Vec<Problem>,
}

/// Expands the declaration, keeping Forwarders on the nodes they are on.
pub(super) fn wanted(world: &World) -> Result<Wanted, Rejection> {
    let rejected = |reason| move |problems| Rejection { reason, problems };
    let topology = &world.topology;
    let problems = crds::lint(topology);
    if !problems.is_empty() {
        return Err(rejected(INVALID)(problems));
    }
    let usable = world.usable();
    let settled = usable.iter().filter(|(_, f)| !f.spec.node.is_empty());
    let settled: Settled<'_> = settled
        .map(|(name, f)| (*name, f.spec.node.as_str()))
        .collect();
    let layout = Layout::new(topology, &world.nodes, &settled).map_err(|problems| Rejection {
        reason: reason(&problems),
        problems,
    })?;
    layout
        .blocks(&BTreeMap::new())
        .map_err(rejected(NO_ADDRESSES))?;
    check_addressing(world).map_err(|problem| rejected(INVALID)(vec![problem]))?;
    let attachments = attach::assign(topology, layout.places(), &world.pods);
    Ok(Wanted {
        forwarders: layout.forwarders(&Grants::default(), &attachments),
        pods: u32::try_from(attachments.instances.len()).unwrap_or(u32::MAX),
        unattached: unattached(world, attachments),
        left_out: layout
            .left_out()
            .iter()
            .map(|left| format!("{} ({})", left.node, left.reason))
            .collect(),
    })
}

fn unattached(world: &World, attachments: Attachments) -> Vec<Unattached> {
    let left_out = attachments.unattached.into_iter();
    let left_out = left_out.map(|left| Unattached {
        pod: world.pods[left.pod].clone(),
        reason: left.reason.as_str().to_owned(),
        message: left.message,
    });
    left_out.collect()
}

fn reason(problems: &[Problem]) -> &'static str {
    if problems
        .iter()
        .all(|problem| problem.path.starts_with("spec.forwarders["))
    {
        NO_NODE
    } else {
        INVALID
    }
}

/// What was granted must lie in the CIDRs: they cannot change under Forwarders that have blocks.
///
/// When a Forwarder carries blocks that do, not the declaration was changed but the allocation.
fn check_addressing(world: &World) -> Result<(), Problem> {
    let cidrs = &world.topology.spec.addressing.cidrs;
    let Some(persisted) = world.persisted() else {
        return Ok(());
    };
    let is_carried_well = |uid: &str| {
        let mut existing = world.forwarders.iter();
        existing.any(|f| f.uid == uid && sound::fits(cidrs, &f.spec.blocks))
    };
    let mut grants = persisted.blocks.iter();
    let found =
        grants.find(|(uid, grant)| !sound::fits(cidrs, &grant.blocks) && !is_carried_well(uid));
    match found {
        None => Ok(()),
        Some((_, grant)) => Err(Problem::new(
            "spec.addressing.cidrs",
            format!(
                "cannot change while Forwarder {:?} holds {}: delete the topology and create it anew",
                grant.forwarder,
                sound::enumerate(&grant.blocks)
            ),
        )),
    }
}

/// Forwarders by name.
pub(super) fn by_name(forwarders: &[Forwarder]) -> BTreeMap<&str, &Forwarder> {
    let named = forwarders.iter().map(|f| (f.spec.name.as_str(), f));
    named.collect()
}
