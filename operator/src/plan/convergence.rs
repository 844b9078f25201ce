//! Reports of nodes, compared with the tables that follow from them.
//!
//! A link can be used while both its ends report it up, and one that either end suspects is the last resort, as nodes themselves have it. What each node
//! should have programmed then is computed here by the same functions, and compared with its report.

use std::collections::{BTreeMap, BTreeSet};

use crds::{Forwarder, forwarder::LinkHealth};
use linkstate::{Impaired, Verdict, verdict};
use topology::{Epoch, ForwarderIndex, Graph, LinkIndex, Spf, Table};

use super::{
    computed::{Computed, Memo},
    desired::by_name,
    observed::{ExistingForwarder, Observed},
};

/// Convergence of one topology, from its nodes' reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Convergence {
    /// Number of desired Forwarders.
    pub total: u32,
    /// Number of Forwarders with any report.
    pub reported: u32,
    /// Number of Forwarders that report the table computed from the reported links.
    pub programmed: u32,
    /// Forwarders that do not report it yet, in order of names.
    pub waiting: Vec<Waiting>,
    /// Number of links.
    pub links: u32,
    /// Number of links that are reported up from both ends.
    pub links_up: u32,
    /// Links that are reported suspect, in order of ids.
    pub suspect: Vec<DownLink>,
    /// Links that are reported down, in order of ids.
    pub down: Vec<DownLink>,
    /// Number of links without a complete report.
    pub links_unknown: u32,
    /// Forwarders on nodes that are not there: Forwarder, node.
    pub gone: Vec<(String, String)>,
    /// Names of the Forwarders that reach one another over links that are not down, the largest part
    /// first; one part when nothing is cut off, none without Forwarders.
    pub parts: Vec<Vec<String>>,
    /// True when some of them reach one another over suspect links alone.
    pub is_doubtful: bool,
    /// Number of pods that are instances of Apps.
    pub pods: u32,
}

/// A link that is not up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownLink {
    /// Its id.
    pub id: String,
    /// The Forwarder that reports it.
    pub at: String,
    /// Reason.
    pub reason: String,
}

/// Forwarder whose node does not report the computed table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its name.
    pub forwarder: String,
    /// Its node.
    pub node: String,
    /// The epoch it reported last; empty when it reports nothing.
    pub epoch: String,
    /// Message of its `Ready` condition, unless that is true.
    pub problem: String,
}

/// Compares what nodes report with what follows from it.
pub(super) fn convergence(
    observed: &Observed,
    desired: &[Forwarder],
    computed: &Computed,
    pods: u32,
    memo: &mut Memo,
) -> Convergence {
    let reports = Reports::new(observed, desired, computed);
    let mut convergence = Convergence {
        total: desired.len() as u32,
        links: computed.graph.links().len() as u32,
        gone: gone(observed, desired),
        pods,
        ..Convergence::default()
    };
    let mut graph = Graph::new(&computed.graph);
    let mut is_down = vec![false; computed.graph.links().len()];
    let mut impaired = Impaired::default();
    for index in 0..convergence.links {
        let link = LinkIndex(index);
        match reports.link(link) {
            State::Up => convergence.links_up += 1,
            State::Unknown => {
                convergence.links_unknown += 1;
                impaired.down.push(link);
            }
            State::Suspect(suspect) => {
                impaired.suspect.push(link);
                convergence.suspect.push(suspect);
            }
            State::Down(down) => {
                is_down[link.position()] = true;
                impaired.down.push(link);
                convergence.down.push(down);
            }
        }
    }
    for change in impaired.changes(&computed.graph) {
        graph.change(change);
    }
    convergence.parts = parts(computed, &is_down);
    for link in &impaired.suspect {
        is_down[link.position()] = true;
    }
    convergence.is_doubtful = parts(computed, &is_down).len() > convergence.parts.len();
    let mut tables = Tables::new(computed, &graph, memo);
    for (index, existing) in (0..).map(ForwarderIndex).zip(&reports.forwarders) {
        let reported = existing.filter(|existing| !existing.status.epoch.is_empty());
        convergence.reported += u32::from(reported.is_some());
        let reported = reported.filter(|_| reports.is_written(index));
        if reported.is_some_and(|existing| tables.is_reported(index, existing)) {
            convergence.programmed += 1;
        } else {
            convergence
                .waiting
                .push(waiting(computed, index, *existing));
        }
    }
    convergence
}

/// Forwarders that are pinned to a missing node.
fn gone(observed: &Observed, desired: &[Forwarder]) -> Vec<(String, String)> {
    let nodes: BTreeSet<&str> = observed
        .nodes
        .iter()
        .map(|node| node.name.as_str())
        .collect();
    let specs = desired.iter().map(|forwarder| &forwarder.spec);
    let gone = specs.filter(|spec| !nodes.contains(spec.node.as_str()));
    gone.map(|spec| (spec.name.clone(), spec.node.clone()))
        .collect()
}

fn waiting(
    computed: &Computed,
    index: ForwarderIndex,
    existing: Option<&ExistingForwarder>,
) -> Waiting {
    let name = &computed.graph.forwarders()[index.position()];
    let ready = existing.and_then(|f| f.status.conditions.iter().find(|c| c.r#type == "Ready"));
    let problem = ready.filter(|ready| ready.status == "False");
    Waiting {
        forwarder: name.clone(),
        node: computed.nodes[index.position()].clone(),
        epoch: existing.map(|f| f.status.epoch.clone()).unwrap_or_default(),
        problem: problem
            .map(|ready| ready.message.clone())
            .unwrap_or_default(),
    }
}

/// The state of a link, from both its ends.
enum State {
    Up,
    Unknown,
    Suspect(DownLink),
    Down(DownLink),
}

/// Reports, by position in the graph.
struct Reports<'a> {
    computed: &'a Computed,
    forwarders: Vec<Option<&'a ExistingForwarder>>,
    /// True for each object that is up to date.
    written: Vec<bool>,
    /// Reported link states of each Forwarder.
    links: Vec<BTreeMap<&'a str, &'a crds::forwarder::LinkState>>,
}

impl<'a> Reports<'a> {
    fn new(observed: &'a Observed, desired: &[Forwarder], computed: &'a Computed) -> Reports<'a> {
        let usable = observed.usable();
        let desired = by_name(desired);
        let names = computed.graph.forwarders().iter();
        let forwarders: Vec<Option<&ExistingForwarder>> = names
            .map(|name| usable.get(name.as_str()).copied())
            .collect();
        let is_written = |existing: &Option<&ExistingForwarder>| {
            existing.is_some_and(|existing| {
                let desired = desired.get(existing.spec.name.as_str());
                desired.is_some_and(|desired| desired.spec == *existing.spec)
            })
        };
        let states = |existing: &Option<&'a ExistingForwarder>| {
            let states = existing.iter().flat_map(|f| &f.status.link_states);
            states.map(|state| (state.id.as_str(), state)).collect()
        };
        Reports {
            computed,
            written: forwarders.iter().map(is_written).collect(),
            links: forwarders.iter().map(states).collect(),
            forwarders,
        }
    }

    fn is_written(&self, forwarder: ForwarderIndex) -> bool {
        self.written[forwarder.position()]
    }

    fn link(&self, link: LinkIndex) -> State {
        let graph = &self.computed.graph;
        let declared = &graph.links()[link.position()];
        let id = graph.link_id(link);
        let ends = [declared.a, declared.b];
        let states = ends.map(|end| self.links[end.position()].get(id.as_str()).copied());
        let described = |position: usize, state: &crds::forwarder::LinkState| DownLink {
            id: id.clone(),
            at: graph.forwarders()[ends[position].position()].clone(),
            reason: state.reason.clone(),
        };
        match verdict(states, |state| health(state)) {
            Verdict::Usable => State::Up,
            Verdict::Suspect(position, state) => State::Suspect(described(position, state)),
            Verdict::Down(position, state) => State::Down(described(position, state)),
            Verdict::Unreported => State::Unknown,
        }
    }
}

fn health(state: &crds::forwarder::LinkState) -> linkstate::State {
    match state.health() {
        LinkHealth::Up => linkstate::State::Up,
        LinkHealth::Suspect => linkstate::State::Suspect,
        LinkHealth::Down => linkstate::State::Down,
    }
}

/// Tables on the live graph, computed when asked for.
struct Tables<'a> {
    computed: &'a Computed,
    graph: &'a Graph,
    spf: Option<Spf>,
    known: &'a mut BTreeMap<u32, Epoch>,
}

impl<'a> Tables<'a> {
    fn new(computed: &'a Computed, graph: &'a Graph, memo: &'a mut Memo) -> Tables<'a> {
        let key = (graph.epoch(), computed.max_paths);
        let is_same = |known: &(Epoch, usize, BTreeMap<u32, Epoch>)| (known.0, known.1) == key;
        if !memo.live.as_ref().is_some_and(is_same) {
            let known = if graph.epoch() == computed.epoch {
                (0..).zip(computed.digests.iter().copied()).collect()
            } else {
                BTreeMap::new()
            };
            memo.live = Some((key.0, key.1, known));
        }
        let (_, _, known) = memo.live.as_mut().expect("set above");
        Tables {
            computed,
            graph,
            spf: None,
            known,
        }
    }

    /// True when a node reports the table computed from the reported links. Its epoch says nothing: a
    /// table that stays as it is keeps the one in which it came to be.
    fn is_reported(&mut self, from: ForwarderIndex, existing: &ExistingForwarder) -> bool {
        existing.status.digest == self.digest(from).to_string()
    }

    fn digest(&mut self, from: ForwarderIndex) -> Epoch {
        if let Some(known) = self.known.get(&from.0) {
            return *known;
        }
        let spf = match &mut self.spf {
            Some(spf) => {
                spf.recompute(self.graph, from);
                spf
            }
            None => self.spf.insert(Spf::compute(self.graph, from)),
        };
        let computed = self.computed;
        let digest = Table::new(&computed.graph, self.graph, spf, computed.max_paths).digest();
        self.known.insert(from.0, digest);
        digest
    }
}

/// Names of what hangs together, the largest part first.
fn parts(computed: &Computed, is_down: &[bool]) -> Vec<Vec<String>> {
    let graph = &computed.graph;
    let mut neighbours = vec![Vec::new(); graph.forwarders().len()];
    for (link, _) in graph
        .links()
        .iter()
        .zip(is_down)
        .filter(|(_, down)| !**down)
    {
        neighbours[link.a.position()].push(link.b.position());
        neighbours[link.b.position()].push(link.a.position());
    }
    let mut is_seen = vec![false; neighbours.len()];
    let mut parts = Vec::new();
    for start in 0..neighbours.len() {
        let mut part = Vec::new();
        let mut next = vec![start];
        while let Some(at) = next.pop() {
            if !std::mem::replace(&mut is_seen[at], true) {
                part.push(at);
                next.extend(&neighbours[at]);
            }
        }
        part.sort_unstable();
        if !part.is_empty() {
            let names = part.into_iter().map(|at| graph.forwarders()[at].clone());
            parts.push(names.collect::<Vec<String>>());
        }
    }
    parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
    parts
}
