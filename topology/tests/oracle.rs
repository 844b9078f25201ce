//! Every answer against an oracle that is too simple to be wrong, on 100,000 random graphs.

mod support;

use std::collections::BTreeSet;

use petgraph::{algo::dijkstra, graph::NodeIndex};
use support::{
    Answer, Edge, bellman_ford, below, edges, once_in, oracle, random_change, random_topology,
    wide_topology,
};
use topology::{
    AppIndex, Change, Fault, ForwarderIndex, Graph, LinkIndex, Spf, Table, Topology,
    generate::{Kind, Numbers, generate},
    interop, stage,
};

/// Runs `property` for each seed; a failure names its seed. `SEED=n` runs that one alone.
fn for_each_seed(count: u64, property: impl Fn(&mut Numbers)) {
    let seeds = match std::env::var("SEED") {
        Ok(seed) => {
            let seed: u64 = seed.parse().expect("SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..count,
    };
    for seed in seeds {
        let run = std::panic::AssertUnwindSafe(|| property(&mut Numbers::new(seed)));
        if let Err(panic) = std::panic::catch_unwind(run) {
            eprintln!("fails with SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// What a table says, in the oracle's terms.
fn answers(table: &Table, topology: &Topology) -> Vec<Option<Answer>> {
    let set = |links: &[LinkIndex]| -> BTreeSet<LinkIndex> {
        assert!(links.is_sorted(), "next hops are in order of links");
        links.iter().copied().collect()
    };
    let forwarders = (0..topology.forwarders().len() as u32).map(|index| {
        let (route, links) = table.to_forwarder(ForwarderIndex(index))?;
        Some(Answer {
            distance: route.distance,
            attached: false,
            next_hops: set(links),
        })
    });
    let apps = (0..topology.apps().len() as u32).map(|index| {
        let (route, links) = table.to_app(AppIndex(index))?;
        let attached = route.attached;
        Some(Answer {
            distance: route.distance,
            attached,
            next_hops: set(links),
        })
    });
    forwarders.chain(apps).collect()
}

/// Follows every next hop of every table from everywhere: the rest of the way shrinks by the
/// weight of the link at each step, so it ends at the destination with the distance computed.
fn walk(topology: &Topology, graph: &Graph, tables: &[Table]) {
    for table in tables {
        for index in 0..topology.forwarders().len() as u32 {
            let to = ForwarderIndex(index);
            if let Some((route, links)) = table.to_forwarder(to) {
                let rest = |at: ForwarderIndex| match at == to {
                    true => Some(0),
                    false => Some(tables[at.position()].to_forwarder(to)?.0.distance),
                };
                step(topology, graph, table.from, route.distance, links, rest);
            }
        }
        for index in 0..topology.apps().len() as u32 {
            let to = AppIndex(index);
            if let Some((route, links)) = table.to_app(to) {
                if route.attached {
                    let here = |(at, weight): &(ForwarderIndex, u32)| {
                        *at == table.from && u64::from(*weight) == route.distance
                    };
                    assert!(topology.apps()[to.position()].attachments.iter().any(here));
                    continue;
                }
                let rest = |at: ForwarderIndex| Some(tables[at.position()].to_app(to)?.0.distance);
                step(topology, graph, table.from, route.distance, links, rest);
            }
        }
    }
}

fn step(
    topology: &Topology,
    graph: &Graph,
    from: ForwarderIndex,
    distance: u64,
    links: &[LinkIndex],
    rest: impl Fn(ForwarderIndex) -> Option<u64>,
) {
    assert!(!links.is_empty(), "what is reached has a next hop");
    for index in links {
        let link = &topology.links()[index.position()];
        let (out, back) = graph.weights(*index).expect("next hops are up");
        let weight = if from == link.a { out } else { back };
        let rest = rest(link.other(from)).expect("a next hop reaches what its user reaches");
        assert_eq!(rest + u64::from(weight), distance);
    }
}

fn tables(topology: &Topology, graph: &Graph, spfs: &[Spf], max_paths: usize) -> Vec<Table> {
    spfs.iter()
        .map(|spf| Table::new(topology, graph, spf, max_paths))
        .collect()
}

fn all_roots(graph: &Graph) -> Vec<Spf> {
    let roots = (0..graph.forwarder_count() as u32).map(ForwarderIndex);
    roots.map(|root| Spf::compute(graph, root)).collect()
}

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
fn updates_are_those_of_a_full_run_and_of_the_oracle() {
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

/// What is down in a graph, and the same topology without it, have the same epoch and distances.
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
