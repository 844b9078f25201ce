//! Checks of address ranges: families, sizes, overlaps.

use ipnetwork::IpNetwork;

use super::{Lint, Problems, message};
use crate::cidr;

/// Ranges that mean something else to every host.
pub(crate) const RESERVED: [(&str, &str); 8] = [
    ("0.0.0.0/8", "this host (RFC 1122)"),
    ("127.0.0.0/8", "loopback (RFC 1122)"),
    ("169.254.0.0/16", "link-local (RFC 3927)"),
    ("224.0.0.0/4", "multicast (RFC 5771)"),
    ("::/127", "loopback and unspecified (RFC 4291)"),
    ("::ffff:0:0/96", "IPv4-mapped (RFC 4291)"),
    ("fe80::/10", "link-local (RFC 4291)"),
    ("ff00::/8", "multicast (RFC 4291)"),
];

/// Longest block of each family: two bits for hosts in IPv4, four in IPv6, for the Forwarder's own
/// address and instances.
pub(crate) const LONGEST_BLOCK: [u8; 2] = [30, 124];

pub(super) fn check(lint: &Lint<'_>, problems: &mut Problems) {
    let addressing = &lint.spec.addressing;
    let cidrs = &addressing.cidrs;
    if cidrs.is_empty() {
        problems.push(
            "spec.addressing.cidrs",
            "expected one CIDR for each family, found none",
        );
    }
    for (index, cidr) in cidrs.iter().enumerate() {
        let path = format!("spec.addressing.cidrs[{index}]");
        check_network(&path, *cidr, problems);
        check_holds_none(&path, *cidr, problems);
        if let Some(first) = cidrs[..index]
            .iter()
            .find(|c| c.is_ipv4() == cidr.is_ipv4())
        {
            let what = if cidr::overlap(*first, *cidr) {
                "overlaps"
            } else {
                "is of the family of"
            };
            let message = format!("{cidr} {what} {first}: {}", message::ONE_PER_FAMILY);
            problems.push(&path, message);
        }
        check_size(lint, index, *cidr, problems);
    }
    let blocks = &addressing.block_prefixes;
    if !blocks.is_empty() && blocks.len() != cidrs.len() {
        let (wanted, found) = (cidrs.len(), blocks.len());
        let message = format!("{} ({wanted}), found {found}", message::BLOCK_COUNT);
        problems.push("spec.addressing.blockPrefixes", message);
    }
}

/// Checks that no host bits are set and that the range is no reserved one.
pub(super) fn check_network(path: &str, cidr: IpNetwork, problems: &mut Problems) {
    let network = cidr::network(cidr);
    if network != cidr {
        let message = format!("{cidr} {}: expected {network}", message::HOST_BITS);
        problems.push(path, message);
    }
    for (range, meaning) in RESERVED {
        let range: IpNetwork = range.parse().expect("a constant CIDR");
        // An external prefix may be 0.0.0.0/0: see `check_holds_none` for its limits.
        if cidr::overlap(range, network) && network.prefix() >= range.prefix() {
            problems.push(
                path,
                format!("{cidr} lies in {range}, {meaning}: expected another range"),
            );
        }
    }
}

/// Checks that no reserved range lies in `cidr`: addresses are given from all of it.
fn check_holds_none(path: &str, cidr: IpNetwork, problems: &mut Problems) {
    let network = cidr::network(cidr);
    let mut reserved = RESERVED.iter().filter(|(range, _)| {
        let range: IpNetwork = range.parse().expect("a constant CIDR");
        cidr::overlap(range, network) && network.prefix() < range.prefix()
    });
    if let Some((range, meaning)) = reserved.next() {
        let message = format!("{cidr} holds {range}, {meaning}: expected another range");
        problems.push(path, message);
    }
}

/// Checks that there is a block for each Forwarder.
fn check_size(lint: &Lint<'_>, index: usize, cidr: IpNetwork, problems: &mut Problems) {
    let path = format!("spec.addressing.cidrs[{index}]");
    let longest = LONGEST_BLOCK[usize::from(cidr.is_ipv6())];
    if cidr.prefix() > longest {
        return problems.push(
            path,
            format!("{cidr} is too small: expected /{longest} or larger"),
        );
    }
    let given = lint.spec.addressing.block_prefixes.get(index).copied();
    if let Some(given) = given.filter(|given| *given < cidr.prefix() || *given > longest) {
        let path = format!("spec.addressing.blockPrefixes[{index}]");
        let message = format!("expected {} to {longest}, found {given}", cidr.prefix());
        return problems.push(path, message);
    }
    let length = given.unwrap_or(longest);
    let blocks = 1_u128 << (length - cidr.prefix()).min(127);
    let wanted = lint.spec.forwarders.len();
    if blocks < wanted as u128 {
        let has = format!("{cidr} has only {blocks} blocks of /{length}");
        problems.push(
            path,
            format!("{has}: expected one for each of {wanted} forwarders"),
        );
    }
}
