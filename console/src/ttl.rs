//! Paths longer than the time to live of packets, and their message.

use topology::{Topology, hops};

/// Message for two Forwarders whose path is too long for the packets' time to live.
pub fn explain(topology: &Topology, from: &str, to: &str) -> Option<String> {
    let count = hops::too_many(topology, from, to)?;
    Some(sentence(from, to, count))
}

/// The longest shortest path of a topology, where packets do not survive it.
pub fn warning(topology: &Topology) -> Option<String> {
    let longest = hops::longest(topology)?;
    let name = |forwarder: topology::ForwarderIndex| &topology.forwarders()[forwarder.position()];
    let count = longest.forwarders;
    (count > hops::FORWARDERS_MAX).then(|| sentence(name(longest.from), name(longest.to), count))
}

fn sentence(from: &str, to: &str, count: u32) -> String {
    format!(
        "the path from {from} to {to} has {count} Forwarders: packets that hosts send with a time to live of {} do not \
         pass more than {}",
        hops::FORWARDERS_MAX + 1,
        hops::FORWARDERS_MAX
    )
}
