//! Shortest paths with next hops, beside petgraph and NetworKit.

use std::{fs, hint::black_box, time::Duration};

use anyhow::{Result, ensure};
use petgraph::graph::{DiGraph, NodeIndex};
use rayon::prelude::*;
use topology::{
    Change, ForwarderIndex, Graph, LinkIndex, Shape, Spf, Topology,
    generate::{Kind, generate},
    hash::SplitMix64,
};

use crate::harness::{
    bench::{Bench, Context},
    figure::{Better, Figure},
    netns::unique_name,
    sample::{Samples, ms, paired, time},
};

mod python;

const SIZES: [usize; 3] = [100, 1_000, 10_000];
const KINDS: [(&str, Kind); 3] = [
    ("grid", Kind::Shape(Shape::Grid)),
    ("fabric", Kind::Shape(Shape::Fabric)),
    ("random", Kind::Random),
];
const SEED: u64 = 1;
/// Roots of one graph, evenly spread over it.
const ROOTS: usize = 20;
const ROUNDS: usize = 2 * ROOTS;
/// Vertices handled in one sample at least: a small graph is computed several times for each.
const VERTICES_PER_SAMPLE: usize = 10_000;

/// The benches of this subject.
pub(crate) fn benches() -> Vec<Bench> {
    let mut benches = vec![];
    for (shape, kind) in KINDS {
        for n in SIZES {
            let name = format!("spt-{shape}-{n}");
            benches.push(Bench::new([name.clone()], move |context| {
                one_root(&name, kind, n, context)
            }));
        }
    }
    benches.push(Bench::new(["spt-link-change-10000"], |_| {
        link_change(10_000)
    }));
    benches.push(Bench::new(["spt-all-1000"], |_| all_roots(1_000)));
    benches
}

/// The same graph as each side wants it; making it is not part of any figure.
struct Graphs {
    topology: Topology,
    ours: Graph,
    petgraph: DiGraph<(), u32>,
}

impl Graphs {
    fn new(kind: Kind, n: usize) -> Result<Self> {
        let topology = generate(kind, n, SEED).into_topology()?;
        let ours = Graph::new(&topology);
        let edges = half_edges(&topology);
        Ok(Self {
            petgraph: DiGraph::from_edges(edges),
            ours,
            topology,
        })
    }

    fn root(&self, round: usize) -> ForwarderIndex {
        let n = self.topology.forwarders().len();
        ForwarderIndex((round % ROOTS * n / ROOTS) as u32)
    }
}

/// Both directions of all links: from, to, weight.
fn half_edges(topology: &Topology) -> Vec<(u32, u32, u32)> {
    let links = topology.links().iter();
    links
        .flat_map(|link| {
            [
                (link.a.0, link.b.0, link.weight),
                (link.b.0, link.a.0, link.weight_back),
            ]
        })
        .collect()
}

fn one_root(name: &str, kind: Kind, n: usize, context: &Context) -> Result<Vec<Figure>> {
    let graphs = Graphs::new(kind, n)?;
    check_distances(&graphs)?;
    let repeat = (VERTICES_PER_SAMPLE / n).max(1);
    let mut spf = Spf::compute(&graphs.ours, graphs.root(0));
    let mut ours = |round| {
        let root = graphs.root(round);
        let (elapsed, ()) = time(|| (0..repeat).for_each(|_| spf.recompute(&graphs.ours, root)));
        Ok(elapsed / repeat as u32)
    };
    let petgraph = |round| {
        let root = graphs.root(round);
        let (elapsed, ()) = time(|| {
            for _ in 0..repeat {
                black_box(dijkstra(&graphs.petgraph, root).count());
            }
        });
        Ok(elapsed / repeat as u32)
    };
    let (value, peer) = paired(ROOTS, ROUNDS, &mut ours, petgraph)?;
    let mut figures = vec![beside(name, &value, "petgraph", &peer)];
    if let Some(python) = &context.python {
        let file = context.work.join(format!("{}.graph", unique_name(context)));
        fs::write(&file, as_text(&graphs.topology))?;
        let mut peer = python::Peer::start(python, &file)?;
        peer.check(
            graphs.root(1),
            sum_of_distances(&graphs.ours, graphs.root(1)),
        )?;
        let theirs = |round| peer.time(graphs.root(round), repeat);
        let (value, peer) = paired(ROOTS, ROUNDS, ours, theirs)?;
        figures.push(beside(name, &value, python::NAME, &peer));
    }
    Ok(figures)
}

fn beside(name: &str, ours: &Samples, peer: &str, theirs: &Samples) -> Figure {
    Figure::alone(name, ms(ours.median()), "ms")
        .beside(peer, ms(theirs.median()), Better::Lower)
        .note(format!(
            "distances and next hops; peer: distances only; median of {} over {ROOTS} roots, worst {:.3}",
            ours.count(),
            ms(ours.longest())
        ))
}

fn dijkstra(graph: &DiGraph<(), u32>, root: ForwarderIndex) -> impl Iterator<Item = (u32, u64)> {
    let root = NodeIndex::new(root.position());
    petgraph::algo::dijkstra(graph, root, None, |edge| u64::from(*edge.weight()))
        .into_iter()
        .map(|(vertex, distance)| (vertex.index() as u32, distance))
}

/// A figure for wrong answers is worth nothing: our distances are petgraph's.
fn check_distances(graphs: &Graphs) -> Result<()> {
    for round in [0, ROOTS / 2] {
        let spf = Spf::compute(&graphs.ours, graphs.root(round));
        for (vertex, distance) in dijkstra(&graphs.petgraph, graphs.root(round)) {
            let ours = spf.distance(ForwarderIndex(vertex));
            ensure!(
                ours == Some(distance),
                "distance of {vertex}: {ours:?}, petgraph {distance}"
            );
        }
    }
    Ok(())
}

fn sum_of_distances(graph: &Graph, root: ForwarderIndex) -> u64 {
    let spf = Spf::compute(graph, root);
    (0..graph.forwarder_count() as u32)
        .filter_map(|vertex| spf.distance(ForwarderIndex(vertex)))
        .sum()
}

/// The graph for the peer in Python: the number of vertices, then `from to weight` on each line.
fn as_text(topology: &Topology) -> String {
    let mut text = format!("{}\n", topology.forwarders().len());
    for (from, to, weight) in half_edges(topology) {
        text += &format!("{from} {to} {weight}\n");
    }
    text
}

/// One link of a large graph goes down, comes back or changes its weight; the tree follows.
fn link_change(n: usize) -> Result<Vec<Figure>> {
    const CHANGES: usize = 200;
    let mut graphs = Graphs::new(Kind::Random, n)?;
    let mut numbers = SplitMix64::new(SEED);
    let mut times = vec![];
    for round in 0..ROOTS {
        let mut spf = Spf::compute(&graphs.ours, graphs.root(round));
        for _ in 0..CHANGES {
            let change = random_change(&graphs.ours, &mut numbers);
            let (elapsed, ()) = time(|| {
                let applied = graphs.ours.change(change);
                spf.update(&graphs.ours, &[applied]);
            });
            times.push(elapsed);
        }
        check_next_hops(&graphs.ours, &spf)?;
    }
    let petgraph: Vec<Duration> = (0..ROOTS)
        .map(|round| time(|| black_box(dijkstra(&graphs.petgraph, graphs.root(round)).count())).0)
        .collect();
    let (ours, petgraph) = (Samples::new(times), Samples::new(petgraph));
    let note = format!(
        "peer: a full run; median of {} changes, p99 {:.4}, worst {:.4}; equal to a full run",
        ours.count(),
        ms(ours.quantile(0.99)),
        ms(ours.longest())
    );
    let figure = Figure::alone(&format!("spt-link-change-{n}"), ms(ours.median()), "ms")
        .beside("petgraph", ms(petgraph.median()), Better::Lower)
        .note(note);
    Ok(vec![figure])
}

/// A link that is up goes down or gets other weights, half and half; one that is down comes up.
fn random_change(graph: &Graph, numbers: &mut SplitMix64) -> Change {
    let link = LinkIndex(numbers.below(graph.link_count() as u64) as u32);
    let mut weight = || numbers.below(10) as u32 + 1;
    let weights = (weight(), weight());
    let goes_down = graph.is_up(link) && numbers.below(2) == 0;
    Change::Link {
        link,
        weights: (!goes_down).then_some(weights),
    }
}

fn check_next_hops(graph: &Graph, spf: &Spf) -> Result<()> {
    let fresh = Spf::compute(graph, spf.root());
    for vertex in (0..graph.forwarder_count() as u32).map(ForwarderIndex) {
        ensure!(
            spf.distance(vertex) == fresh.distance(vertex)
                && spf.next_hops(vertex).eq(fresh.next_hops(vertex)),
            "forwarder {} from {}: the incremental run differs from a full run",
            vertex.0,
            spf.root().0
        );
    }
    Ok(())
}

/// Every Forwarder's tree, on all cores; each thread has its own buffers.
fn all_roots(n: usize) -> Result<Vec<Figure>> {
    let graphs = Graphs::new(Kind::Random, n)?;
    let roots = || (0..n as u32).into_par_iter().map(ForwarderIndex);
    let ours = |_| {
        let (elapsed, ()) = time(|| {
            roots().for_each_init(
                || Spf::compute(&graphs.ours, ForwarderIndex(0)),
                |spf, root| spf.recompute(&graphs.ours, root),
            );
        });
        Ok(elapsed)
    };
    let theirs = |_| {
        let (elapsed, ()) = time(|| {
            roots().for_each(|root| {
                black_box(dijkstra(&graphs.petgraph, root).count());
            });
        });
        Ok(elapsed)
    };
    let (value, peer) = paired(1, 9, ours, theirs)?;
    let links = graphs.topology.links().len();
    let figure = Figure::alone(&format!("spt-all-{n}"), ms(value.median()), "ms")
        .beside("petgraph", ms(peer.median()), Better::Lower)
        .note(format!(
            "{n} roots, {links} links, {} threads on both sides; peer: distances only; median of {}",
            rayon::current_num_threads(),
            value.count()
        ));
    Ok(vec![figure])
}
