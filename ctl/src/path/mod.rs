//! `beemesh path`: computed paths between two places, as a graph.
//!
//! ```text
//! A, B -> place (names -> Forwarders) -> dag (tables of the Forwarders on the way) -> output
//! ```

pub(crate) mod dag;
pub(crate) mod place;

use crate::cluster::placed::{Placed, Where};
use crate::routes::Without;
use console::failure::{Exit, Failure};
use console::input;
use console::output::{self, Output};
use dag::{Dag, Step, Ways};
use place::Place;
use serde::Serialize;

const EXAMPLES: &str = "\
A and B are each a Forwarder, an App or a pod (`NAME`, or `NAMESPACE/NAME` of another namespace); where a name
means several of them, write fwd/NAME, app/NAME or pod/NAME. With -f, instance 2 of an App is `NAME-2`.

Links that nodes report down are taken out. Paths are not enumerated: each Forwarder on the way is shown
once, with all its next hops. Exits 1 without a path.

JSON: {\"topology\", \"epoch\", \"from\", \"to\", \"down\": [], \"ways\": [{\"from\", \"distance\", \"paths\",
\"forwarders\": [{\"name\", \"node\", \"distance\", \"paths\", \"arrives\", \"nextHops\": [{\"via\", \"link\",
\"weight\"}]}]}]}, one of `ways` for each Forwarder that A is on; `distance` is null without a way.

Examples:
  beemesh path -f examples/worked.yaml App1 App2
  beemesh path -f examples/worked.yaml F1 F6 --without F2/F4
  beemesh path sensor-7d4 analytics --topology iot -n plant";

/// Arguments of `beemesh path`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Source: Forwarder, App or pod
    a: String,
    /// Destination: Forwarder, App or pod
    b: String,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    without: Without,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Report {
    topology: String,
    epoch: String,
    from: String,
    to: String,
    /// Links that nodes report down.
    down: Vec<String>,
    /// Links that nodes suspect: they are used only where there is no other way.
    suspect: Vec<String>,
    ways: Vec<Dag>,
}

/// Prints the paths.
///
/// # Errors
/// Refusals of the cluster, an unreadable file; [`Failure::NotFound`]; exit code 1 without a path.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let placed = args.place.placed()?;
    let faults = input::faults(&placed.topology, &args.without.without)?;
    let placed = match faults.is_empty() {
        true => placed,
        false => placed.without(&faults),
    };
    let (from, to) = (
        Place::find(&placed, &args.a)?,
        Place::find(&placed, &args.b)?,
    );
    let report = report(&placed, &from, &to)?;
    args.output.print(&report, table)?;
    match report.ways.iter().all(|way| way.distance.is_some()) {
        true => Ok(()),
        false => Err(Failure::Told(Exit::Failed)),
    }
}

fn report(placed: &Placed, from: &Place, to: &Place) -> Result<Report, Failure> {
    let ways = Ways::new(placed);
    let starts = from.forwarders(placed)?;
    Ok(Report {
        topology: placed.name.clone(),
        epoch: ways.epoch(),
        from: from.to_string(),
        to: to.to_string(),
        down: placed.ids(&placed.impaired.down),
        suspect: placed.ids(&placed.impaired.suspect),
        ways: starts
            .into_iter()
            .map(|start| ways.dag(start, to))
            .collect(),
    })
}

fn table(report: &Report) -> String {
    let mut text = format!("topology {}, epoch {}\n", report.topology, report.epoch);
    if !report.down.is_empty() {
        text += &format!("links that are down: {}\n", report.down.join(", "));
    }
    if !report.suspect.is_empty() {
        let suspect = report.suspect.join(", ");
        text += &format!("links that are suspect, the last resort: {suspect}\n");
    }
    for way in &report.ways {
        text += &format!("\n{}\n", headline(report, way));
        if way.distance.is_none() {
            continue;
        }
        let mut rows = output::table(
            &["FORWARDER", "NODE", "DISTANCE", "PATHS", "NEXT HOPS"],
            &[2, 3],
        );
        for step in &way.forwarders {
            rows.add_row([
                step.name.clone(),
                step.node.clone(),
                step.distance.to_string(),
                step.paths.to_string(),
                hops(step),
            ]);
        }
        text += &output::table_text(&rows);
    }
    text
}

fn headline(report: &Report, way: &Dag) -> String {
    let (from, to) = (&report.from, &report.to);
    let on = match way.from == *from {
        true => String::new(),
        false => format!(" on {}", way.from),
    };
    match (way.distance, way.paths) {
        (None, _) => format!("{from}{on} -> {to}: there is no path"),
        (Some(distance), 1) => format!("{from}{on} -> {to}: distance {distance}, 1 path"),
        (Some(distance), paths) => {
            format!("{from}{on} -> {to}: distance {distance}, {paths} paths")
        }
    }
}

fn hops(step: &Step) -> String {
    if step.arrives {
        return "here".to_owned();
    }
    let hop = |hop: &dag::Hop| format!("{} (weight {} by {})", hop.via, hop.weight, hop.link);
    step.next_hops
        .iter()
        .map(hop)
        .collect::<Vec<_>>()
        .join(", ")
}
