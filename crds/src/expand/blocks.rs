//! Address blocks: the twin of `topology::address` for the types of the objects.

use std::collections::BTreeMap;

use ipnetwork::IpNetwork;
use topology::{AddressError, Prefix};

use crate::{Forwarder, Problem, cidr, topology::Addressing};

/// A block of each CIDR for each name; those of `previous` are kept.
///
/// # Errors
/// When there are not enough blocks.
pub(super) fn assign(
    addressing: &Addressing,
    names: &[&str],
    previous: &BTreeMap<&str, &Forwarder>,
) -> Result<BTreeMap<String, Vec<IpNetwork>>, Vec<Problem>> {
    let cidrs: Vec<Prefix> = addressing.cidrs.iter().map(|cidr| prefix(*cidr)).collect();
    let given = |index: usize| addressing.block_prefixes.get(index).copied();
    let lengths: Vec<Option<u8>> = (0..cidrs.len()).map(given).collect();
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut existing = kept(addressing, previous);
    let mut assigned = topology::assign(&cidrs, &lengths, &existing, &names);
    // Blocks of Forwarders that are going are left alone while there is room, to let them drain.
    if let Err(AddressError::TooFewBlocks { .. }) = assigned {
        existing.retain(|name, _| names.contains(name));
        assigned = topology::assign(&cidrs, &lengths, &existing, &names);
    }
    match assigned {
        Ok(assigned) => Ok(assigned
            .into_iter()
            .map(|(name, blocks)| (name, blocks.into_iter().filter_map(network).collect()))
            .collect()),
        Err(error) => Err(vec![Problem::new("spec.addressing", error.to_string())]),
    }
}

/// The blocks that are in use and lie in the CIDRs as they are declared now.
fn kept(
    addressing: &Addressing,
    previous: &BTreeMap<&str, &Forwarder>,
) -> BTreeMap<String, Vec<Prefix>> {
    let fits = |blocks: &[IpNetwork]| {
        let holds = |(cidr, block): (&IpNetwork, &IpNetwork)| {
            cidr::overlap(*cidr, *block) && block.prefix() >= cidr.prefix()
        };
        blocks.len() == addressing.cidrs.len() && addressing.cidrs.iter().zip(blocks).all(holds)
    };
    previous
        .iter()
        .filter(|(_, forwarder)| fits(&forwarder.spec.blocks))
        .map(|(name, forwarder)| {
            let blocks = forwarder.spec.blocks.iter().map(|block| prefix(*block));
            ((*name).to_owned(), blocks.collect())
        })
        .collect()
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
