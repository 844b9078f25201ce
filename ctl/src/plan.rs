//! `beemesh plan`: which routes change, before anything is applied.

use crate::{
    failure::Failure,
    input::{self, Input},
    output::{self, Output},
    progress::Progress,
    routes::Without,
    tables::{self, Computer},
};
use crds::report::{PlanReport, Route};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use topology::{ForwarderIndex, Topology};

const EXAMPLES: &str = "\
Compares OLD (--against) with NEW (-f). With --without and no --against, NEW is compared with
itself after the loss; with neither, NEW is compared with an empty topology.

JSON: {\"oldEpoch\", \"newEpoch\", \"forwarders\": {\"added\": [], \"removed\": []}, \"links\":
{\"added\": [], \"removed\": [], \"changed\": []}, \"apps\": {\"added\": [], \"removed\": []},
\"routes\": {FROM: {TO: {\"before\": {\"distance\", \"attached\", \"nextHops\": [{\"via\",
\"link\"}]}, \"after\": null}}}}; a route that appears has no \"before\", one that goes no \"after\".

Examples:
  beemesh plan -f examples/worked.yaml
  beemesh plan -f examples/worked.yaml --without F2/F4
  beemesh generate ring --forwarders 5 | beemesh plan -f examples/worked.yaml --against - -o json";

/// Arguments of `beemesh plan`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    input: Input,
    /// The topology as it is now; `-` is stdin
    #[arg(long, value_name = "OLD")]
    against: Option<PathBuf>,
    #[command(flatten)]
    without: Without,
    #[command(flatten)]
    output: Output,
}

/// One side of the comparison.
struct Side {
    topology: Topology,
    max_paths: usize,
}

/// Prints what changes.
///
/// # Errors
/// Unreadable or invalid input, unknown names, a stdout that cannot be written.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let (old, new) = sides(args)?;
    let mut report = PlanReport::new(&old.topology, &new.topology);
    add_routes(&mut report, &old, &new);
    args.output.print(&report, table)
}

fn sides(args: &Args) -> Result<(Side, Side), Failure> {
    let is_stdin = |path: &PathBuf| path.as_os_str() == "-";
    if is_stdin(&args.input.file) && args.against.as_ref().is_some_and(is_stdin) {
        let message = "stdin: expected for one of -f and --against, not for both";
        return Err(Failure::Invalid(vec![message.into()]));
    }
    let declared = args.input.declared()?;
    let max_paths = declared.object.spec.routing.max_paths as usize;
    let faults = input::faults(&declared.topology, &args.without.without)?;
    let new = Side {
        topology: declared.topology.without(&faults),
        max_paths,
    };
    let old = match &args.against {
        Some(file) => {
            let old = input::declared(file)?;
            let max_paths = old.object.spec.routing.max_paths as usize;
            Side {
                topology: old.topology,
                max_paths,
            }
        }
        None if faults.is_empty() => {
            let nothing = Topology::new(Vec::new(), Vec::new(), Vec::new());
            Side {
                topology: nothing.expect("nothing has nothing wrong in it"),
                max_paths,
            }
        }
        None => Side {
            topology: declared.topology,
            max_paths,
        },
    };
    Ok((old, new))
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

fn table(report: &PlanReport) -> String {
    let mut text = format!("epoch {} -> {}\n", report.old_epoch, report.new_epoch);
    for (what, changes) in [
        ("forwarders", &report.forwarders),
        ("links", &report.links),
        ("apps", &report.apps),
    ] {
        let kinds = [
            ("added", &changes.added),
            ("removed", &changes.removed),
            ("changed", &changes.changed),
        ];
        for (kind, names) in kinds.into_iter().filter(|(_, names)| !names.is_empty()) {
            text += &format!("{what} {kind}: {}\n", shortened(names));
        }
    }
    let count: usize = report.routes.values().map(BTreeMap::len).sum();
    if count == 0 {
        return text + "no route changes\n";
    }
    let plural = |count: usize, one: &str, many: &str| match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {many}"),
    };
    let (routes, forwarders) = (
        plural(count, "route", "routes"),
        plural(report.routes.len(), "forwarder", "forwarders"),
    );
    text += &format!("{routes} of {forwarders} change\n\n");
    let mut rows = output::table(&["FROM", "TO", "BEFORE", "AFTER"], &[]);
    for (from, changes) in &report.routes {
        for (to, change) in changes {
            rows.add_row([
                from,
                to,
                &shown(change.before.as_ref()),
                &shown(change.after.as_ref()),
            ]);
        }
    }
    text + &output::table_text(&rows)
}

fn shown(route: Option<&Route>) -> String {
    match route {
        None => "-".into(),
        Some(route) if route.attached => format!("{} attached", route.distance),
        Some(route) => {
            let hops: Vec<&str> = route.next_hops.iter().map(|hop| hop.via.as_str()).collect();
            format!("{} via {}", route.distance, hops.join(", "))
        }
    }
}

/// The names, and of more than twenty the first ones and how many more there are.
fn shortened(names: &[String]) -> String {
    match names.get(..20) {
        Some(first) if names.len() > 20 => {
            format!("{} and {} more", first.join(", "), names.len() - 20)
        }
        _ => names.join(", "),
    }
}
