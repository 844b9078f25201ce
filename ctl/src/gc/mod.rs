//! `beemesh check` and `beemesh gc`: leftovers on nodes and in the API, and their removal.
//!
//! ```text
//! nodes: inspect census | gc --.
//! API: objects without their --+-> Report -> output
//!      topology                |
//! leases without their pod ----'
//! ```

mod api;
mod pods;

use crate::cluster::{Cluster, Connection};
use crate::nodes::lab::OfLab;
use crate::nodes::{Nodes, ask_each, cluster::OfCluster, daemons::System};
use ::lab::Running;
use api::Orphan;
use console::failure::{Exit, Failure};
use console::output::{self, Output};
use crds::diagnosis::report::{Census, Collected, Leak};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

const CHECK_EXAMPLES: &str = "\
Counts everything of beemesh on every node and in the API, and names what nobody needs: namespaces, links, both
ends of attachments, next hops, leases, queued DELs, link states, stray files, sockets; Forwarders, Allocations,
VniRanges, Services and EndpointSlices of topologies that are no more. Exits 1 when there is any. What
cannot be asked is told.

JSON: {\"ok\", \"counts\": {KIND: N}, \"leaks\": [{\"node\", \"kind\", \"name\", \"netns\", \"why\", \"removable\"}],
\"orphans\": [{\"kind\", \"namespace\", \"name\", \"why\", \"removable\"}], \"unknown\": [{\"where\", \"why\"}]}.

Examples:
  beemesh check
  beemesh check -o json
  beemesh check -f examples/iot.yaml";

const GC_EXAMPLES: &str = "\
Removes what `check` calls removable: against each there are two proofs, looked for twice. Nothing is removed
whose need cannot be told. Exits 1 when something could not be removed.

JSON: {\"dryRun\", \"removed\": [], \"kept\": [], \"orphansRemoved\": [], \"orphansKept\": [], \"unknown\": []},
entries as those of `check`.

Examples:
  beemesh gc --dry-run
  beemesh gc
  beemesh gc -f examples/iot.yaml";

/// Scope and output of both verbs.
#[derive(Debug, clap::Args)]
struct Everything {
    /// YAML file with the MicroServiceTopology of a running lab; `-` is stdin
    #[arg(short, long = "file", value_name = "FILE", conflicts_with_all = ["namespace", "context", "kubeconfig"])]
    file: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    system: System,
    #[command(flatten)]
    output: Output,
}

impl Everything {
    /// Calls `look` with the selected nodes, and their cluster; a lab has none.
    fn look(&self, look: impl FnOnce(&dyn Nodes, Option<&Cluster>)) -> Result<(), Failure> {
        match &self.file {
            Some(file) => look(&OfLab::new(&Running::join(file)?), None),
            None => {
                let cluster = self.connection.open()?;
                look(&OfCluster::find(&cluster, &self.system)?, Some(&cluster));
            }
        }
        Ok(())
    }
}

/// Arguments of `beemesh check`.
#[derive(Debug, clap::Args)]
#[command(after_help = CHECK_EXAMPLES)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    all: Everything,
}

/// Arguments of `beemesh gc`.
#[derive(Debug, clap::Args)]
#[command(after_help = GC_EXAMPLES)]
pub(crate) struct GcArgs {
    /// Print the removals without making them
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    all: Everything,
}

/// Orphan and its node.
#[derive(Clone, Debug, Serialize)]
struct OnNode {
    node: String,
    #[serde(flatten)]
    leak: Leak,
}

/// An object that could not be read.
#[derive(Clone, Debug, Serialize)]
struct Unknown {
    r#where: String,
    why: String,
}

#[derive(Debug, Default, Serialize)]
struct Checked {
    ok: bool,
    counts: BTreeMap<String, u64>,
    leaks: Vec<OnNode>,
    orphans: Vec<Orphan>,
    unknown: Vec<Unknown>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Removed {
    dry_run: bool,
    removed: Vec<OnNode>,
    kept: Vec<OnNode>,
    orphans_removed: Vec<Orphan>,
    orphans_kept: Vec<Orphan>,
    unknown: Vec<Unknown>,
}

/// Lists the orphaned objects.
///
/// # Errors
/// Refusals of the cluster; exit code 1 when there are any.
pub(crate) fn check(args: &CheckArgs) -> Result<(), Failure> {
    let mut checked = Checked::default();
    args.all.look(|nodes, cluster| {
        checked.nodes(nodes);
        if let Some(cluster) = cluster {
            checked.api(cluster, nodes);
        }
    })?;
    checked.ok = checked.leaks.is_empty() && checked.orphans.is_empty();
    args.all.output.print(&checked, checked_table)?;
    match checked.ok {
        true => Ok(()),
        false => Err(Failure::Told(Exit::Failed)),
    }
}

/// Removes the orphaned objects.
///
/// # Errors
/// Refusals of the cluster; exit code 1 when something could not be removed.
pub(crate) fn run(args: &GcArgs) -> Result<(), Failure> {
    let mut removed = Removed {
        dry_run: args.dry_run,
        ..Removed::default()
    };
    args.all.look(|nodes, cluster| {
        removed.nodes(nodes);
        if let Some(cluster) = cluster {
            removed.api(cluster);
        }
    })?;
    args.all.output.print(&removed, removed_table)?;
    let is_stuck = removed.kept.iter().any(|it| it.leak.removable)
        || removed.orphans_kept.iter().any(|it| it.removable);
    match is_stuck {
        false => Ok(()),
        true => Err(Failure::Told(Exit::Failed)),
    }
}

fn unknown(node: &str, why: impl IntoIterator<Item = String>) -> impl Iterator<Item = Unknown> {
    why.into_iter().map(move |why| Unknown {
        r#where: format!("node {node}"),
        why,
    })
}

fn on_node(node: &str, leaks: Vec<Leak>) -> impl Iterator<Item = OnNode> {
    leaks.into_iter().map(move |leak| OnNode {
        node: node.to_owned(),
        leak,
    })
}

impl Checked {
    fn nodes(&mut self, nodes: &dyn Nodes) {
        let names = answering(nodes, &mut self.unknown);
        for (node, census) in ask_each::<Census>(nodes, &names, "census") {
            match census {
                Ok(census) => {
                    for (kind, count) in census.counts {
                        *self.counts.entry(kind).or_default() += count;
                    }
                    self.leaks.extend(on_node(&node, census.leaks));
                    self.unknown.extend(unknown(&node, census.unknown));
                }
                Err(why) => self.unknown.extend(unknown(&node, [why])),
            }
        }
    }

    fn api(&mut self, cluster: &Cluster, nodes: &dyn Nodes) {
        let found = api::look(cluster);
        self.counts.extend(found.counts);
        self.orphans = found.orphans;
        self.unknown.extend(found.unknown);
        let names: BTreeSet<String> = nodes
            .names()
            .into_iter()
            .filter(|node| nodes.away(node).is_none())
            .collect();
        let (leaks, unknown) = pods::leases_without_pod(cluster, nodes, &names);
        // An orphan that its node reports is listed once.
        let is_known = |leak: &OnNode| {
            self.leaks
                .iter()
                .any(|it| (&it.node, &it.leak.name) == (&leak.node, &leak.leak.name))
        };
        let fresh: Vec<OnNode> = leaks.into_iter().filter(|leak| !is_known(leak)).collect();
        self.leaks.extend(fresh);
        self.unknown.extend(unknown);
    }
}

impl Removed {
    fn nodes(&mut self, nodes: &dyn Nodes) {
        let names = answering(nodes, &mut self.unknown);
        let question = if self.dry_run { "gc --dry-run" } else { "gc" };
        for (node, collected) in ask_each::<Collected>(nodes, &names, question) {
            match collected {
                Ok(collected) => {
                    self.removed.extend(on_node(&node, collected.removed));
                    self.kept.extend(on_node(&node, collected.kept));
                    self.unknown.extend(unknown(&node, collected.unknown));
                }
                Err(why) => self.unknown.extend(unknown(&node, [why])),
            }
        }
    }

    fn api(&mut self, cluster: &Cluster) {
        let found = api::look(cluster);
        self.unknown.extend(found.unknown);
        for mut orphan in found.orphans {
            match (orphan.removable, self.dry_run) {
                (false, _) => self.orphans_kept.push(orphan),
                (true, true) => self.orphans_removed.push(orphan),
                (true, false) => match api::remove(cluster, &orphan) {
                    Ok(()) => self.orphans_removed.push(orphan),
                    Err(why) => {
                        orphan.why = format!("{}; not removed: {why}", orphan.why);
                        self.orphans_kept.push(orphan);
                    }
                },
            }
        }
    }
}

/// Nodes that can be asked; the others are added to `told` with the reason.
fn answering(nodes: &dyn Nodes, told: &mut Vec<Unknown>) -> BTreeSet<String> {
    let mut answering = nodes.names();
    answering.retain(|node| match nodes.away(node) {
        Some(why) => {
            told.extend(unknown(node, [why]));
            false
        }
        None => true,
    });
    answering
}

fn checked_table(checked: &Checked) -> String {
    let mut counts = output::table(&["KIND", "COUNT"], &[1]);
    for (kind, count) in &checked.counts {
        counts.add_row([kind, &count.to_string()]);
    }
    let mut text = output::table_text(&counts);
    text += &leaks_table(&checked.leaks, &checked.orphans);
    text += &unknown_lines(&checked.unknown);
    let removable = checked.leaks.iter().filter(|it| it.leak.removable).count()
        + checked.orphans.iter().filter(|it| it.removable).count();
    match checked.leaks.len() + checked.orphans.len() {
        0 if checked.unknown.is_empty() => text + "\nnothing is left over\n",
        0 => text + "\nnothing is left over of what could be asked\n",
        count => {
            text + &format!("\n{count} left over, {removable} of it removable by `beemesh gc`\n")
        }
    }
}

fn removed_table(removed: &Removed) -> String {
    let mut text = String::new();
    let (done, count) = (
        if removed.dry_run {
            "would be removed"
        } else {
            "removed"
        },
        removed.removed.len() + removed.orphans_removed.len(),
    );
    text += &format!("{count} {done}\n");
    text += &leaks_table(&removed.removed, &removed.orphans_removed);
    if !removed.kept.is_empty() || !removed.orphans_kept.is_empty() {
        text += &format!(
            "\n{} kept\n",
            removed.kept.len() + removed.orphans_kept.len()
        );
        text += &leaks_table(&removed.kept, &removed.orphans_kept);
    }
    text + &unknown_lines(&removed.unknown)
}

fn leaks_table(leaks: &[OnNode], orphans: &[Orphan]) -> String {
    let mut rows = output::table(&["WHERE", "KIND", "NAME", "REMOVABLE", "WHY"], &[]);
    let yes = |removable: bool| if removable { "yes" } else { "no" };
    for OnNode { node, leak } in leaks {
        let name = match leak.netns.as_str() {
            "" => leak.name.clone(),
            netns => format!("{} in {netns}", leak.name),
        };
        rows.add_row([
            node.as_str(),
            leak.kind.as_str(),
            &name,
            yes(leak.removable),
            &leak.why,
        ]);
    }
    for orphan in orphans {
        let name = orphan.full_name();
        rows.add_row([
            "API",
            orphan.kind,
            &name,
            yes(orphan.removable),
            &orphan.why,
        ]);
    }
    match rows.row_count() {
        0 => String::new(),
        _ => format!("\n{}", output::table_text(&rows)),
    }
}

fn unknown_lines(unknown: &[Unknown]) -> String {
    let line = |it: &Unknown| format!("cannot check {}: {}\n", it.r#where, it.why);
    unknown.iter().map(line).collect()
}
