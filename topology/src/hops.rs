//! Path length in hops, and the limit that the time to live of packets sets on it.
//!
//! Each Forwarder on the way decrements the time to live (RFC 791, section 3.2; RFC 8200, section 3), and the packet
//! ends where it would be 0. Hosts send with 64 (RFC 1700; Linux `net.ipv4.ip_default_ttl`, `hop_limit`).

use alloc::{vec, vec::Vec};

use crate::{ForwarderIndex, Graph, LinkIndex, Spf, Topology};

/// Most Forwarders on a path that packets between two Apps survive: time to live 64, one for each Forwarder.
pub const FORWARDERS_MAX: u32 = 63;

/// Largest number of Forwarders for which [`longest`] checks every pair; above, it checks the farthest of a few.
const EXACT: usize = 1000;

/// A shortest path with more Forwarders than others, by its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Longest {
    /// Start of the path.
    pub from: ForwarderIndex,
    /// End of the path.
    pub to: ForwarderIndex,
    /// Forwarders on it, both ends included.
    pub forwarders: u32,
}

/// For each Forwarder the most Forwarders on any shortest path from the root, both ends included; `None` where
/// there is no path. Flows are spread over all shortest paths, so the longest of them is what some packets take.
pub fn forwarders_on_path(topology: &Topology, graph: &Graph, spf: &Spf) -> Vec<Option<u32>> {
    let mut tight = Vec::with_capacity(topology.links().len());
    for (position, link) in (0u32..).zip(topology.links()) {
        let Some((weight, weight_back)) = graph.weights(LinkIndex(position)) else {
            continue;
        };
        for (tail, head, weight) in [(link.a, link.b, weight), (link.b, link.a, weight_back)] {
            let Some(distance) = spf.distance(tail) else {
                continue;
            };
            if spf.distance(head) == Some(distance + u64::from(weight)) {
                tight.push((distance, tail, head));
            }
        }
    }
    // Weights are 1 or more: a nearer Forwarder is complete before it is visited.
    tight.sort_unstable();
    let mut counts = vec![None; topology.forwarders().len()];
    counts[spf.root().position()] = Some(1);
    for (_, tail, head) in tight {
        if let Some(count) = counts[tail.position()] {
            let known = counts[head.position()];
            counts[head.position()] = known.max(Some(count + 1));
        }
    }
    counts
}

/// The shortest path with the most Forwarders; `None` for a topology without Forwarders.
///
/// Exact up to 1,000 Forwarders; of larger topologies the result is a path that exists, from one of a few starts,
/// each the far end of the one before.
pub fn longest(topology: &Topology) -> Option<Longest> {
    let graph = Graph::new(topology);
    let count = topology.forwarders().len();
    let from = |root: ForwarderIndex| {
        let spf = Spf::compute(&graph, root);
        let counts = forwarders_on_path(topology, &graph, &spf);
        let longest = |(to, count): (u32, Option<u32>)| Longest {
            from: root,
            to: ForwarderIndex(to),
            forwarders: count.unwrap_or_default(),
        };
        let all = (0u32..).zip(counts).map(longest);
        all.max_by_key(|path| path.forwarders)
    };
    if count <= EXACT {
        let roots = (0..u32::try_from(count).unwrap_or(u32::MAX)).map(ForwarderIndex);
        return roots.filter_map(from).max_by_key(|path| path.forwarders);
    }
    let mut best = from(ForwarderIndex(0))?;
    for _ in 0..3 {
        let next = from(best.to)?;
        if next.forwarders > best.forwarders {
            best = next;
        }
    }
    Some(best)
}

/// Number of Forwarders on the longest of the shortest paths between two, where packets do not survive it; `None`
/// where they do, where there is no path, and for names that nothing has.
pub fn too_many(topology: &Topology, from: &str, to: &str) -> Option<u32> {
    let (from, to) = (topology.forwarder(from)?, topology.forwarder(to)?);
    let graph = Graph::new(topology);
    let spf = Spf::compute(&graph, from);
    let count = forwarders_on_path(topology, &graph, &spf)[to.position()]?;
    (count > FORWARDERS_MAX).then_some(count)
}

#[cfg(test)]
mod tests {
    use alloc::{string::String, vec::Vec};

    use super::*;
    use crate::{LinkSpec, generate};

    fn topology(count: usize, links: &[(usize, usize, u32)]) -> Topology {
        let names: Vec<String> = generate::names(count);
        let links = links.iter().map(|&(a, b, weight)| LinkSpec {
            a: names[a].clone(),
            b: names[b].clone(),
            weight,
            weight_back: weight,
        });
        let links = links.collect();
        Topology::new(names, links, Vec::new()).expect("a topology")
    }

    fn line(count: usize) -> Topology {
        let links: Vec<_> = (1..count).map(|at| (at - 1, at, 1)).collect();
        topology(count, &links)
    }

    #[test]
    fn the_path_of_a_line_has_all_its_forwarders() {
        for count in [1, 2, 63, 64, 80, EXACT + 200] {
            let longest = longest(&line(count)).expect("a path");
            assert_eq!(longest.forwarders as usize, count);
        }
    }

    #[test]
    fn weights_decide_which_path_is_the_shortest_one() {
        // Directly for 10, or by two others for 3; and both ways for 2.
        for (direct, expected) in [(10, 4), (3, 4), (2, 2)] {
            let topology = topology(4, &[(0, 3, direct), (0, 1, 1), (1, 2, 1), (2, 3, 1)]);
            let graph = Graph::new(&topology);
            let spf = Spf::compute(&graph, ForwarderIndex(0));
            let counts = forwarders_on_path(&topology, &graph, &spf);
            assert_eq!(counts[3], Some(expected), "direct link of weight {direct}");
        }
    }

    #[test]
    fn packets_survive_63_forwarders() {
        for (count, expected) in [(63, None), (64, Some(64))] {
            let topology = line(count);
            let names = topology.forwarders();
            let (first, last) = (
                generate::names(count)[0].clone(),
                generate::names(count)[count - 1].clone(),
            );
            assert_eq!(names.len(), count);
            assert_eq!(too_many(&topology, &first, &last), expected);
            assert_eq!(too_many(&topology, &first, "nobody"), None);
        }
    }

    #[test]
    fn what_cannot_be_reached_has_no_path() {
        let topology = topology(3, &[(0, 1, 1)]);
        let graph = Graph::new(&topology);
        let spf = Spf::compute(&graph, ForwarderIndex(0));
        let counts = forwarders_on_path(&topology, &graph, &spf);
        assert_eq!(counts, [Some(1), Some(2), None]);
    }
}
