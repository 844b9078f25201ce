//! Random graphs, and a slow and obvious oracle.

use std::collections::BTreeSet;

use topology::{
    AppIndex, AppSpec, Change, ForwarderIndex, Graph, LinkIndex, LinkSpec, Spf, Table, Topology,
    hash::SplitMix64,
};

/// Runs `property` for each seed; a failure names its seed. `SEED=n` runs that one alone.
pub(crate) fn for_each_seed(count: u64, property: impl Fn(&mut SplitMix64)) {
    let seeds = match std::env::var("SEED") {
        Ok(seed) => {
            let seed: u64 = seed.parse().expect("SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..count,
    };
    for seed in seeds {
        let run = std::panic::AssertUnwindSafe(|| property(&mut SplitMix64::new(seed)));
        if let Err(panic) = std::panic::catch_unwind(run) {
            eprintln!("fails with SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// Answers of a table, in the oracle's terms.
pub(crate) fn answers(table: &Table, topology: &Topology) -> Vec<Option<Answer>> {
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
pub(crate) fn walk(topology: &Topology, graph: &Graph, tables: &[Table]) {
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

pub(crate) fn tables(
    topology: &Topology,
    graph: &Graph,
    spfs: &[Spf],
    max_paths: usize,
) -> Vec<Table> {
    spfs.iter()
        .map(|spf| Table::new(topology, graph, spf, max_paths))
        .collect()
}

pub(crate) fn all_roots(graph: &Graph) -> Vec<Spf> {
    let roots = (0..graph.forwarder_count() as u32).map(ForwarderIndex);
    roots.map(|root| Spf::compute(graph, root)).collect()
}

/// A number below `bound`.
pub(crate) fn below(numbers: &mut SplitMix64, bound: usize) -> usize {
    numbers.below(bound as u64) as usize
}

/// True once in `n` times.
pub(crate) fn once_in(numbers: &mut SplitMix64, n: u64) -> bool {
    numbers.below(n) == 0
}

/// A small graph, of any kind: few or many links, ties or few of them, parallel links, directed
/// weights, parts, one Forwarder alone, Apps on none, one or several Forwarders.
pub(crate) fn random_topology(numbers: &mut SplitMix64) -> Topology {
    let n = 1 + below(numbers, 8);
    let most = [1, 2, 5, 1000, 100_000, u32::MAX][below(numbers, 6)];
    let weight = |numbers: &mut SplitMix64| 1 + numbers.below(u64::from(most)) as u32;
    let is_directed = once_in(numbers, 2);
    let name = |index: usize| format!("f{index}");
    let mut links = Vec::new();
    let density = below(numbers, 4);
    for _ in 0..if n == 1 {
        0
    } else {
        below(numbers, n * density + 2)
    } {
        let a = below(numbers, n);
        let b = (a + 1 + below(numbers, n - 1)) % n;
        let out = weight(numbers);
        let back = if is_directed { weight(numbers) } else { out };
        links.push(LinkSpec {
            a: name(a),
            b: name(b),
            weight: out,
            weight_back: back,
        });
    }
    let apps = (0..below(numbers, 4)).map(|index| AppSpec {
        name: format!("app{index}"),
        attachments: (0..below(numbers, 4))
            .map(|_| (name(below(numbers, n)), weight(numbers)))
            .collect(),
    });
    let apps = apps.collect();
    Topology::new((0..n).map(name).collect(), links, apps).expect("the generator is sound")
}

/// A graph whose first Forwarders have 70 to 130 links each: hubs with common leaves, some of
/// which are linked among themselves or twice to a hub.
pub(crate) fn wide_topology(numbers: &mut SplitMix64) -> Topology {
    let leaves = 65 + below(numbers, 30);
    let name = |index: usize| format!("f{index:03}");
    let most = if once_in(numbers, 4) { 5_000 } else { 2 };
    let mut links = Vec::new();
    for leaf in 3..3 + leaves {
        for hub in 0..3 {
            let other = 3 + below(numbers, leaves);
            let b = if once_in(numbers, 12) && other != leaf {
                other
            } else {
                hub
            };
            let weight = 1 + numbers.below(most) as u32;
            links.push(LinkSpec {
                a: name(leaf),
                b: name(b),
                weight,
                weight_back: weight,
            });
        }
        if once_in(numbers, 4) {
            links.push(LinkSpec {
                a: name(leaf),
                b: name(0),
                weight: 1,
                weight_back: 1,
            });
        }
    }
    let app = AppSpec {
        name: "app".into(),
        attachments: vec![(name(1), 1), (name(9), 1)],
    };
    let names = (0..3 + leaves).map(name).collect();
    Topology::new(names, links, vec![app]).expect("the generator is sound")
}

/// A change of any kind to a part that exists.
pub(crate) fn random_change(numbers: &mut SplitMix64, topology: &Topology) -> Change {
    let (n, m) = (topology.forwarders().len(), topology.links().len());
    if m == 0 || once_in(numbers, 4) {
        let forwarder = ForwarderIndex(below(numbers, n) as u32);
        return Change::Forwarder {
            forwarder,
            up: !once_in(numbers, 2),
        };
    }
    let link = LinkIndex(below(numbers, m) as u32);
    let declared = &topology.links()[link.position()];
    let (out, back) = (declared.weight, declared.weight_back);
    let other = 1 + numbers.below(6) as u32;
    let weights = match numbers.below(5) {
        0 | 1 => None,
        2 => Some((out, back)),
        3 => Some((other, back)),
        _ => Some((other, 1 + numbers.below(6) as u32)),
    };
    Change::Link { link, weights }
}

/// Cost of a destination from a root, and its first links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) distance: u64,
    pub(crate) attached: bool,
    pub(crate) next_hops: BTreeSet<LinkIndex>,
}

/// An edge of the plain list: from, to, weight, link (`None` to an App).
pub(crate) type Edge = (usize, usize, u64, Option<LinkIndex>);

/// The whole as a list of directed edges; App `i` is vertex `n + i` and no edge leaves it.
pub(crate) fn edges(topology: &Topology) -> Vec<Edge> {
    let mut edges = Vec::new();
    for (link, index) in topology.links().iter().zip(0..) {
        let (a, b, id) = (link.a.position(), link.b.position(), Some(LinkIndex(index)));
        edges.push((a, b, u64::from(link.weight), id));
        edges.push((b, a, u64::from(link.weight_back), id));
    }
    for (app, vertex) in topology.apps().iter().zip(topology.forwarders().len()..) {
        for (at, weight) in &app.attachments {
            edges.push((at.position(), vertex, u64::from(*weight), None));
        }
    }
    edges
}

/// Distances by Bellman 1958: relax every edge until nothing changes.
pub(crate) fn bellman_ford(edges: &[Edge], vertices: usize, root: usize) -> Vec<Option<u64>> {
    let mut distances = vec![None; vertices];
    distances[root] = Some(0);
    loop {
        let before = distances.clone();
        for (from, to, weight, _) in edges {
            if let Some(distance) = distances[*from] {
                let through = distance + weight;
                if distances[*to].is_none_or(|known| through < known) {
                    distances[*to] = Some(through);
                }
            }
        }
        if distances == before {
            return distances;
        }
    }
}

/// Distances from each vertex by [`bellman_ford`], then next hops by definition: a first edge is
/// one after which what is left is shorter by just its weight.
pub(crate) fn oracle(topology: &Topology, root: usize) -> Vec<Option<Answer>> {
    let edges = edges(topology);
    let vertices = topology.forwarders().len() + topology.apps().len();
    let distances: Vec<_> = (0..vertices)
        .map(|from| bellman_ford(&edges, vertices, from))
        .collect();
    let answer = |to: usize| {
        let distance = distances[root][to]?;
        let is_first = |(from, via, weight, _): &&Edge| {
            *from == root && distances[*via][to].is_some_and(|rest| weight + rest == distance)
        };
        let first: Vec<&Edge> = edges.iter().filter(is_first).collect();
        let attached = first.iter().any(|(_, _, _, link)| link.is_none());
        let links = first.iter().filter_map(|(_, _, _, link)| *link);
        let next_hops = if attached {
            BTreeSet::new()
        } else {
            links.collect()
        };
        (to != root).then_some(Answer {
            distance,
            attached,
            next_hops,
        })
    };
    (0..vertices).map(answer).collect()
}
