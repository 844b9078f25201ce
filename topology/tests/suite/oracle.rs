//! Every answer against an oracle that is too simple to be wrong, on 100,000 random graphs.

use std::collections::BTreeSet;

use crate::support::{
    Edge, all_roots, answers, bellman_ford, edges, for_each_seed, oracle, random_change,
    random_topology, tables, walk, wide_topology,
};
use petgraph::{algo::dijkstra, graph::NodeIndex};
use topology::{ForwarderIndex, Graph, Spf, Table, interop, stage};

#[test]
fn tables_are_those_of_the_oracle_and_walks_arrive() {
    for_each_seed(60_000, |numbers| {
        let topology = random_topology(numbers);
        let graph = Graph::new(&topology);
        let tables = tables(&topology, &graph, &all_roots(&graph), usize::MAX);
        for (root, table) in tables.iter().enumerate() {
            assert_eq!(
                answers(table, &topology),
                oracle(&topology, root),
                "{topology:?} {root}"
            );
        }
        walk(&topology, &graph, &tables);
    });
}

#[test]
fn stages_are_those_of_their_definitions() {
    for_each_seed(10_000, |numbers| {
        let topology = random_topology(numbers);
        let graph = Graph::new(&topology);
        for root in 0..graph.forwarder_count() {
            let spf = Spf::compute(&graph, ForwarderIndex(root as u32));
            let edges = edges(&topology);
            let vertices = topology.forwarders().len() + topology.apps().len();
            let distances = bellman_ford(&edges, vertices, root);
            let mwt = stage::mwt(&topology, &graph, &spf);
            let labels: Vec<_> = mwt.forwarders.iter().chain(&mwt.apps).copied().collect();
            assert_eq!(labels, distances);
            let is_least = |edge: &&Edge| {
                let parallel = edges
                    .iter()
                    .filter(|other| (other.0, other.1) == (edge.0, edge.1));
                parallel.map(|other| other.2).min() == Some(edge.2)
            };
            assert_eq!(
                mwt.arcs.len() + mwt.attachments.len(),
                edges.iter().filter(is_least).count()
            );
            let is_last = |edge: &&Edge| {
                distances[edge.0].is_some_and(|near| Some(near + edge.2) == distances[edge.1])
            };
            let last: BTreeSet<Edge> = edges.iter().filter(is_last).copied().collect();
            let spt = stage::spt_ecmp(&topology, &graph, &spf);
            let arcs = spt.arcs.iter().map(|arc| {
                let (from, to) = (arc.from.position(), arc.to.position());
                (from, to, u64::from(arc.weight), Some(arc.link))
            });
            let apps = spt.attachments.iter().map(|edge| {
                let to = topology.forwarders().len() + edge.to.position();
                (edge.from.position(), to, u64::from(edge.weight), None)
            });
            assert_eq!(arcs.chain(apps).collect::<BTreeSet<Edge>>(), last);
            for to in 0..graph.forwarder_count() {
                let into = spf.predecessors(&graph, ForwarderIndex(to as u32));
                let into: BTreeSet<_> = into
                    .map(|(from, link)| (from.position(), Some(link)))
                    .collect();
                let expected = last.iter().filter(|edge| edge.1 == to);
                assert_eq!(into, expected.map(|edge| (edge.0, edge.3)).collect());
            }
        }
    });
}

#[test]
fn distances_are_those_of_petgraph() {
    for_each_seed(10_000, |numbers| {
        let topology = random_topology(numbers);
        let mut graph = Graph::new(&topology);
        for _ in 0..numbers.below(3) {
            graph.change(random_change(numbers, &topology));
        }
        let exported = interop::export(&topology, &graph);
        for root in 0..graph.forwarder_count() as u32 {
            let from = ForwarderIndex(root);
            if !graph.is_forwarder_up(from) {
                continue;
            }
            let theirs = dijkstra(&exported, root.into(), None, |edge| {
                u64::from(edge.weight().weight)
            });
            let spf = Spf::compute(&graph, from);
            let labels = stage::mwt(&topology, &graph, &spf);
            for (label, index) in labels.forwarders.iter().chain(&labels.apps).zip(0_u32..) {
                assert_eq!(
                    theirs.get(&NodeIndex::from(index)),
                    label.as_ref(),
                    "{topology:?} {root}"
                );
            }
        }
    });
}

#[test]
fn max_paths_keeps_the_first_links_and_walks_still_arrive() {
    for_each_seed(5_000, |numbers| {
        let topology = random_topology(numbers);
        let graph = Graph::new(&topology);
        let spfs = all_roots(&graph);
        let all = tables(&topology, &graph, &spfs, usize::MAX);
        let few = tables(&topology, &graph, &spfs, 2);
        for (all, few) in all.iter().zip(&few) {
            for index in 0..topology.forwarders().len() as u32 {
                let to = ForwarderIndex(index);
                let first = all
                    .to_forwarder(to)
                    .map(|(_, links)| &links[..links.len().min(2)]);
                assert_eq!(few.to_forwarder(to).map(|(_, links)| links), first);
            }
        }
        walk(&topology, &graph, &few);
    });
}

/// Roots of more than 64 links keep their sets in another way.
#[test]
fn wide_roots_are_as_right_as_narrow_ones() {
    for_each_seed(120, |numbers| {
        let topology = wide_topology(numbers);
        let mut graph = Graph::new(&topology);
        let roots = (0..4).map(ForwarderIndex);
        let mut spfs: Vec<Spf> = roots.map(|root| Spf::compute(&graph, root)).collect();
        for (root, spf) in spfs.iter().enumerate() {
            let table = Table::new(&topology, &graph, spf, usize::MAX);
            assert_eq!(answers(&table, &topology), oracle(&topology, root));
        }
        for _ in 0..20 {
            let batch: Vec<_> = (0..1 + numbers.below(3))
                .map(|_| graph.change(random_change(numbers, &topology)))
                .collect();
            for spf in &mut spfs {
                spf.update(&graph, &batch);
                let full = Spf::compute(&graph, spf.root());
                let table = |spf| Table::new(&topology, &graph, spf, usize::MAX);
                assert_eq!(table(spf), table(&full), "{batch:?}");
            }
        }
    });
}
