//! Links: their ends, weights, types and number.

use super::{Lint, MAX_LINKS, Problems, message};
use crate::topology::{LinkEntry, LinkType, Shape};

/// Least MTU of IPv4 hosts (RFC 791) and the least of IPv6 links (RFC 8200).
pub(crate) const LEAST_MTU: [u32; 2] = [576, 1280];
/// Largest MTU of a veth.
pub(crate) const MOST_MTU: u32 = 65_535;

pub(super) fn check(lint: &Lint<'_>, problems: &mut Problems) {
    let is_v6 = lint.spec.addressing.cidrs.iter().any(|cidr| cidr.is_ipv6());
    let least_mtu = LEAST_MTU[usize::from(is_v6)];
    for (index, link) in lint.spec.links.iter().enumerate() {
        let path = format!("spec.links[{index}]");
        check_ends(lint, &path, link, problems);
        problems.weight(format!("{path}.weight"), link.weight);
        if let Some(weight) = link.weight_back {
            problems.weight(format!("{path}.weightBack"), weight);
        }
        check_type(lint, &format!("{path}.type"), link, problems);
        if let Some(mtu) = link.mtu {
            problems.range(&format!("{path}.mtu"), mtu, least_mtu, MOST_MTU);
        }
    }
    check_mesh(lint, problems);
}

fn check_ends(lint: &Lint<'_>, path: &str, link: &LinkEntry, problems: &mut Problems) {
    lint.check_forwarder(&format!("{path}.a"), &link.a, problems);
    if link.a == link.b {
        let message = format!("{}, found {:?} itself", message::SELF_LINK, link.b);
        return problems.push(format!("{path}.b"), message);
    }
    lint.check_forwarder(&format!("{path}.b"), &link.b, problems);
}

fn check_type(lint: &Lint<'_>, path: &str, link: &LinkEntry, problems: &mut Problems) {
    let node = |name: &str| {
        lint.forwarders
            .get(name)
            .and_then(|entry| entry.node.as_deref())
    };
    let nodes = node(&link.a)
        .zip(node(&link.b))
        .filter(|_| link.a != link.b);
    match (link.r#type, nodes) {
        (LinkType::Encrypted, _) => {
            problems.push(path, message::ENCRYPTED);
        }
        (LinkType::Veth, Some((a, b))) if a != b => {
            let ends = format!("{} is on {a}, {} on {b}", link.a, link.b);
            problems.push(
                path,
                format!("Veth needs both ends on one node ({ends}): expected Vxlan or Auto"),
            );
        }
        (LinkType::Vxlan, Some((a, b))) if a == b => {
            problems.push(
                path,
                format!("Vxlan needs two nodes, both ends are on {a}: expected Veth or Auto"),
            );
        }
        (LinkType::Auto | LinkType::Veth | LinkType::Vxlan, _) => {}
    }
}

/// The other shapes have at most two links for each Forwarder, or four in a fabric.
fn check_mesh(lint: &Lint<'_>, problems: &mut Problems) {
    let count = lint.spec.forwarders.len();
    let links = count * count.saturating_sub(1) / 2;
    if lint.spec.shape == Shape::Mesh && links > MAX_LINKS {
        let message =
            format!("a Mesh of {count} forwarders has {links} links: expected at most {MAX_LINKS}");
        problems.push("spec.shape", message);
    }
}
