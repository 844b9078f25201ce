//! Stages of the computation as values for display.
//!
//! ```text
//! global        all Forwarders, live links and Apps
//! MWT(root)     of parallel links the lightest, and how far everything is
//! SPT-ECMP(root)  of those the last edges of all shortest paths: a DAG
//! ```
//! Tables do not need them: [`crate::Spf`] holds the same without spelling it out.

use alloc::vec::Vec;

use crate::{
    epoch::Epoch,
    graph::Graph,
    model::{AppIndex, ForwarderIndex, LinkIndex, Topology},
    spf::Spf,
};

/// A link in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arc {
    /// Start of the edge.
    pub from: ForwarderIndex,
    /// End of the edge.
    pub to: ForwarderIndex,
    /// Over which link.
    pub link: LinkIndex,
    /// Weight in this direction.
    pub weight: u32,
}

/// The edge to an App.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attachment {
    /// Forwarder of the App.
    pub from: ForwarderIndex,
    /// The App.
    pub to: AppIndex,
    /// Weight of the attachment.
    pub weight: u32,
}

/// Global topology: parts that are up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Global {
    /// Its digest.
    pub epoch: Epoch,
    /// Forwarders that are up.
    pub forwarders: Vec<ForwarderIndex>,
    /// Both directions of the links that are up, ascending by `from`, `to`, `link`.
    pub arcs: Vec<Arc>,
    /// Attachments to Forwarders that are up.
    pub attachments: Vec<Attachment>,
}

/// The min-weight topology of a root: the global topology with parallel links reduced to those
/// of least weight, and each node labelled with its least path weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mwt {
    /// Root of the shortest paths.
    pub root: ForwarderIndex,
    /// For each pair and direction all links of least weight, ascending.
    pub arcs: Vec<Arc>,
    /// Attachments to Forwarders that are up.
    pub attachments: Vec<Attachment>,
    /// By [`ForwarderIndex`]: the distance, 0 for the root; `None` for what cannot be reached.
    pub forwarders: Vec<Option<u64>>,
    /// By [`AppIndex`]: the same.
    pub apps: Vec<Option<u64>>,
}

/// The shortest-path DAG of a root: for each node all last edges of shortest paths to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SptEcmp {
    /// Root of the shortest paths.
    pub root: ForwarderIndex,
    /// Last edges to Forwarders, ascending by `to`, then link.
    pub arcs: Vec<Arc>,
    /// Last edges to Apps, ascending by `to`, then `from`.
    pub attachments: Vec<Attachment>,
}

/// The first stage.
pub fn global(topology: &Topology, graph: &Graph) -> Global {
    let all = (0..graph.forwarder_count() as u32).map(ForwarderIndex);
    let forwarders = all
        .filter(|forwarder| graph.is_forwarder_up(*forwarder))
        .collect();
    let attachments = attachments(topology, graph);
    Global {
        epoch: graph.epoch(),
        forwarders,
        arcs: arcs(topology, graph),
        attachments,
    }
}

/// The second stage.
///
/// # Assumptions
/// `spf` is up to date with `graph`, as for [`spt_ecmp`].
pub fn mwt(topology: &Topology, graph: &Graph, spf: &Spf) -> Mwt {
    let all = arcs(topology, graph);
    let parallel = all.chunk_by(|one, other| (one.from, one.to) == (other.from, other.to));
    let lightest = parallel.flat_map(|arcs| {
        let least = arcs.iter().map(|arc| arc.weight).min();
        arcs.iter().filter(move |arc| Some(arc.weight) == least)
    });
    let forwarders = (0..graph.forwarder_count() as u32).map(ForwarderIndex);
    let apps = topology.apps().iter().map(|app| {
        let through =
            |(at, weight): &(ForwarderIndex, u32)| Some(spf.distance(*at)? + u64::from(*weight));
        app.attachments.iter().filter_map(through).min()
    });
    Mwt {
        root: spf.root(),
        arcs: lightest.copied().collect(),
        attachments: attachments(topology, graph),
        forwarders: forwarders.map(|to| spf.distance(to)).collect(),
        apps: apps.collect(),
    }
}

/// The third stage.
pub fn spt_ecmp(topology: &Topology, graph: &Graph, spf: &Spf) -> SptEcmp {
    let labels = mwt(topology, graph, spf);
    let is_last = |from: ForwarderIndex, weight: u32, distance: Option<u64>| {
        let through = labels.forwarders[from.position()].map(|near| near + u64::from(weight));
        through.is_some() && through == distance
    };
    let mut arcs = labels.arcs.clone();
    arcs.retain(|arc| is_last(arc.from, arc.weight, labels.forwarders[arc.to.position()]));
    arcs.sort_unstable_by_key(|arc| (arc.to, arc.link));
    let mut attachments = labels.attachments.clone();
    attachments.retain(|edge| is_last(edge.from, edge.weight, labels.apps[edge.to.position()]));
    attachments.sort_unstable_by_key(|edge| (edge.to, edge.from));
    SptEcmp {
        root: spf.root(),
        arcs,
        attachments,
    }
}

/// Both directions of all live links, ascending by ends, then link.
fn arcs(topology: &Topology, graph: &Graph) -> Vec<Arc> {
    let mut arcs = Vec::with_capacity(2 * topology.links().len());
    for (index, ends) in topology.links().iter().enumerate() {
        let link = LinkIndex(index as u32);
        if let Some((weight, weight_back)) = graph.weights(link) {
            arcs.push(Arc {
                from: ends.a,
                to: ends.b,
                link,
                weight,
            });
            arcs.push(Arc {
                from: ends.b,
                to: ends.a,
                link,
                weight: weight_back,
            });
        }
    }
    arcs.sort_unstable();
    arcs
}

fn attachments(topology: &Topology, graph: &Graph) -> Vec<Attachment> {
    let edges = topology.apps().iter().zip(0..).flat_map(|(app, index)| {
        let edge = move |(from, weight): &(ForwarderIndex, u32)| Attachment {
            from: *from,
            to: AppIndex(index),
            weight: *weight,
        };
        app.attachments.iter().map(edge)
    });
    edges
        .filter(|edge| graph.is_forwarder_up(edge.from))
        .collect()
}
