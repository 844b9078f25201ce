//! Two topologies, and the routes that differ between them.

use crate::tables::{self, Computer};
use console::progress::Progress;
use crds::report::PlanReport;
use std::collections::BTreeSet;
use topology::{ForwarderIndex, Topology};

/// One side of the comparison.
pub(crate) struct Side {
    /// The global topology.
    pub(crate) topology: Topology,
    /// Most next hops of one route.
    pub(crate) max_paths: usize,
}

impl Side {
    /// A topology without anything in it.
    pub(crate) fn empty() -> Self {
        let nothing = Topology::new(Vec::new(), Vec::new(), Vec::new());
        Self {
            topology: nothing.expect("nothing has nothing wrong in it"),
            max_paths: 1,
        }
    }
}

/// Changes from `old` to `new`.
pub(crate) fn compare(old: &Side, new: &Side) -> PlanReport {
    let mut report = PlanReport::new(&old.topology, &new.topology);
    add_routes(&mut report, old, new);
    report
}

/// Compares a few tables at a time: all tables of ten thousand Forwarders would not fit.
fn add_routes(report: &mut PlanReport, old: &Side, new: &Side) {
    let both = old
        .topology
        .forwarders()
        .iter()
        .chain(new.topology.forwarders());
    let names: BTreeSet<&String> = both.collect();
    let names: Vec<&String> = names.into_iter().collect();
    let computers = [old, new].map(|side| Computer::new(&side.topology, side.max_paths));
    let mut progress = Progress::new("comparing tables", names.len());
    for names in names.chunks(tables::chunk(&new.topology).min(tables::chunk(&old.topology))) {
        let before = computers[0].compute(&roots(&old.topology, names), |table| table);
        let after = computers[1].compute(&roots(&new.topology, names), |table| table);
        let (old, new) = ((&old.topology, &*before), (&new.topology, &*after));
        report.extend(topology::plan(old, new));
        progress.advance(names.len());
    }
}

fn roots(topology: &Topology, names: &[&String]) -> Vec<ForwarderIndex> {
    names
        .iter()
        .filter_map(|name| topology.forwarder(name))
        .collect()
}
