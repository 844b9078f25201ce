//! To and from petgraph: for its algorithms, for DOT, and as a second opinion in tests.
//!
//! A vertex is a Forwarder or an App, an edge one direction of a live link or the way to an App.
//! No edge leaves an App, so no algorithm of petgraph lets one transit.

use alloc::{
    collections::{BTreeMap, VecDeque},
    format,
    string::String,
    vec::Vec,
};

use petgraph::{
    Directed, Graph as Petgraph, Undirected,
    dot::{Config, Dot},
    graph::NodeIndex,
    visit::EdgeRef,
};

use crate::{
    error::TopologyError,
    graph::Graph,
    model::{AppIndex, ForwarderIndex, LinkIndex, LinkSpec, Topology},
    stage,
};

/// Vertex of the exported graph. Forwarders come first, then Apps, each in order of their index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vertex {
    /// A Forwarder, up or down.
    Forwarder(ForwarderIndex),
    /// An App.
    App(AppIndex),
}

impl Vertex {
    /// The name in the topology.
    pub fn name(self, topology: &Topology) -> &str {
        match self {
            Vertex::Forwarder(forwarder) => &topology.forwarders()[forwarder.position()],
            Vertex::App(app) => &topology.apps()[app.position()].name,
        }
    }
}

/// Edge of the exported graph: weight, and link; an edge to an App has no link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// At least 1.
    pub weight: u32,
    /// The link, if the edge is one.
    pub link: Option<LinkIndex>,
}

/// The live global topology as a petgraph. Forwarder `i` is node `i`, App `i` node
/// `forwarders + i`.
pub fn export(topology: &Topology, graph: &Graph) -> Petgraph<Vertex, Edge, Directed> {
    let global = stage::global(topology, graph);
    let edges = global.arcs.len() + global.attachments.len();
    let forwarders = topology.forwarders().len();
    let mut exported = Petgraph::with_capacity(forwarders + topology.apps().len(), edges);
    for index in 0..forwarders as u32 {
        exported.add_node(Vertex::Forwarder(ForwarderIndex(index)));
    }
    for index in 0..topology.apps().len() as u32 {
        exported.add_node(Vertex::App(AppIndex(index)));
    }
    let node = |forwarder: ForwarderIndex| NodeIndex::new(forwarder.position());
    for arc in global.arcs {
        let edge = Edge {
            weight: arc.weight,
            link: Some(arc.link),
        };
        exported.add_edge(node(arc.from), node(arc.to), edge);
    }
    for way in global.attachments {
        let app = NodeIndex::new(forwarders + way.to.position());
        exported.add_edge(
            node(way.from),
            app,
            Edge {
                weight: way.weight,
                link: None,
            },
        );
    }
    exported
}

/// A topology of Forwarders from an undirected petgraph of names and weights.
///
/// # Errors
/// Those of [`Topology::new`].
pub fn import(graph: &Petgraph<String, u32, Undirected>) -> Result<Topology, TopologyError> {
    let links = graph.edge_references().map(|edge| LinkSpec {
        a: graph[edge.source()].clone(),
        b: graph[edge.target()].clone(),
        weight: *edge.weight(),
        weight_back: *edge.weight(),
    });
    Topology::new(
        graph.node_weights().cloned().collect(),
        links.collect(),
        Vec::new(),
    )
}

/// A topology of Forwarders from a directed petgraph: the k-th edge from `a` to `b` and the
/// k-th one back are the two directions of one link.
///
/// # Errors
/// [`TopologyError::OneWay`] for an edge without one back, and those of [`Topology::new`].
pub fn import_directed(graph: &Petgraph<String, u32, Directed>) -> Result<Topology, TopologyError> {
    let mut waiting: BTreeMap<(NodeIndex, NodeIndex), VecDeque<u32>> = BTreeMap::new();
    let mut links = Vec::new();
    for edge in graph.edge_references() {
        let (from, to, weight) = (edge.source(), edge.target(), *edge.weight());
        // A loop is its own way back: let the topology refuse it by its own name.
        let back = match from == to {
            true => Some(weight),
            false => waiting.get_mut(&(to, from)).and_then(VecDeque::pop_front),
        };
        match back {
            None => waiting.entry((from, to)).or_default().push_back(weight),
            Some(first) => {
                let (a, b) = (graph[to].clone(), graph[from].clone());
                links.push(LinkSpec {
                    a,
                    b,
                    weight: first,
                    weight_back: weight,
                });
            }
        }
    }
    if let Some(((from, to), _)) = waiting.iter().find(|(_, weights)| !weights.is_empty()) {
        let (from, to) = (graph[*from].clone(), graph[*to].clone());
        return Err(TopologyError::OneWay { from, to });
    }
    Topology::new(graph.node_weights().cloned().collect(), links, Vec::new())
}

/// The live global topology in the DOT language, Apps as boxes.
pub fn dot(topology: &Topology, graph: &Graph) -> String {
    let exported = export(topology, graph);
    let config = [Config::NodeNoLabel, Config::EdgeNoLabel];
    let edge = |_, edge: petgraph::graph::EdgeReference<'_, Edge>| {
        format!("label=\"{}\"", edge.weight().weight)
    };
    let node = |_, (_, vertex): (NodeIndex, &Vertex)| {
        let shape = match vertex {
            Vertex::Forwarder(_) => "ellipse",
            Vertex::App(_) => "box",
        };
        format!("label={:?} shape={shape}", vertex.name(topology))
    };
    format!(
        "{:?}",
        Dot::with_attr_getters(&exported, &config, &edge, &node)
    )
}
