//! One node of many goes: only what it carried is touched.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use e2e::{ApiServer, ensure};

use crate::bed::{Bed, SOON, ring};
use crate::cluster::{Kind, condition, name_of, text};
use crate::snapshot::{Snapshot, names, settled};
use crate::steady::calm;

const NODES: usize = 50;
const TOPOLOGIES: usize = 25;
/// Looks in which a replica has seen every topology, and has had the time to act on it.
const TWICE: f64 = 2.0 * TOPOLOGIES as f64;

pub(crate) fn lost_node() -> Result<()> {
    let mut bed = Bed::start(ApiServer::options(), NODES)?;
    for _ in 0..2 {
        bed.replica(&["--resync=1"])?;
    }
    let mut all = BTreeSet::new();
    for number in 0..TOPOLOGIES {
        let name = format!("t{number:02}");
        bed.apply(&name, &ring(&nodes_of(number)))?;
        all.insert(name);
    }
    settled(&mut bed, &names(&all))?;
    // What is said of it may still be put in other words.
    calm(&bed, TWICE)?;
    let before = Snapshot::take(&bed.cluster)?;
    let lost = 11;
    let touched: BTreeSet<String> = (0..TOPOLOGIES)
        .filter(|&number| nodes_of(number).contains(&lost))
        .map(|number| format!("t{number:02}"))
        .collect();
    ensure(
        !touched.is_empty() && touched.len() < TOPOLOGIES / 2,
        || format!("{touched:?}"),
    )?;
    bed.cluster.delete(Kind::Node, "", &format!("n{lost}"))?;
    let cluster = bed.cluster.clone();
    e2e::eventually("each of its topologies says so", SOON, || {
        for topology in cluster.list(Kind::Topology)? {
            let is_said = condition(&topology, "Accepted").0 == "False"
                || condition(&topology, "Degraded").0 == "True";
            ensure(is_said == touched.contains(name_of(&topology)), || {
                topology.to_string()
            })?;
        }
        Ok(())
    })
    .map_err(|error| bed.explain(error))?;
    calm(&bed, TWICE)?;
    let after = versions(&Snapshot::take(&bed.cluster)?);
    for (object, (topology, version)) in versions(&before) {
        let is_same = after.get(&object).is_some_and(|(_, now)| *now == version);
        ensure(is_same || touched.contains(&topology), || {
            format!("{object} was written")
        })?;
    }
    bed.pids().map(drop)
}

/// Every topology has a stretch of the nodes.
fn nodes_of(number: usize) -> Vec<usize> {
    (0..8).map(|step| (number * 2 + step) % NODES).collect()
}

/// Topology and resourceVersion of each object.
fn versions(snapshot: &Snapshot) -> BTreeMap<String, (String, String)> {
    let named = |object: &serde_json::Value, topology: &str| {
        let key = format!("{} {}", text(object, "/kind"), name_of(object));
        (
            key,
            (
                topology.to_owned(),
                text(object, "/metadata/resourceVersion").to_owned(),
            ),
        )
    };
    let topologies = snapshot
        .topologies
        .iter()
        .map(|object| named(object, name_of(object)));
    let forwarders = snapshot
        .forwarders
        .iter()
        .map(|object| named(object, text(object, "/spec/topology")));
    let allocations = snapshot
        .allocations
        .iter()
        .map(|object| named(object, name_of(object)));
    let ranges = snapshot
        .ranges
        .iter()
        .map(|object| named(object, text(object, "/spec/topology")));
    topologies
        .chain(forwarders)
        .chain(allocations)
        .chain(ranges)
        .collect()
}
