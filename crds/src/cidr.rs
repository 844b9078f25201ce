//! Lists of CIDRs as strings, always with a prefix length.

use ipnetwork::IpNetwork;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Reads a list of CIDRs.
///
/// # Errors
/// When an entry is no string, no address, or has no prefix length.
pub fn deserialize<'de, D, List>(deserializer: D) -> Result<List, D::Error>
where
    D: Deserializer<'de>,
    List: From<Vec<IpNetwork>>,
{
    let cidrs = Vec::<Cidr>::deserialize(deserializer)?;
    Ok(List::from(cidrs.into_iter().map(|cidr| cidr.0).collect()))
}

/// Writes a list of CIDRs.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(cidrs: &[IpNetwork], serializer: S) -> Result<S::Ok, S::Error> {
    cidrs.serialize(serializer)
}

/// The network that `cidr` lies in: its address with the host bits cleared.
pub fn network(cidr: IpNetwork) -> IpNetwork {
    IpNetwork::new(cidr.network(), cidr.prefix()).unwrap_or(cidr)
}

/// The IPv4 gateway of all pods: a link-local address (RFC 3927) that each Forwarder answers for.
pub const POD_GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

/// Addresses of a Forwarder with these blocks: the first of each block, and with an IPv4 block the pods' gateway.
pub fn forwarder_addresses(blocks: &[IpNetwork]) -> BTreeSet<IpAddr> {
    let routers = blocks.iter().copied().map(router_address);
    let gateway = blocks
        .iter()
        .any(IpNetwork::is_ipv4)
        .then_some(IpAddr::V4(POD_GATEWAY_V4));
    routers.chain(gateway).collect()
}

/// The router address of a Forwarder's block: its first host address.
pub fn router_address(block: IpNetwork) -> IpAddr {
    match block {
        IpNetwork::V4(block) => IpAddr::V4(Ipv4Addr::from_bits(block.network().to_bits() + 1)),
        IpNetwork::V6(block) => IpAddr::V6(Ipv6Addr::from_bits(block.network().to_bits() + 1)),
    }
}

/// True when both have an address in common.
pub fn overlap(a: IpNetwork, b: IpNetwork) -> bool {
    match (a, b) {
        (IpNetwork::V4(a), IpNetwork::V4(b)) => a.overlaps(b),
        (IpNetwork::V6(a), IpNetwork::V6(b)) => a.overlaps(b),
        _ => false,
    }
}

struct Cidr(IpNetwork);

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Cidr, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).map(Cidr).ok_or_else(|| {
            D::Error::custom(format!(
                "expected a CIDR such as \"10.80.0.0/16\", found {text:?}"
            ))
        })
    }
}

/// Strict: `IpNetwork` itself would take `10.0.0.1` for a /32 and `/255.0.0.0` for a length.
fn parse(text: &str) -> Option<IpNetwork> {
    let (address, length) = text.split_once('/')?;
    let is_plain = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
    let has_leading_zero = length.len() > 1 && length.starts_with('0');
    if !is_plain || has_leading_zero {
        return None;
    }
    IpNetwork::new(address.parse().ok()?, length.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn only_an_address_with_a_prefix_length_is_a_cidr() {
        for good in [
            "10.0.0.0/8",
            "0.0.0.0/0",
            "10.0.0.1/32",
            "fd00::/48",
            "::/128",
        ] {
            assert_eq!(
                parse(good).map(|cidr| cidr.to_string()).as_deref(),
                Some(good)
            );
        }
        for bad in [
            "",
            "/",
            "10.0.0.0",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "10.0.0.0/255.0.0.0",
            "010.0.0.0/8",
            "10.0.0/8",
            "fd00::/129",
            "fd00::",
            "a/b",
            "1/1/1",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
