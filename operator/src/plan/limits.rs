//! Bounds of the administrator on Forwarders: of one topology, on one node, and on the memory of all.

use std::collections::{BTreeMap, BTreeSet};

use crds::{Place, Problem};

use super::observed::Observed;

/// Reason of a declaration that asks for more than the administrator allows.
pub(super) const REASON: &str = "TooManyForwarders";
/// Reason of a declaration for whose Forwarders no memory is left.
pub(super) const NO_MEMORY: &str = "OutOfMemory";

/// Compares the declaration with the limits.
///
/// A node that is full already is no reason to reject what asks for no more there than it has.
///
/// # Errors
/// The first bound that would be passed.
pub(super) fn check(observed: &Observed, places: &[Place<'_>]) -> Result<(), Problem> {
    let most = observed.limits.forwarders_per_topology;
    if most > 0 && places.len() > most as usize {
        let message = format!(
            "at most {most} Forwarders of one topology are allowed (operator.maxForwardersPerTopology), these are {}",
            places.len()
        );
        return Err(Problem::new("spec.forwarders", message));
    }
    let most = observed.limits.forwarders_per_node;
    if most == 0 {
        return Ok(());
    }
    let own = own(observed);
    let mut asked: BTreeMap<&str, u32> = BTreeMap::new();
    for place in places {
        *asked.entry(place.node).or_default() += 1;
    }
    for (node, asked) in asked {
        let total = observed.load.get(node).copied().unwrap_or(0);
        let others = total.saturating_sub(own.get(node).map_or(0, |own| own.total));
        let has = own.get(node).map_or(0, |own| own.filled);
        if asked > has && others + asked > most {
            let message = format!(
                "at most {most} Forwarders on one node are allowed (operator.maxForwardersPerNode): \
                 node {node} would have {}, {others} of them of other topologies",
                others + asked
            );
            return Err(Problem::new("spec.forwarders", message));
        }
    }
    Ok(())
}

/// Compares the memory that the declaration asks for with what is left. One that asks for no more than it has is never
/// refused.
///
/// # Errors
/// The bound would be passed.
pub(super) fn check_memory(observed: &Observed, asked: usize) -> Result<(), Problem> {
    let most = observed.limits.memory;
    let forwarders = observed.forwarders.iter();
    let held: usize = forwarders.map(|it| crds::size::memory(&it.spec)).sum();
    let own = asked + observed.claim.declared;
    if most == 0 || asked <= held || observed.taken_by_others + own <= most {
        return Ok(());
    }
    let mib = |bytes: usize| bytes.div_ceil(1 << 20);
    let message = format!(
        "at most {} MiB of memory are for the Forwarders of all topologies (operator.maxForwarderMemory): \
         with {} MiB of these they would take {} MiB",
        most >> 20,
        mib(own),
        mib(observed.taken_by_others + own)
    );
    Err(Problem::new("spec", message))
}

/// Nodes that get a Forwarder now, and may be full before this replica's watches report it.
pub(super) fn crowded(observed: &Observed, wanted: &[crds::Forwarder]) -> Vec<String> {
    let most = observed.limits.forwarders_per_node;
    if most == 0 {
        return Vec::new();
    }
    let settled: BTreeSet<(&str, &str)> = observed
        .usable()
        .into_values()
        .filter(|existing| !existing.is_bare())
        .map(|existing| (existing.spec.name.as_str(), existing.spec.node.as_str()))
        .collect();
    let mut comes: BTreeMap<&str, u32> = BTreeMap::new();
    for spec in wanted.iter().map(|forwarder| &forwarder.spec) {
        if !settled.contains(&(spec.name.as_str(), spec.node.as_str())) {
            *comes.entry(&spec.node).or_default() += 1;
        }
    }
    let is_crowded = |(node, comes): &(&str, u32)| {
        observed.load.get(*node).copied().unwrap_or(0) + comes > most / 4
    };
    let crowded = comes.into_iter().filter(is_crowded);
    crowded.map(|(node, _)| node.to_owned()).collect()
}

/// Forwarder objects of the topology itself on one node.
#[derive(Default)]
struct Own {
    total: u32,
    /// Number of those that are filled, not only announced.
    filled: u32,
}

fn own(observed: &Observed) -> BTreeMap<&str, Own> {
    let mut own: BTreeMap<&str, Own> = BTreeMap::new();
    for existing in &observed.forwarders {
        let of_node = own.entry(&existing.spec.node).or_default();
        of_node.total += 1;
        of_node.filled += u32::from(existing.is_usable() && !existing.is_bare());
    }
    own
}
