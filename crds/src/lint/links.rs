//! Links: their ends, weights, types and number.

use super::{Lint, MAX_LINKS, Problems, message};
use crate::{
    Problem,
    topology::{LinkEntry, LinkType, Shape},
};

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
    let count = check_count(lint.spec.shape, lint.spec.forwarders.len());
    problems.0.extend(count);
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

/// The number of links of a shape, which only a mesh makes too large: the others have at most four for each Forwarder.
pub(crate) fn check_count(shape: Shape, forwarders: usize) -> Option<Problem> {
    let links = forwarders * forwarders.saturating_sub(1) / 2;
    let message = format!(
        "a Mesh of {forwarders} forwarders has {links} links: expected at most {MAX_LINKS}"
    );
    let is_too_many = shape == Shape::Mesh && links > MAX_LINKS;
    is_too_many.then(|| Problem::new("spec.shape", message))
}
