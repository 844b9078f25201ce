//! Names that are derived from names: network namespaces, interfaces, objects.

use topology::hash;

/// Longest name of an interface in Linux (`IFNAMSIZ` - 1).
pub const INTERFACE_NAME_MAX: usize = 15;

/// The network namespace of a Forwarder, a file name under `/run/netns`.
///
/// Readable first, and ends in a hash of all three names, so that equal topologies in different
/// Kubernetes namespaces never meet.
pub fn netns(namespace: &str, topology: &str, forwarder: &str) -> String {
    let hash = hash::texts(&[namespace, topology, forwarder]);
    format!("bm-{topology}-{forwarder}-{:08x}", hash >> 32)
}

/// The network namespace of `forwarder`.
pub fn netns_of(forwarder: &crate::Forwarder) -> String {
    let spec = &forwarder.spec;
    netns(&forwarder.metadata.namespace, &spec.topology, &spec.name)
}

/// Beginning of the names of attachments' interfaces, inside a Forwarder's namespace.
pub const ATTACHMENT_PREFIX: &str = "app";

/// First characters of each interface of a link.
pub const LINK_PREFIX: &str = "l-";

/// The interface of a link, inside a Forwarder's namespace: `l-PEER`, `l-PEER#2` for the second parallel link.
///
/// What does not fit into [`INTERFACE_NAME_MAX`] becomes `l-`, the peer's first two characters, `~` and 50 bits of a hash of
/// peer and ordinal. Names of Forwarders hold neither `#` nor `~`, so that only two hashes can be equal: with the
/// 13,000 links that a Forwarder may have, once in ten million such Forwarders. Both ends compute the same name.
pub fn link(peer: &str, ordinal: u32) -> String {
    let name = match ordinal {
        0 | 1 => format!("{LINK_PREFIX}{peer}"),
        _ => format!("{LINK_PREFIX}{peer}#{ordinal}"),
    };
    if name.len() <= INTERFACE_NAME_MAX {
        return name;
    }
    let kept: String = peer.chars().filter(char::is_ascii).take(2).collect();
    let digits = digits(hash::texts(&[peer, &ordinal.to_string()]));
    format!("{LINK_PREFIX}{kept}~{digits}")
}

/// The upper 50 bits, five to a digit (`0` to `9`, `a` to `v`).
fn digits(hash: u64) -> String {
    let digit = |place: u32| char::from_digit((hash >> (59 - 5 * place)) as u32 & 31, 32);
    (0..10).filter_map(digit).collect()
}

/// The name of a Forwarder's Kubernetes object: `TOPOLOGY.FORWARDER`.
///
/// A Forwarder's name that is no DNS subdomain is made one and ends in a hash.
pub fn object(topology: &str, forwarder: &str) -> String {
    if is_dns_subdomain(forwarder) {
        return format!("{topology}.{forwarder}");
    }
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let kept: String = forwarder.chars().map(plain).collect();
    format!(
        "{topology}.{}-{:08x}",
        kept.trim_matches('-'),
        hash::texts(&[forwarder]) >> 32
    )
}

/// The Service by which an App is found: `TOPOLOGY-APP`.
///
/// What is no name of a Service (RFC 1035, at most 63 characters) is made one and ends in a hash.
pub fn service(topology: &str, app: &str) -> String {
    let name = format!("{topology}-{app}");
    let begins_well = name.starts_with(|c: char| c.is_ascii_lowercase());
    if begins_well && is_dns_label(&name) {
        name
    } else {
        service_hashed(topology, app)
    }
}

/// The same with a hash in any case: for two pairs that would have one name, as `a-b`, `c` and `a`, `b-c`.
pub fn service_hashed(topology: &str, app: &str) -> String {
    let suffix = format!("-{:08x}", hash::texts(&[topology, app]) >> 32);
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let name: String = format!("{topology}-{app}").chars().map(plain).collect();
    let begin = if name.starts_with(|c: char| c.is_ascii_lowercase()) {
        ""
    } else {
        "t-"
    };
    let room = 63 - begin.len() - suffix.len();
    // Plain characters are one byte each.
    let kept = name[..name.len().min(room)].trim_end_matches('-');
    format!("{begin}{kept}{suffix}")
}

/// A DNS label (RFC 1123): lower-case letters, digits and `-`, at most 63 characters.
pub fn is_dns_label(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(allowed)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// DNS labels joined by dots (RFC 1123), at most 253 characters.
pub fn is_dns_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_dns_label)
}

/// Names of Forwarders and Apps: at most 63 of `[-A-Za-z0-9_.]`, a letter or digit at both ends.
pub fn is_name(name: &str) -> bool {
    let is_edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    bytes.len() <= 63
        && is_edge(bytes.first())
        && is_edge(bytes.last())
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn interfaces_have_names_that_fit() {
        assert_eq!(link("edge-a", 1), "l-edge-a");
        assert_eq!(link("edge-a", 2), "l-edge-a#2");
        assert_eq!(link("a-b-c-d-e-f-g", 1), "l-a-b-c-d-e-f-g");
        assert_eq!(link("a-b-c-d-e-f-gh", 1), "l-a-~0hmn9n0vrc");
        for ordinal in [1, 2, 99, 99_999, u32::MAX] {
            for peer in [
                "x",
                "a-name-longer-than-fifteen",
                "thirteen-char",
                "Zürich-Süd",
            ] {
                let name = link(peer, ordinal);
                assert!(name.len() <= INTERFACE_NAME_MAX, "{name}");
                assert!(name.starts_with(LINK_PREFIX), "{name}");
            }
        }
    }

    #[test]
    fn interfaces_of_a_cluster_never_share_a_name() {
        let zones = (0..=255).flat_map(|subnet| (0..=255).map(move |host| (subnet, host)));
        let mut peers: Vec<String> = zones
            .map(|(subnet, host)| format!("ip-10-0-{subnet}-{host}.ec2.internal"))
            .collect();
        peers.extend((0..10_000).map(|index| format!("k8s-worker-prod-{index:03}")));
        peers.extend((0..10_000).map(|index| format!("worker-node-{index:04}")));
        // A name that ends like the second of parallel links.
        peers.extend(["a", "a.2", "a-2", "a_2"].map(str::to_owned));
        let mut owners = BTreeMap::new();
        for (peer, ordinal) in peers.iter().flat_map(|peer| [(peer, 1), (peer, 2)]) {
            if let Some(other) = owners.insert(link(peer, ordinal), (peer, ordinal)) {
                panic!("{other:?} and {:?} share a name", (peer, ordinal));
            }
        }
    }

    #[test]
    fn namespaces_of_equal_topologies_differ() {
        let one = netns("plant", "iot", "edge-a");
        assert!(one.starts_with("bm-iot-edge-a-"), "{one}");
        assert_ne!(one, netns("office", "iot", "edge-a"));
        assert_ne!(netns("x", "a-b", "c"), netns("x", "a", "b-c"));
    }

    #[test]
    fn objects_have_names_that_kubernetes_takes() {
        assert_eq!(object("iot", "edge-a"), "iot.edge-a");
        for name in ["F1", "a_b", "a..b", "a-.b", "X", "f1"] {
            assert!(is_dns_subdomain(&object("iot", name)), "{name}");
        }
        assert_ne!(object("iot", "F1"), object("iot", "f1"));
    }

    #[test]
    fn services_have_names_that_dns_takes() {
        assert_eq!(service("iot", "sensors"), "iot-sensors");
        let long = "x".repeat(63);
        for (topology, app) in [
            ("iot", "Sensors"),
            ("iot", "a_b.c"),
            ("5g", "core"),
            ("a.b", "c"),
            (long.as_str(), long.as_str()),
        ] {
            let name = service(topology, app);
            assert!(is_dns_label(&name), "{name}");
            assert!(name.starts_with(|c: char| c.is_ascii_lowercase()), "{name}");
            assert_eq!(name, service_hashed(topology, app));
        }
        assert_eq!(service("a-b", "c"), service("a", "b-c"));
        assert_ne!(service_hashed("a-b", "c"), service_hashed("a", "b-c"));
        assert_ne!(service("iot", "A"), service("iot", "a"));
    }

    #[test]
    fn names_begin_and_end_with_a_letter_or_digit() {
        let long = "x".repeat(63);
        for good in ["F1", "a", "edge-a", "a_b.c", &long] {
            assert!(is_name(good), "{good}");
        }
        let long = "x".repeat(64);
        for bad in ["", "-a", "a-", ".", "a/b", "a b", "é", "a#2", "a\n", &long] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
