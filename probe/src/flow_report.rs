//! Paths of traced flows beside the computed paths.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::endpoint::{Endpoint, Family};

/// One hop: the names of two Forwarders.
pub type Edge = (String, String);

/// The way of one flow, in names of Forwarders; `*` for one that stayed silent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowPath {
    /// Ports of the flow: source and destination.
    pub ports: (u16, u16),
    /// Forwarders in order, both ends' own included.
    pub hops: Vec<String>,
    /// True when it arrived.
    pub reached: bool,
}

impl FlowPath {
    /// The hops as pairs.
    pub fn edges(&self) -> impl Iterator<Item = Edge> + '_ {
        self.hops
            .windows(2)
            .map(|pair| (pair[0].clone(), pair[1].clone()))
    }

    /// True when it arrived and every hop is on a computed path.
    pub fn is_on(&self, from: &str, to: &str, edges: &BTreeSet<Edge>) -> bool {
        let ends = (self.hops.first(), self.hops.last());
        self.reached
            && ends.0.is_some_and(|first| first == from)
            && ends.1.is_some_and(|last| last == to)
            && self.edges().all(|edge| edges.contains(&edge))
    }
}

/// JSON of `trace`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Traced {
    from: String,
    to: String,
    family: Family,
    /// Flows that were traced.
    pub flows: usize,
    reached: usize,
    /// Flows that arrived over computed paths.
    pub on_computed_path: usize,
    /// Distinct paths, the most used first.
    paths: Vec<Way>,
    /// Every leg that was seen or computed.
    legs: Vec<Leg>,
}

/// A path and how many flows took it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Way {
    hops: Vec<String>,
    flows: usize,
    reached: bool,
    computed: bool,
    /// The last Forwarder on a computed path, where the way leaves it or ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    departs_after: Option<String>,
}

impl Traced {
    /// True when every flow arrived over computed paths.
    pub fn is_as_computed(&self) -> bool {
        self.on_computed_path == self.flows
    }
}

/// A hop from one Forwarder to the next.
#[derive(Serialize)]
struct Leg {
    from: String,
    to: String,
    /// Flows that took it.
    flows: usize,
    /// True when it is on a shortest path.
    computed: bool,
}

/// Counts paths and legs.
pub fn traced(
    from: &Endpoint,
    to: &Endpoint,
    family: Family,
    seen: &[FlowPath],
    expected: Option<&BTreeSet<Edge>>,
) -> Traced {
    let none = BTreeSet::new();
    let edges = expected.unwrap_or(&none);
    let mut ways: BTreeMap<(&[String], bool), usize> = BTreeMap::new();
    let mut legs: BTreeMap<Edge, usize> = edges.iter().map(|edge| (edge.clone(), 0)).collect();
    for flow in seen {
        *ways.entry((&flow.hops, flow.reached)).or_default() += 1;
        for edge in flow.edges() {
            *legs.entry(edge).or_default() += 1;
        }
    }
    let is_on = |flow: &&FlowPath| flow.is_on(&from.forwarder, &to.forwarder, edges);
    let mut paths: Vec<Way> = ways
        .into_iter()
        .map(|((hops, reached), flows)| {
            let flow = FlowPath {
                ports: (0, 0),
                hops: hops.to_vec(),
                reached,
            };
            let computed = expected.is_some() && is_on(&&flow);
            Way {
                departs_after: (!computed).then(|| departs_after(from, &flow, edges)),
                hops: flow.hops,
                flows,
                reached,
                computed,
            }
        })
        .collect();
    paths.sort_by_key(|way| std::cmp::Reverse(way.flows));
    Traced {
        from: from.name.clone(),
        to: to.name.clone(),
        family,
        flows: seen.len(),
        reached: seen.iter().filter(|flow| flow.reached).count(),
        on_computed_path: seen.iter().filter(is_on).count(),
        paths,
        legs: legs
            .into_iter()
            .map(|((a, b), flows)| {
                let computed = edges.contains(&(a.clone(), b.clone()));
                Leg {
                    from: a,
                    to: b,
                    flows,
                    computed,
                }
            })
            .collect(),
    }
}

/// The last hop that is as computed; where it starts when none is.
fn departs_after(from: &Endpoint, flow: &FlowPath, edges: &BTreeSet<Edge>) -> String {
    let mut last = &from.name;
    if flow.hops.first() == Some(&from.forwarder) {
        last = &from.forwarder;
        let pairs = flow.hops.windows(2);
        let is_computed = |pair: &&[String]| edges.contains(&(pair[0].clone(), pair[1].clone()));
        last = pairs
            .take_while(is_computed)
            .last()
            .map_or(last, |pair| &pair[1]);
    }
    last.clone()
}

/// For people.
pub fn text(traced: &Traced) -> String {
    let family = if traced.family == Family::V4 {
        "IPv4"
    } else {
        "IPv6"
    };
    let mut text = format!(
        "{} -> {}, {family}, {} flows: {} arrived, {} on computed paths\n\n",
        traced.from, traced.to, traced.flows, traced.reached, traced.on_computed_path
    );
    for way in &traced.paths {
        let end = if way.reached {
            traced.to.as_str()
        } else {
            "lost"
        };
        let remark = match &way.departs_after {
            None => String::new(),
            Some(last) => format!("   not computed: as computed up to {last}"),
        };
        let hops: Vec<&str> = std::iter::once(traced.from.as_str())
            .filter(|from| way.hops.first().map(String::as_str) != Some(from))
            .chain(way.hops.iter().map(String::as_str))
            .chain(Some(end).filter(|end| way.hops.last().map(String::as_str) != Some(end)))
            .collect();
        text += &format!("{:>5} flows  {}{remark}\n", way.flows, hops.join(" > "));
    }
    if !traced.legs.is_empty() {
        text.push('\n');
        text += &legs_text(&traced.legs);
    }
    text
}

/// The legs as a table, with the columns of all other tables of the command.
fn legs_text(legs: &[Leg]) -> String {
    let names: Vec<String> = legs
        .iter()
        .map(|leg| format!("{} > {}", leg.from, leg.to))
        .collect();
    let longest = names.iter().map(|name| name.chars().count()).max();
    let width = longest.unwrap_or(0).max("LEG".len());
    let mut text = format!("{:<width$}   SEEN   COMPUTED\n", "LEG");
    for (leg, name) in legs.iter().zip(names) {
        let seen = match leg.flows {
            0 => "-".to_owned(),
            flows => flows.to_string(),
        };
        let computed = if leg.computed { "yes" } else { "no" };
        text += &format!("{name:<width$}   {seen:>4}   {computed}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(hops: &str, reached: bool) -> FlowPath {
        let hops = hops.split_whitespace().map(str::to_owned).collect();
        FlowPath {
            ports: (1, 2),
            hops,
            reached,
        }
    }

    #[test]
    fn a_flow_is_on_the_path_only_from_end_to_end() {
        let edge = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let edges = BTreeSet::from([edge("a", "b"), edge("b", "d"), edge("a", "c")]);
        #[rustfmt::skip]
        let cases = [
            // hops    arrived  on the path
            ("a b d",  true,    true),
            ("a b d",  false,   false),
            ("a c d",  true,    false), // c to d is not computed
            ("b d",    true,    false), // not from a
            ("a b",    true,    false), // not to d
            ("a * d",  true,    false), // one stayed silent
            ("",       true,    false),
        ];
        for (hops, reached, expected) in cases {
            assert_eq!(
                path(hops, reached).is_on("a", "d", &edges),
                expected,
                "{hops}"
            );
        }
    }
}
