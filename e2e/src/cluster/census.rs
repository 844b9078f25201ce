//! All that a node's kernel and disk hold, to be compared before and after.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::Node;

/// Each section is a script whose lines, in any order, are its entries. Nothing in them changes by itself: no counters,
/// no lifetimes, and of kube-proxy's tables only the names.
const SECTIONS: [(&str, &str); 10] = [
    ("namespaces", "ls /run/netns"),
    (
        "links",
        "ip -o link show | sed 's/^[0-9]*: //; s/ .*//; s/@.*//'",
    ),
    ("addresses", "ip -o address show | awk '{print $2, $3, $4}'"),
    (
        "routes",
        "ip route show table all; ip -6 route show table all",
    ),
    ("rules", "ip rule; ip -6 rule"),
    ("nexthops", "ip nexthop"),
    ("nftables", "nft list tables"),
    (
        "cni",
        "cd / && find etc/cni/net.d opt/cni/bin ! -type d -exec md5sum {} +",
    ),
    (
        "beemesh",
        "cd / && find run/beemesh var/lib/beemesh ! -type d 2>/dev/null || :",
    ),
    // /run/netns itself is mounted by the first who names a namespace, as ip-netns(8) does, and stays until the next boot.
    (
        "mounts",
        "awk '{print $5}' /proc/self/mountinfo | grep -vxF -e /run/netns -f /run/mounts-of-the-machine",
    ),
];

/// Observed objects of a node, by section: `namespaces`, `links`, `addresses`, `routes`, `rules`,
/// `nexthops`, `nftables`, `cni`, `beemesh` (files), `mounts`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Census(pub BTreeMap<&'static str, BTreeSet<String>>);

impl Census {
    /// Lines `section: + entry` for additional entries of `later`, `section: - entry` for missing ones; empty when both are equal.
    #[must_use]
    pub fn changes(&self, later: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for (section, before) in &self.0 {
            let after = &later.0[section];
            let more = after
                .difference(before)
                .map(|entry| format!("{section}: + {entry}"));
            let less = before
                .difference(after)
                .map(|entry| format!("{section}: - {entry}"));
            lines.extend(more.chain(less));
        }
        lines
    }
}

impl Node {
    /// Census of the node. Pods that come and go change it too: their links, routes, namespaces and
    /// mounts.
    ///
    /// # Errors
    /// The node does not run.
    pub fn census(&self) -> Result<Census> {
        let mut sections = BTreeMap::new();
        for (section, script) in SECTIONS {
            let lines = self.ok(script)?;
            sections.insert(section, lines.lines().map(str::to_owned).collect());
        }
        Ok(Census(sections))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn census(links: &[&str]) -> Census {
        let links = links.iter().map(|&link| link.to_owned()).collect();
        Census(BTreeMap::from([("links", links)]))
    }

    #[test]
    fn changes_name_what_came_and_what_went() {
        let (before, after) = (census(&["lo", "eth0"]), census(&["lo", "vx1"]));
        let expected = ["links: + vx1", "links: - eth0"];
        assert_eq!(before.changes(&after), expected);
        assert!(before.changes(&before).is_empty());
    }
}
