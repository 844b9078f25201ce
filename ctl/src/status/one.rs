//! Status of one topology in detail.

use super::advice::{self, Advised};
use crate::cluster::stored::{Stored, is_filled};
use crate::degraded;
use console::output;
use crds::{
    Condition, Forwarder, ForwarderObject, ForwarderSpec, ForwarderStatus, status::LinkCount,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Report on one topology.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    namespace: String,
    name: String,
    generation: i64,
    observed_generation: Option<i64>,
    epoch: String,
    digest: String,
    /// Pods that are instances of Apps, attached yet or not.
    pods: u32,
    /// Time from the last change to all being computed and written.
    convergence: String,
    conditions: Vec<Condition>,
    forwarders: Vec<ForwarderLine>,
    apps: Vec<AppLine>,
    problems: Vec<Advised>,
}

/// One Forwarder.
#[derive(Serialize)]
pub(super) struct ForwarderLine {
    pub(super) name: String,
    pub(super) node: String,
    blocks: Vec<String>,
    links: LinkCount,
    /// Of the table that its node has programmed.
    epoch: String,
    /// Digest of the table that is expected while all links are up.
    computed: String,
    /// Digest of the table that its node has programmed.
    reported: String,
    pub(super) state: State,
    drained: bool,
}

impl ForwarderLine {
    /// `UP/TOTAL`, and the number of suspect ones; links without a report are unknown.
    fn links_up(&self) -> String {
        let LinkCount { up, total, suspect } = self.links;
        match (self.reported.is_empty(), suspect) {
            (true, _) => format!("?/{total}"),
            (false, 0) => format!("{up}/{total}"),
            (false, suspect) => format!("{up}/{total}, {suspect} suspect"),
        }
    }
}

/// State of a node's table, compared with the computed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum State {
    /// The object has no node and no blocks yet.
    Bare,
    /// No table is computed yet.
    NotComputed,
    /// The node has said nothing yet.
    NotReported,
    /// Both are the same.
    Same,
    /// The node routes around the links that are suspect or down.
    Rerouted,
    /// They differ by more than links that are suspect or down.
    Differs,
}

#[derive(Serialize)]
struct AppLine {
    name: String,
    /// Forwarders that it is attached to.
    forwarders: Vec<String>,
    /// Attached pods, as nodes report them; `None` for an external App.
    instances: Option<usize>,
    external: Vec<String>,
}

/// Builds the report.
pub(super) fn report(stored: &Stored, forwarders: &[ForwarderObject]) -> Report {
    let status = stored.status();
    let declaration = stored.declaration().ok();
    let drain = declaration.and_then(|it| it.spec.drain).unwrap_or_default();
    let drained = |name: &str| drain.forwarders.iter().any(|it| it == name);
    let plain: Vec<Forwarder> = forwarders.iter().map(Forwarder::from).collect();
    let around = degraded::around(&plain);
    let lines = forwarders.iter();
    let lines: Vec<ForwarderLine> = lines.map(|it| line(it, &drained, &around)).collect();
    let problems = advice::problems(stored, &lines, forwarders);
    Report {
        namespace: stored.namespace().to_owned(),
        name: stored.name().to_owned(),
        generation: stored.generation(),
        observed_generation: status.observed_generation,
        epoch: status.epoch,
        digest: status.digest,
        pods: status.pods,
        convergence: status.convergence,
        conditions: status.conditions,
        apps: apps(forwarders),
        forwarders: lines,
        problems,
    }
}

fn line(
    object: &ForwarderObject,
    drained: &dyn Fn(&str) -> bool,
    around: &BTreeMap<String, String>,
) -> ForwarderLine {
    let ForwarderSpec {
        name, node, blocks, ..
    } = &object.spec;
    let status = object.status.clone().unwrap_or_default();
    let state = state(object, &status, around);
    ForwarderLine {
        drained: drained(name),
        name: name.clone(),
        node: node.clone(),
        blocks: blocks.iter().map(ToString::to_string).collect(),
        links: LinkCount {
            total: object.spec.links.len() as u32,
            ..status.links
        },
        epoch: status.epoch,
        computed: status.computed.map(|it| it.digest).unwrap_or_default(),
        reported: status.digest,
        state,
    }
}

/// `around` has the digests of all tables without the links that are down.
fn state(
    object: &ForwarderObject,
    status: &ForwarderStatus,
    around: &BTreeMap<String, String>,
) -> State {
    match &status.computed {
        _ if !is_filled(object) => State::Bare,
        None => State::NotComputed,
        Some(_) if status.digest.is_empty() => State::NotReported,
        Some(computed) if computed.digest == status.digest => State::Same,
        Some(_) if around.get(&object.spec.name) == Some(&status.digest) => State::Rerouted,
        Some(_) => State::Differs,
    }
}

fn apps(forwarders: &[ForwarderObject]) -> Vec<AppLine> {
    let mut apps: BTreeMap<&str, AppLine> = BTreeMap::new();
    for object in forwarders {
        let attachments = object.status.iter().flat_map(|status| &status.attachments);
        for app in &object.spec.apps {
            let line = apps.entry(&app.name).or_insert_with(|| AppLine {
                name: app.name.clone(),
                forwarders: Vec::new(),
                instances: app.external.is_empty().then_some(0),
                external: app.external.iter().map(ToString::to_string).collect(),
            });
            line.forwarders
                .extend(app.attached.then(|| object.spec.name.clone()));
            let here = attachments.clone().filter(|it| it.app == app.name).count();
            line.instances = line.instances.map(|count| count + here);
        }
    }
    apps.into_values().collect()
}

/// The same for people.
pub(super) fn table(report: &Report) -> String {
    let Report {
        namespace,
        name,
        generation,
        ..
    } = report;
    let observed = match report.observed_generation {
        Some(observed) if observed == *generation => String::new(),
        Some(observed) => format!(", the operator has reconciled {observed}"),
        None => ", the operator has not reconciled it".to_owned(),
    };
    let mut text = format!("{namespace}/{name}, generation {generation}{observed}\n");
    if !report.epoch.is_empty() {
        let Report {
            epoch,
            digest,
            pods,
            ..
        } = report;
        let took = match report.convergence.as_str() {
            "" => String::new(),
            time => format!(", computed in {time}"),
        };
        text += &format!("epoch {epoch}, digest {digest}, {pods} pods{took}\n");
    }
    for section in [conditions(report), forwarders(report), attached(report)] {
        if !section.is_empty() {
            text += "\n";
            text += &section;
        }
    }
    for problem in &report.problems {
        text += &format!("\n! {}\n  {}\n", problem.what, problem.advice);
    }
    text
}

fn conditions(report: &Report) -> String {
    if report.conditions.is_empty() {
        return String::new();
    }
    let mut rows = output::table(&["CONDITION", "STATUS", "SINCE", "REASON", "MESSAGE"], &[]);
    for condition in &report.conditions {
        let since = condition.last_transition_time.clone().unwrap_or_default();
        let Condition {
            r#type,
            status,
            reason,
            message,
            ..
        } = condition;
        rows.add_row([r#type, status, &since, reason, message]);
    }
    output::table_text(&rows)
}

fn forwarders(report: &Report) -> String {
    if report.forwarders.is_empty() {
        return String::new();
    }
    let headings = ["FORWARDER", "NODE", "BLOCKS", "LINKS", "EPOCH", "TABLE"];
    let mut rows = output::table(&headings, &[]);
    for line in &report.forwarders {
        let drained = if line.drained { ", drained" } else { "" };
        rows.add_row([
            line.name.clone(),
            or_dash(&line.node),
            or_dash(&line.blocks.join(" ")),
            line.links_up(),
            or_dash(&line.epoch),
            format!("{}{drained}", line.state.told()),
        ]);
    }
    output::table_text(&rows)
}

fn attached(report: &Report) -> String {
    if report.apps.is_empty() {
        return String::new();
    }
    let mut rows = output::table(&["APP", "FORWARDERS", "ATTACHED"], &[]);
    for app in &report.apps {
        let instances = match app.instances {
            Some(count) => format!("{count} pods"),
            None => app.external.join(" "),
        };
        rows.add_row([
            app.name.clone(),
            or_dash(&app.forwarders.join(", ")),
            instances,
        ]);
    }
    output::table_text(&rows)
}

fn or_dash(text: &str) -> String {
    match text {
        "" => "-".into(),
        text => text.into(),
    }
}

impl State {
    fn told(self) -> &'static str {
        match self {
            Self::Bare => "waits for its blocks",
            Self::NotComputed => "not computed",
            Self::NotReported => "computed, not reported",
            Self::Same => "as computed",
            Self::Rerouted => "rerouted",
            Self::Differs => "differs from computed",
        }
    }
}
