//! Which Forwarders the declaration asks for, on these nodes, with these pods.

use std::collections::BTreeMap;

use crds::{Forwarder, Instances, Problem};

use super::world::{Pod, World};

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
    let problems = crds::lint(&world.topology);
    if !problems.is_empty() {
        return Err(Rejection {
            reason: INVALID,
            problems,
        });
    }
    let forwarders = crds::expand(
        &world.topology,
        &world.nodes,
        &placed(world),
        &Instances::new(),
    );
    let forwarders = forwarders.map_err(|problems| Rejection {
        reason: reason(&problems),
        problems,
    })?;
    check_addressing(world).map_err(|problem| Rejection {
        reason: INVALID,
        problems: vec![problem],
    })?;
    Ok(Wanted {
        forwarders,
        ..Wanted::default()
    })
}

/// Where Forwarders are now: blocks and VNIs are none of the expansion's business.
fn placed(world: &World) -> Vec<Forwarder> {
    let placed = |existing: &super::ExistingForwarder| {
        let mut spec = existing.spec.clone();
        spec.blocks.clear();
        spec.links.clear();
        Forwarder::new(&world.topology.metadata.namespace, spec)
    };
    world.usable().into_values().map(placed).collect()
}

fn reason(problems: &[Problem]) -> &'static str {
    let all_under = |path: &str| {
        problems
            .iter()
            .all(|problem| problem.path.starts_with(path))
    };
    if all_under("spec.addressing") {
        NO_ADDRESSES
    } else if all_under("spec.forwarders[") {
        NO_NODE
    } else {
        INVALID
    }
}

/// What was granted must lie in the CIDRs: they cannot change under Forwarders that have blocks.
fn check_addressing(world: &World) -> Result<(), Problem> {
    let cidrs = &world.topology.spec.addressing.cidrs;
    let Some(persisted) = world.persisted() else {
        return Ok(());
    };
    let contains = |cidr: &ipnetwork::IpNetwork, block: &ipnetwork::IpNetwork| {
        crds::cidr::overlap(*cidr, *block) && cidr.prefix() <= block.prefix()
    };
    let fits = |blocks: &[ipnetwork::IpNetwork]| {
        blocks.len() == cidrs.len() && cidrs.iter().zip(blocks).all(|(c, b)| contains(c, b))
    };
    match persisted.blocks.values().find(|grant| !fits(&grant.blocks)) {
        None => Ok(()),
        Some(grant) => Err(Problem::new(
            "spec.addressing.cidrs",
            format!(
                "cannot change while Forwarder {:?} holds {}: delete the topology and create it anew",
                grant.forwarder,
                enumerate(&grant.blocks)
            ),
        )),
    }
}

fn enumerate(blocks: &[ipnetwork::IpNetwork]) -> String {
    let blocks: Vec<String> = blocks.iter().map(ToString::to_string).collect();
    blocks.join(", ")
}

/// Forwarders by name.
pub(super) fn by_name(forwarders: &[Forwarder]) -> BTreeMap<&str, &Forwarder> {
    let named = forwarders.iter().map(|f| (f.spec.name.as_str(), f));
    named.collect()
}
