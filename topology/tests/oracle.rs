//! Every answer against an oracle that is too simple to be wrong, on 100,000 random graphs.

mod support;

use std::collections::BTreeSet;

use support::{Answer, oracle, random_change, random_topology};
use topology::{
    AppIndex, ForwarderIndex, Graph, LinkIndex, Spf, Table, Topology, generate::Numbers,
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
