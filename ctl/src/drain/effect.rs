//! Effect of a drain on the others: drained is the last choice, so nothing is cut off; but what is
//! the only way for others does not run empty.

use crds::topology::Drain;
use serde::Serialize;
use topology::{Fault, LinkSelector, Topology};

/// Most names of one part in a message.
const NAMES: usize = 4;

/// Traffic that stays on drained Forwarders and links.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Effect {
    /// Parts of the other Forwarders that reach one another only across the drained parts; empty when
    /// there is always another way.
    only_way: Vec<Vec<String>>,
    /// Apps that are attached to drained Forwarders only: their traffic ends there.
    only_there: Vec<String>,
}

impl Effect {
    /// From one drain to another.
    pub(super) fn new(topology: &Topology, before: &Drain, after: &Drain) -> Self {
        let is_drained = |name: &String| after.forwarders.contains(name);
        // Remaining parts without all drained ones, and without the earlier drained ones.
        let parts = parts(topology, after, &is_drained);
        let was = self::parts(topology, before, &is_drained);
        let on_drained = |app: &topology::App| {
            let mut at = app.attachments.iter();
            !app.attachments.is_empty()
                && at.all(|(at, _)| is_drained(&topology.forwarders()[at.position()]))
        };
        let apps = topology.apps().iter().filter(|app| on_drained(app));
        Self {
            only_way: match parts.len() > was.len().max(1) {
                true => parts,
                false => Vec::new(),
            },
            only_there: apps.map(|app| app.name.clone()).collect(),
        }
    }

    /// Reason why the parts would not run empty; `None` when they would.
    pub(super) fn refusal(&self) -> Option<String> {
        if self.only_way.is_empty() {
            return None;
        }
        let part = |names: &Vec<String>| match names.get(..NAMES) {
            Some(first) if names.len() > NAMES => {
                format!("{} and {} more", first.join(", "), names.len() - NAMES)
            }
            _ => names.join(", "),
        };
        let parts: Vec<String> = self.only_way.iter().map(part).collect();
        Some(format!(
            "it would not run empty: these reach one another only across it: {}",
            parts.join(" | ")
        ))
    }

    /// Remarks for people.
    pub(super) fn lines(&self) -> String {
        let mut text = String::new();
        if let Some(why) = self.refusal() {
            text += &format!("{why}\n");
        }
        if !self.only_there.is_empty() {
            let apps = self.only_there.join(", ");
            text += &format!("attached to drained forwarders only, and reached there: {apps}\n");
        }
        text
    }
}

/// Connected components without drained links, of the Forwarders that are not `left_out`.
fn parts(
    topology: &Topology,
    drain: &Drain,
    left_out: &dyn Fn(&String) -> bool,
) -> Vec<Vec<String>> {
    let left = topology.without(&faults(topology, drain));
    let count = left.forwarders().len();
    let mut part: Vec<usize> = (0..count).collect();
    fn root(part: &mut [usize], mut at: usize) -> usize {
        while part[at] != at {
            part[at] = part[part[at]];
            at = part[at];
        }
        at
    }
    for link in left.links() {
        let ends = [link.a, link.b].map(|end| root(&mut part, end.position()));
        part[ends[1]] = ends[0];
    }
    let mut parts: std::collections::BTreeMap<usize, Vec<String>> = Default::default();
    for at in 0..count {
        let name = &left.forwarders()[at];
        if !left_out(name) {
            parts
                .entry(root(&mut part, at))
                .or_default()
                .push(name.clone());
        }
    }
    parts.into_values().collect()
}

fn faults(topology: &Topology, drain: &Drain) -> Vec<Fault> {
    let forwarder = |name: &String| topology.forwarder(name).map(Fault::Forwarder);
    let mut faults: Vec<Fault> = drain.forwarders.iter().filter_map(forwarder).collect();
    for text in &drain.links {
        if let Ok(selector) = LinkSelector::parse(text) {
            faults.extend(topology.selected(&selector).into_iter().map(Fault::Link));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use topology::{AppSpec, LinkSpec};

    fn graph(names: &str, links: &[(&str, &str)], apps: &[(&str, &str)]) -> Topology {
        let links = links.iter().map(|(a, b)| LinkSpec {
            a: (*a).into(),
            b: (*b).into(),
            weight: 1,
            weight_back: 1,
        });
        let apps = apps.iter().map(|(name, at)| AppSpec {
            name: (*name).into(),
            attachments: vec![((*at).into(), 1)],
        });
        let names = names.split(' ').map(str::to_owned).collect();
        Topology::new(names, links.collect(), apps.collect()).expect("a graph")
    }

    fn drain(text: &str) -> Drain {
        let (links, forwarders) = text
            .split_whitespace()
            .map(str::to_owned)
            .partition(|name| name.contains('/'));
        Drain { forwarders, links }
    }

    #[test]
    fn what_is_the_only_way_for_others_does_not_run_empty() {
        let ring = [("a", "b"), ("b", "c"), ("c", "d"), ("d", "a")];
        #[rustfmt::skip]
        let cases = [
            // links             before  after      parts
            (&ring[..],          "",     "a",       0), // a ring has another way
            (&ring[..],          "",     "a c",     2), // b and d
            (&ring[..],          "a",    "a c",     2),
            (&ring[..],          "",     "a/b",     0),
            (&ring[..],          "a/b",  "a/b c/d", 2),
            (&ring[..3],         "",     "b",       2), // a line
            (&ring[..3],         "",     "d",       0), // its end
            (&ring[..3],         "",     "a/b#1",   2),
            (&ring[..2],         "",     "d",       0), // d is alone anyhow
            (&ring[..],          "",     "a b c d", 0), // nobody else is left
        ];
        for (links, before, after, expected) in cases {
            let topology = graph("a b c d", links, &[]);
            let effect = Effect::new(&topology, &drain(before), &drain(after));
            assert_eq!(
                effect.only_way.len(),
                expected,
                "{links:?}: {before:?} to {after:?}"
            );
        }
    }

    #[test]
    fn apps_that_are_only_there_are_told() {
        let topology = graph("a b", &[("a", "b")], &[("x", "a"), ("y", "b")]);
        let effect = Effect::new(&topology, &drain(""), &drain("a"));
        assert_eq!(effect.only_there, ["x"]);
        assert!(effect.refusal().is_none());
        assert!(
            effect.lines().contains("reached there: x"),
            "{}",
            effect.lines()
        );
    }
}
