//! A line for each topology.

use super::Args;
use crate::cluster::stored::{Stored, condition};
use console::failure::Failure;
use console::output;
use crds::status::{ForwarderCount, LinkCount};
use serde::Serialize;

#[derive(Serialize)]
struct Report {
    topologies: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    namespace: String,
    name: String,
    /// `True`, `False` or `Unknown`.
    ready: String,
    /// Reason of the condition `Ready`, or that there is none yet.
    reason: String,
    forwarders: ForwarderCount,
    links: LinkCount,
    pods: u32,
    epoch: String,
}

/// Prints them, or on stderr that there are none.
pub(super) fn print(topologies: &[Stored], namespace: &str, args: &Args) -> Result<(), Failure> {
    if topologies.is_empty() {
        let place = match args.selected.all_namespaces {
            true => "this cluster".to_owned(),
            false => format!("namespace {namespace:?}"),
        };
        console::note(&format!("no topologies in {place}"));
    }
    let topologies = topologies.iter().map(line).collect();
    args.selected.output.print(&Report { topologies }, table)
}

fn line(topology: &Stored) -> Line {
    let status = topology.status();
    let (ready, reason) = match condition(&status, "Ready") {
        Some(it) => (it.status.clone(), it.reason.clone()),
        None => ("Unknown".to_owned(), "NotObserved".to_owned()),
    };
    Line {
        namespace: topology.namespace().to_owned(),
        name: topology.name().to_owned(),
        ready,
        reason,
        forwarders: status.forwarders,
        links: status.links,
        pods: status.pods,
        epoch: status.epoch,
    }
}

fn table(report: &Report) -> String {
    if report.topologies.is_empty() {
        return String::new();
    }
    let headings = [
        "NAMESPACE",
        "NAME",
        "READY",
        "REASON",
        "PROGRAMMED",
        "LINKS",
        "PODS",
        "EPOCH",
    ];
    let mut rows = output::table(&headings, &[]);
    for line in &report.topologies {
        let Line {
            forwarders, links, ..
        } = line;
        rows.add_row([
            line.namespace.clone(),
            line.name.clone(),
            line.ready.clone(),
            line.reason.clone(),
            format!("{}/{}", forwarders.programmed, forwarders.total),
            format!("{}/{}", links.up, links.total),
            line.pods.to_string(),
            line.epoch.clone(),
        ]);
    }
    output::table_text(&rows)
}
