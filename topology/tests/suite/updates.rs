//! Changes: an update is exactly a full run, and what is down is as if it were not there.

use crate::support::{
    all_roots, below, for_each_seed, once_in, random_change, random_topology, tables, walk,
    wide_topology,
};
use topology::{
    Change, Fault, ForwarderIndex, Graph, LinkIndex, Spf, Table, Topology,
    generate::{Kind, generate},
};

#[test]
fn updates_are_those_of_a_full_run_and_walks_arrive() {
    for_each_seed(60_000, |numbers| {
        let topology = random_topology(numbers);
        let mut graph = Graph::new(&topology);
        let mut spfs = all_roots(&graph);
        for _ in 0..1 + numbers.below(4) {
            let count = 1 + numbers.below(4);
            let batch: Vec<_> = (0..count)
                .map(|_| graph.change(random_change(numbers, &topology)))
                .collect();
            spfs.iter_mut().for_each(|spf| spf.update(&graph, &batch));
            let updated = tables(&topology, &graph, &spfs, usize::MAX);
            let full = tables(&topology, &graph, &all_roots(&graph), usize::MAX);
            assert_eq!(updated, full, "{topology:?} {batch:?}");
            walk(&topology, &graph, &updated);
        }
    });
}

/// A graph with losses and the topology without the lost parts have the same epoch and distances.
#[test]
fn a_graph_with_losses_is_the_topology_without_them() {
    for_each_seed(10_000, |numbers| {
        let topology = random_topology(numbers);
        let mut graph = Graph::new(&topology);
        assert_eq!(graph.epoch(), topology.epoch());
        let mut faults = Vec::new();
        for _ in 0..numbers.below(4) {
            let change = match random_change(numbers, &topology) {
                Change::Link { link, .. } => {
                    faults.push(Fault::Link(link));
                    Change::Link {
                        link,
                        weights: None,
                    }
                }
                Change::Forwarder { forwarder, .. } => {
                    faults.push(Fault::Forwarder(forwarder));
                    Change::Forwarder {
                        forwarder,
                        up: false,
                    }
                }
            };
            graph.change(change);
        }
        let rest = topology.without(&faults);
        assert_eq!(graph.epoch(), rest.epoch(), "{topology:?} {faults:?}");
        let rest_graph = Graph::new(&rest);
        for root in rest.forwarders() {
            let index = |topology: &Topology, name: &str| topology.forwarder(name).unwrap();
            let ours = Spf::compute(&graph, index(&topology, root));
            let theirs = Spf::compute(&rest_graph, index(&rest, root));
            for to in rest.forwarders() {
                let (here, there) = (index(&topology, to), index(&rest, to));
                assert_eq!(ours.distance(here), theirs.distance(there));
                let here: Vec<_> = ours
                    .next_hops(here)
                    .map(|link| topology.link_id(link))
                    .collect();
                let there: Vec<_> = theirs
                    .next_hops(there)
                    .map(|link| rest.link_id(link))
                    .collect();
                assert_eq!(here, there);
            }
        }
        // Everything up again: as if nothing had been.
        for fault in faults {
            graph.change(match fault {
                Fault::Forwarder(forwarder) => Change::Forwarder {
                    forwarder,
                    up: true,
                },
                Fault::Link(link) => {
                    let declared = &topology.links()[link.position()];
                    Change::Link {
                        link,
                        weights: Some((declared.weight, declared.weight_back)),
                    }
                }
            });
        }
        assert_eq!(graph.epoch(), topology.epoch());
    });
}

/// On graphs that are large enough for repairs to give up, and for heavy weights to come and go.
#[test]
fn large_graphs_follow_changes_as_small_ones_do() {
    for_each_seed(20, |numbers| {
        let n = 200 + below(numbers, 400);
        let topology = generate(Kind::Random, n, numbers.next())
            .into_topology()
            .unwrap();
        let mut graph = Graph::new(&topology);
        let mut spf = Spf::compute(&graph, ForwarderIndex(below(numbers, n) as u32));
        for _ in 0..200 {
            let mut batch: Vec<_> = (0..1 + numbers.below(2))
                .map(|_| graph.change(random_change(numbers, &topology)))
                .collect();
            if once_in(numbers, 10) {
                let link = LinkIndex(below(numbers, topology.links().len()) as u32);
                let weights = Some((u32::MAX, 1024));
                batch.push(graph.change(Change::Link { link, weights }));
            }
            spf.update(&graph, &batch);
            let full = Spf::compute(&graph, spf.root());
            let table = |spf| Table::new(&topology, &graph, spf, usize::MAX);
            assert_eq!(table(&spf), table(&full), "{batch:?}");
        }
    });
}

#[test]
fn buffers_serve_any_graph_in_any_order() {
    for_each_seed(5_000, |numbers| {
        let mut spf = Spf::compute(&Graph::new(&random_topology(numbers)), ForwarderIndex(0));
        for _ in 0..3 {
            let topology = match once_in(numbers, 50) {
                true => wide_topology(numbers),
                false => random_topology(numbers),
            };
            let graph = Graph::new(&topology);
            let root = ForwarderIndex(below(numbers, graph.forwarder_count()) as u32);
            spf.recompute(&graph, root);
            let table = |spf| Table::new(&topology, &graph, spf, usize::MAX);
            assert_eq!(table(&spf), table(&Spf::compute(&graph, root)));
        }
    });
}

#[test]
fn an_update_that_misses_changes_runs_in_full() {
    for_each_seed(2_000, |numbers| {
        let topology = random_topology(numbers);
        let mut graph = Graph::new(&topology);
        let mut spf = Spf::compute(&graph, ForwarderIndex(0));
        graph.change(random_change(numbers, &topology));
        let last = graph.change(random_change(numbers, &topology));
        spf.update(&graph, &[last]);
        let full = Spf::compute(&graph, ForwarderIndex(0));
        let table = |spf| Table::new(&topology, &graph, spf, usize::MAX);
        assert_eq!(table(&spf), table(&full));
    });
}
