//! Address blocks: the twin of `topology::address` for the types of the objects.

use std::collections::BTreeMap;

use ipnetwork::IpNetwork;
use topology::Prefix;

use crate::{Problem, topology::Addressing};

/// A block of each CIDR for each name; those of `existing` are kept, each family by itself. What
/// belongs to other names is given again only when nothing else is left.
///
/// # Errors
/// When there are not enough blocks.
pub(super) fn assign(
    addressing: &Addressing,
    names: &[&str],
    existing: &BTreeMap<String, Vec<IpNetwork>>,
) -> Result<BTreeMap<String, Vec<IpNetwork>>, Vec<Problem>> {
    let prefixes = |networks: &[IpNetwork]| networks.iter().copied().map(prefix).collect();
    let cidrs: Vec<Prefix> = prefixes(&addressing.cidrs);
    let given = |index: usize| addressing.block_prefixes.get(index).copied();
    let lengths: Vec<Option<u8>> = (0..cidrs.len()).map(given).collect();
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let existing = existing
        .iter()
        .map(|(name, blocks)| (name.clone(), prefixes(blocks)))
        .collect();
    let assigned = topology::assign(&cidrs, &lengths, &existing, &names)
        .map_err(|error| vec![Problem::new("spec.addressing", error.to_string())])?;
    Ok(assigned
        .into_iter()
        .map(|(name, blocks)| (name, blocks.into_iter().filter_map(network).collect()))
        .collect())
}

fn prefix(cidr: IpNetwork) -> Prefix {
    Prefix {
        addr: cidr.network(),
        len: cidr.prefix(),
    }
}

fn network(prefix: Prefix) -> Option<IpNetwork> {
    IpNetwork::new(prefix.addr, prefix.len).ok()
}
