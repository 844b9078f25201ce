//! What `trace` prints: the paths seen and the legs seen and computed.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::computed::Edge;
use super::running::{Endpoint, Family};
use super::trace::Seen;

/// JSON of `trace`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Traced {
    from: String,
    to: String,
    family: Family,
    pub(crate) flows: usize,
    reached: usize,
    pub(crate) on_computed_path: usize,
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
    /// Whether every flow arrived over computed paths.
    pub(crate) fn is_as_computed(&self) -> bool {
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
    /// Whether it is on a shortest path.
    computed: bool,
}

/// Counts paths and legs.
pub(crate) fn traced(
    from: &Endpoint,
    to: &Endpoint,
    family: Family,
    seen: &[Seen],
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
    let is_on = |flow: &&Seen| flow.is_on(&from.forwarder, &to.forwarder, edges);
    let mut paths: Vec<Way> = ways
        .into_iter()
        .map(|((hops, reached), flows)| {
            let flow = Seen {
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
fn departs_after(from: &Endpoint, flow: &Seen, edges: &BTreeSet<Edge>) -> String {
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
pub(crate) fn text(traced: &Traced) -> String {
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
    let mut legs = crate::output::table(&["LEG", "SEEN", "COMPUTED"], &[1]);
    for leg in &traced.legs {
        let seen = if leg.flows == 0 {
            "-".to_owned()
        } else {
            leg.flows.to_string()
        };
        let computed = if leg.computed { "yes" } else { "no" };
        legs.add_row([
            format!("{} > {}", leg.from, leg.to),
            seen,
            computed.to_owned(),
        ]);
    }
    if !traced.legs.is_empty() {
        text.push('\n');
        text += &crate::output::table_text(&legs);
    }
    text
}
