//! Tables as data.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use topology::{
    AppIndex, ForwarderIndex, LinkIndex, Table, Topology,
    plan::{self, Entry},
};

/// The tables of a topology, or of some of its Forwarders.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RoutesReport {
    /// Epoch of the global topology, 16 hexadecimal digits.
    pub epoch: String,
    /// Tables by the Forwarder that routes start from.
    pub tables: BTreeMap<String, TableReport>,
}

/// Routes of one Forwarder, by Forwarder or App. Unreachable destinations are absent.
pub type TableReport = BTreeMap<String, Route>;

/// Route to one destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Weight of the shortest path.
    pub distance: u64,
    /// True for an App on the Forwarder itself; then there is no next hop.
    pub attached: bool,
    /// All next hops, sorted by link.
    pub next_hops: Vec<Hop>,
}

/// One next hop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hop {
    /// The Forwarder at the other end.
    pub via: String,
    /// Id of the link.
    pub link: String,
}

/// One table with the names of `topology`.
///
/// # Assumptions
/// `table` was computed from `topology`.
pub fn table(topology: &Topology, table: &Table) -> TableReport {
    let forwarders = topology.forwarders().iter().zip(0..);
    let forwarders = forwarders.filter_map(|(name, index)| {
        let (route, links) = table.to_forwarder(ForwarderIndex(index))?;
        let next_hops = hops(topology, table.from, links);
        Some((name.clone(), Route::new(route.distance, false, next_hops)))
    });
    let apps = topology.apps().iter().zip(0..);
    let apps = apps.filter_map(|(app, index)| {
        let (route, links) = table.to_app(AppIndex(index))?;
        let next_hops = hops(topology, table.from, links);
        let route = Route::new(route.distance, route.attached, next_hops);
        Some((app.name.clone(), route))
    });
    forwarders.chain(apps).collect()
}

/// Sorted by id as text, which the canonical order of links is not: `a-x/b` comes before `a/b`.
fn hops(topology: &Topology, from: ForwarderIndex, links: &[LinkIndex]) -> Vec<Hop> {
    let hop = |link: &LinkIndex| {
        let peer = topology.links()[link.position()].other(from);
        Hop {
            via: topology.forwarders()[peer.position()].clone(),
            link: topology.link_id(*link),
        }
    };
    let mut hops: Vec<Hop> = links.iter().map(hop).collect();
    hops.sort_unstable_by(|one, other| one.link.cmp(&other.link));
    hops
}

impl Route {
    fn new(distance: u64, attached: bool, next_hops: Vec<Hop>) -> Route {
        Route {
            distance,
            attached,
            next_hops,
        }
    }
}

impl From<Entry> for Route {
    fn from(entry: Entry) -> Route {
        let hop = |hop: plan::Hop| Hop {
            via: hop.via,
            link: hop.link,
        };
        let next_hops = entry.next_hops.into_iter().map(hop).collect();
        Route::new(entry.distance, entry.attached, next_hops)
    }
}
