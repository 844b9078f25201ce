//! Wanted faults of each part of a lab, derived from the record. Pure.

use std::collections::BTreeSet;

use crate::state::directory::{Direction, Faults, Limit};

/// Wanted faults of one end of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EndFaults {
    /// True for an interface that is down.
    pub(crate) is_down: bool,
    /// True when all that arrives is dropped.
    pub(crate) is_deaf: bool,
    /// Limit of what is sent.
    pub(crate) limit: Option<Limit>,
}

impl Faults {
    /// Faults of the end of `link` at `forwarder`.
    pub(crate) fn of_end(&self, link: &str, forwarder: &str) -> EndFaults {
        EndFaults {
            is_down: self.cut.contains(link) || self.killed.contains(forwarder),
            is_deaf: self.silent.contains(link) || self.is_one_way(link, forwarder),
            limit: self.slow.get(link).copied(),
        }
    }

    fn is_one_way(&self, link: &str, to: &str) -> bool {
        let mut directions = self.one_way.iter();
        directions.any(|it| it.link == link && it.to == to)
    }

    /// Links with a fault of their own.
    pub(crate) fn links(&self) -> BTreeSet<&String> {
        let one_way = self.one_way.iter().map(|direction| &direction.link);
        let named = self.cut.iter().chain(&self.silent).chain(one_way);
        named.chain(self.slow.keys()).collect()
    }

    /// True when an interface of the link between these Forwarders is down.
    pub(crate) fn takes_out(&self, link: &str, ends: [&str; 2]) -> bool {
        ends.iter().any(|end| self.of_end(link, end).is_down)
    }

    /// True when the interfaces of a link are up, and packets are dropped in one direction or both. `ends` are the Forwarder
    /// and the node of each end.
    pub(crate) fn silences(&self, link: &str, ends: [(&str, &str); 2]) -> bool {
        let is_deaf = |(forwarder, _): &(&str, &str)| self.of_end(link, forwarder).is_deaf;
        ends.iter().any(is_deaf) || self.parts(ends[0].1, ends[1].1)
    }

    /// True when these nodes are in different groups of a partition.
    pub(crate) fn parts(&self, one: &str, other: &str) -> bool {
        let group = |node: &str| self.partition.iter().position(|group| group.contains(node));
        group(one) != group(other)
    }

    /// True while some daemons do not learn of changes, so that their reports are older than the faults.
    pub(crate) fn hides_changes(&self) -> bool {
        !(self.frozen.is_empty() && self.killed_daemons.is_empty() && self.partition.is_empty())
    }

    /// True when the daemon of `node` does not work.
    pub(crate) fn stops(&self, node: &str) -> bool {
        self.frozen.contains(node) || self.killed_daemons.contains(node)
    }

    /// Removes the faults of a link.
    pub(crate) fn heal_link(&mut self, link: &str) {
        self.cut.remove(link);
        self.silent.remove(link);
        self.one_way.retain(|direction| direction.link != link);
        self.slow.remove(link);
    }

    /// Removes the faults of the Forwarder and of the node of this name.
    pub(crate) fn heal_named(&mut self, name: &str) {
        self.killed.remove(name);
        self.frozen.remove(name);
        self.killed_daemons.remove(name);
    }

    /// Removes the faults of nodes: what keeps daemons from their work, or apart.
    pub(crate) fn heal_nodes(&mut self) {
        self.frozen.clear();
        self.killed_daemons.clear();
        self.partition.clear();
    }

    /// Keeps the faults of these links and Forwarders.
    pub(crate) fn keep(&mut self, links: &BTreeSet<&str>, forwarders: &BTreeSet<&str>) {
        self.cut.retain(|link| links.contains(link.as_str()));
        self.silent.retain(|link| links.contains(link.as_str()));
        self.one_way.retain(|it| links.contains(it.link.as_str()));
        self.slow.retain(|link, _| links.contains(link.as_str()));
        self.killed
            .retain(|name| forwarders.contains(name.as_str()));
    }

    /// Descriptions of the faults, one line for each kind in force. `now` is in seconds since 1970.
    pub(crate) fn lines(&self, now: u64) -> Vec<String> {
        let listed = |kind: &str, names: &BTreeSet<String>| {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            (!names.is_empty()).then(|| format!("{kind}: {}", names.join(", ")))
        };
        let one_way = |it: &Direction| format!("one way: {} drops what goes to {}", it.link, it.to);
        let slow = |(link, limit): (&String, &Limit)| format!("slow: {link} at {}", limit.text());
        let groups: Vec<String> = self
            .partition
            .iter()
            .map(|group| group.iter().cloned().collect::<Vec<_>>().join(", "))
            .collect();
        let burn = self.burn.map(|burn| {
            let (threads, left) = (burn.threads, burn.until.saturating_sub(now));
            format!("burning: {threads} threads, {left} s left")
        });
        let mut lines: Vec<String> = listed("cut", &self.cut).into_iter().collect();
        lines.extend(listed("cut silently", &self.silent));
        lines.extend(self.one_way.iter().map(one_way));
        lines.extend(self.slow.iter().map(slow));
        lines.extend(listed("killed", &self.killed));
        lines.extend(listed("daemon frozen", &self.frozen));
        lines.extend(listed("daemon killed", &self.killed_daemons));
        lines.extend((!groups.is_empty()).then(|| format!("partition: {}", groups.join(" | "))));
        lines.extend(burn);
        lines
    }
}

impl Limit {
    /// Text as in arguments: `10mbit, 50 ms of queue`.
    pub(crate) fn text(self) -> String {
        let rate = match self.bits_per_second {
            rate if rate % 1_000_000_000 == 0 => format!("{}gbit", rate / 1_000_000_000),
            rate if rate % 1_000_000 == 0 => format!("{}mbit", rate / 1_000_000),
            rate if rate % 1_000 == 0 => format!("{}kbit", rate / 1_000),
            rate => format!("{rate}bit"),
        };
        format!("{rate}, {} ms of queue", self.queue_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direction(link: &str, to: &str) -> Direction {
        Direction {
            link: link.to_owned(),
            to: to.to_owned(),
        }
    }

    #[test]
    fn a_link_is_out_when_it_or_an_end_of_it_is() {
        let mut faults = Faults::default();
        assert!(!faults.takes_out("a/b", ["a", "b"]));
        faults.killed.insert("b".to_owned());
        assert!(faults.takes_out("a/b", ["a", "b"]));
        assert!(!faults.takes_out("a/c", ["a", "c"]));
        faults.silent.insert("a/c".to_owned());
        assert!(!faults.takes_out("a/c", ["a", "c"]), "it looks up");
        assert!(faults.silences("a/c", [("a", "n1"), ("c", "n1")]));
    }

    #[test]
    fn one_direction_is_deaf_at_its_receiving_end_only() {
        let mut faults = Faults::default();
        faults.one_way.insert(direction("a/b", "b"));
        assert!(faults.of_end("a/b", "b").is_deaf);
        assert_eq!(faults.of_end("a/b", "a"), EndFaults::default());
        assert_eq!(faults.of_end("a/b#2", "b"), EndFaults::default());
    }

    #[test]
    fn a_partition_silences_links_between_its_groups() {
        let group = |nodes: &[&str]| nodes.iter().map(|it| (*it).to_owned()).collect();
        let faults = Faults {
            partition: vec![group(&["n1", "n2"]), group(&["n3"])],
            ..Faults::default()
        };
        #[rustfmt::skip]
        let cases = [("n1", "n2", false), ("n3", "n3", false), ("n1", "n3", true), ("n3", "n2", true)];
        for (one, other, expected) in cases {
            let ends = [("a", one), ("b", other)];
            assert_eq!(faults.silences("a/b", ends), expected, "{one} {other}");
        }
        assert!(!Faults::default().parts("n1", "n2"));
    }

    #[test]
    fn a_repair_removes_every_fault_of_its_name_and_no_other() {
        let set = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect();
        let limit = Limit {
            bits_per_second: 10_000_000,
            queue_ms: 50,
        };
        let whole = Faults {
            cut: set(&["a/b", "a/c"]),
            silent: set(&["a/b", "a/c"]),
            one_way: BTreeSet::from([direction("a/b", "b"), direction("a/c", "c")]),
            slow: [("a/b".to_owned(), limit), ("a/c".to_owned(), limit)].into(),
            killed: set(&["a", "n"]),
            frozen: set(&["n", "o"]),
            killed_daemons: set(&["n", "o"]),
            ..Faults::default()
        };
        let mut faults = whole.clone();
        faults.heal_link("a/b");
        let left: Vec<&String> = faults.links().into_iter().collect();
        assert_eq!(left, ["a/c"]);
        assert_eq!(faults.killed, whole.killed);
        faults.heal_named("n");
        assert!(!faults.stops("n") && faults.stops("o"));
        assert_eq!(faults.killed, set(&["a"]));
        let lines = whole.lines(0).join("\n");
        for expected in [
            "one way: a/b drops what goes to b",
            "slow: a/c at 10mbit, 50 ms of queue",
            "daemon frozen: n, o",
        ] {
            assert!(lines.contains(expected), "{lines}");
        }
    }
}
