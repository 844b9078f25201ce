//! `status` and `conflist`: the state of a running lab, for people and for programs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crds::status::LinkCount;
use serde::Serialize;

use crate::KernelCheck;
use crate::args::{ConflistArgs, StatusArgs};
use crate::convergence::computed::Computed;
use crate::convergence::watch;
use crate::desired;
use crate::faults::{
    self,
    nodes::{now, process},
};
use crate::hosts::daemons;
use crate::instances::conflist;
use crate::running::{Running, unknown};
use crate::state::directory::Faults;
use crate::verbs::health;
use console::failure::{Exit, Failure};
use console::output::{Format, Output, print_json, table, table_text};

/// Longest time for a running change to converge.
const SETTLING: Duration = Duration::from_secs(2);

/// JSON of `status`: names that scripts rely on.
#[derive(Serialize)]
struct Status {
    /// Differences from the declaration, beside the faults: empty where packets can pass.
    problems: Vec<String>,
    /// Faults in force.
    faults: Faults,
    topology: String,
    epoch: String,
    forwarders: BTreeMap<String, ForwarderStatus>,
    apps: BTreeMap<String, AppStatus>,
}

#[derive(Serialize)]
struct ForwarderStatus {
    node: String,
    netns: String,
    links: Links,
}

#[derive(Serialize)]
struct Links {
    up: u32,
    total: u32,
    /// Links that pass no packets although their interfaces are up.
    suspect: u32,
}

#[derive(Serialize)]
struct AppStatus {
    netns: String,
    forwarder: String,
    addresses: Vec<String>,
}

/// Shows Forwarders and App instances, and their differences from the declaration.
///
/// # Errors
/// [`Failure::NotFound`] when the lab does not run; exit code 1 with differences.
pub(crate) fn status(args: &StatusArgs, check: KernelCheck) -> Result<(), Failure> {
    let running = Running::join(&args.file.file)?;
    let mut status = status_of(&running)?;
    // A running change is no problem.
    status.problems = health::settled(&running, Instant::now() + SETTLING, check, |_| ())?;
    for node in running.record.hosts.keys() {
        let is_told = running.record.faults.killed_daemons.contains(node);
        if !is_told && daemons::running(&running.directory, node).is_none() {
            console::terminal::say(&format!(
                "warning: the daemon of {node} is not running, what it reported last is shown; \
                 `beemesh lab up` starts it again"
            ));
        }
    }
    args.output.print(&status, text)?;
    match status.problems.is_empty() {
        true => Ok(()),
        false => Err(Failure::Told(Exit::Failed)),
    }
}

/// Prints the result of a change: `sentence` and the number of links up as a table, the whole
/// status as JSON or YAML.
///
/// # Errors
/// [`Failure::Write`] when stdout cannot be written.
pub(crate) fn changed(running: &Running, output: Output, sentence: &str) -> Result<(), Failure> {
    let status = status_of(running)?;
    output.print(&status, |status| {
        let (up, total) = status
            .forwarders
            .values()
            .fold((0, 0), |(up, total), each| {
                (up + each.links.up, total + each.links.total)
            });
        // Each link has two ends.
        format!("{sentence}; {} of {} links are up", up / 2, total / 2)
    })
}

fn status_of(running: &Running) -> Result<Status, Failure> {
    let record = &running.record;
    let epoch = Computed::new(&running.forwarders, &record.faults)?.epoch();
    let reported = watch::read_all(&running.directory.status());
    let forwarders = running.forwarders.iter().map(|forwarder| {
        let links = reported.get(&forwarder.metadata.name);
        let LinkCount { up, suspect, .. } = links.map(|it| it.links).unwrap_or_default();
        let total = u32::try_from(forwarder.spec.links.len()).unwrap_or(u32::MAX);
        let status = ForwarderStatus {
            node: forwarder.spec.node.clone(),
            netns: faults::netns(forwarder),
            links: Links { up, total, suspect },
        };
        (forwarder.spec.name.clone(), status)
    });
    let apps = record.instances.iter().map(|(name, instance)| {
        let addresses = instance
            .addresses
            .iter()
            .map(|address| address.ip().to_string());
        let status = AppStatus {
            netns: instance.netns.clone(),
            forwarder: instance.forwarder.clone(),
            addresses: addresses.collect(),
        };
        (name.clone(), status)
    });
    Ok(Status {
        problems: Vec::new(),
        faults: in_force(&record.faults),
        topology: record.topology.clone(),
        epoch,
        forwarders: forwarders.collect(),
        apps: apps.collect(),
    })
}

/// Faults, without a burn whose process has ended.
fn in_force(faults: &Faults) -> Faults {
    let burn = faults.burn.filter(|burn| process(*burn).is_alive());
    Faults {
        burn,
        ..faults.clone()
    }
}

fn text(status: &Status) -> String {
    let mut text = format!("topology {}, epoch {}\n\n", status.topology, status.epoch);
    let mut forwarders = table(&["FORWARDER", "NODE", "LINKS", "NETNS"], &[2]);
    for (name, forwarder) in &status.forwarders {
        let Links { up, total, suspect } = forwarder.links;
        let links = match suspect {
            0 => format!("{up}/{total}"),
            suspect => format!("{up}/{total}, {suspect} suspect"),
        };
        forwarders.add_row([name, &forwarder.node, &links, &forwarder.netns]);
    }
    text += &table_text(&forwarders);
    if !status.apps.is_empty() {
        let mut apps = table(&["APP", "FORWARDER", "ADDRESSES", "NETNS"], &[]);
        for (name, app) in &status.apps {
            apps.add_row([name, &app.forwarder, &app.addresses.join(" "), &app.netns]);
        }
        text.push('\n');
        text += &table_text(&apps);
    }
    if !status.problems.is_empty() {
        text.push('\n');
        for problem in &status.problems {
            text += &format!("problem: {problem}\n");
        }
    }
    let lines = status.faults.lines(now());
    if !lines.is_empty() {
        text.push('\n');
        lines.iter().for_each(|line| text += &format!("{line}\n"));
    }
    text
}

/// Prints the conflist of one App, for any CNI runtime.
///
/// # Errors
/// [`Failure::NotFound`] when the lab does not run, or has no such App or node.
pub(crate) fn conflist(args: &ConflistArgs) -> Result<(), Failure> {
    let running = Running::join(&args.file.file)?;
    let apps = running
        .forwarders
        .iter()
        .flat_map(|forwarder| &forwarder.spec.apps);
    let Some(app) = apps.clone().find(|app| app.name == args.app) else {
        return Err(unknown(
            "App",
            &args.app,
            unique(apps.map(|app| app.name.as_str())),
        ));
    };
    let Some(node) = conflist::node_for(&running.forwarders, &args.app, args.node.as_deref())
    else {
        let nodes = running
            .forwarders
            .iter()
            .filter(|forwarder| forwarder.spec.apps.iter().any(|each| each.name == args.app));
        let nodes = unique(nodes.map(|forwarder| forwarder.spec.node.as_str()));
        let wanted = args.node.as_deref().unwrap_or_default();
        return Err(unknown(&format!("node for {}", args.app), wanted, nodes));
    };
    let record = &running.record;
    // The node chooses the Forwarder, unless the App is pinned to one.
    let labels = desired::pod_labels(&record.topology, &app.name, app.selector.as_ref(), None);
    let network = conflist::network(&record.namespace, &record.topology);
    let version = args.cni_version.as_deref();
    let list = conflist::conflist(&running.directory, &network, (node, version), &labels);
    match args.output.format {
        // A conflist is JSON in any format.
        Format::Table => print_json(&list),
        Format::Json | Format::Yaml => args.output.print(&list, |_| String::new()),
    }
}

fn unique<'a>(names: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    names.collect::<std::collections::BTreeSet<_>>().into_iter()
}
