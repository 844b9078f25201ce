//! Derived names of a lab: namespaces of hosts, of the underlay and of App instances.
//!
//! All are derived by [`crds::names::netns`], whose hash covers Kubernetes namespace, topology and
//! name, so that two labs never collide; the prefix distinguishes the kinds.

use crds::names::netns;

/// Longest part of a readable name that is kept: file names end at 255 bytes.
const READABLE_MAX: usize = 160;

/// Namespace of the bridge.
pub(crate) fn underlay(namespace: &str, topology: &str) -> String {
    with_prefix("bmu-", namespace, topology, "underlay")
}

/// Namespace of the host of `node`.
pub(crate) fn host(namespace: &str, topology: &str, node: &str) -> String {
    with_prefix("bmh-", namespace, topology, node)
}

/// Namespace of an App's instance.
pub(crate) fn instance(namespace: &str, topology: &str, instance: &str) -> String {
    with_prefix("bma-", namespace, topology, instance)
}

/// Name of instance `number` of `app`.
pub(crate) fn instance_of(app: &str, number: u32) -> String {
    format!("{app}-{number}")
}

/// CNI container id of the instance: `[A-Za-z0-9][-A-Za-z0-9_.]*`.
pub(crate) fn container(namespace: &str, topology: &str, instance: &str) -> String {
    format!("lab.{namespace}.{topology}.{instance}")
}

/// A directory for `node`: short, as paths of unix sockets end at 107 bytes, and without surprises.
pub(crate) fn node_directory(node: &str) -> String {
    short(node, 16)
}

/// A directory for the lab, short for the same reason.
pub(crate) fn lab_directory(namespace: &str, topology: &str) -> String {
    short(&format!("{namespace}.{topology}"), 40)
}

/// `name` if it has at most `max` bytes, else its beginning and a hash of all of it.
fn short(name: &str, max: usize) -> String {
    if name.len() <= max {
        return name.to_owned();
    }
    let hashed = netns("", "", name);
    let hash = &hashed[hashed.len() - 8..];
    let kept: String = name.chars().take(max - 9).collect();
    format!("{kept}~{hash}")
}

fn with_prefix(prefix: &str, namespace: &str, topology: &str, name: &str) -> String {
    let full = netns(namespace, topology, name);
    let plain = full.strip_prefix("bm-").unwrap_or(&full);
    if plain.len() <= READABLE_MAX {
        return format!("{prefix}{plain}");
    }
    let (readable, hash) = plain.rsplit_once('-').unwrap_or((plain, ""));
    let kept: String = readable.chars().take(READABLE_MAX - 9).collect();
    format!("{prefix}{kept}-{hash}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_labs_never_share_a_name() {
        let names = [
            underlay("a", "t"),
            host("a", "t", "underlay"),
            instance("a", "t", "underlay"),
            netns("a", "t", "underlay"),
            host("b", "t", "underlay"),
        ];
        for (position, name) in names.iter().enumerate() {
            assert!(!names[position + 1..].contains(name), "{name}");
        }
    }

    #[test]
    fn long_names_are_shortened_and_still_differ() {
        let long = "n".repeat(250);
        let (one, other) = (format!("{long}1"), format!("{long}2"));
        assert!(host("a", &"t".repeat(63), &one).len() <= 255);
        assert_ne!(host("a", "t", &one), host("a", "t", &other));
        assert_eq!(node_directory("n1"), "n1");
        assert!(node_directory(&one).len() <= 16);
        assert_ne!(node_directory(&one), node_directory(&other));
    }
}
