//! `beemesh drain` and `beemesh undrain` of Forwarders and links.

mod effect;
mod owned;
mod present;
mod sets;

use crate::cluster::Connection;
use crate::status::Timeout;
use console::failure::Failure;
use console::output::Output;
use crds::{report::PlanReport, topology::Drain};
use effect::Effect;
use present::{Change, on_present};
use serde::Serialize;
use sets::{common, minus, union};

const EXAMPLES: &str = "\
What is drained weighs more than any other path, so that it carries traffic only where there is no
other way: nothing is cut off. It is declared in the topology's spec.drain, as field manager
beemesh-ctl; the routes that change are printed. When the topology changes in between, it is looked
at again: drains at the same time are all there. When the others reach one another only
across what would be drained, it would not run empty: then the verb refuses, unless --force.

JSON: {\"namespace\", \"name\", \"drain\": {\"forwarders\": [], \"links\": []}, \"applied\", \"generation\",
\"onlyWay\": [[]], \"onlyThere\": [], \"plan\": {}}; \"plan\" as `beemesh plan` prints it.

Examples in a cluster:
  beemesh drain iot --forwarder edge-a --dry-run
  beemesh drain iot --forwarder edge-a --wait
  beemesh drain iot -n plant --link edge-a/edge-b --link edge-b/edge-c";

const EXAMPLES_UNDRAIN: &str = "\
Without --forwarder and --link everything that `beemesh drain` has drained. What another field
manager declares, such as a file under version control, is taken back there.

Examples in a cluster:
  beemesh undrain iot --forwarder edge-a
  beemesh undrain iot -n plant --wait";

/// Arguments of `beemesh drain`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, group = clap::ArgGroup::new("what").required(true).multiple(true))]
pub(crate) struct Args {
    /// Topology
    #[arg(add = crate::cluster::candidates::topologies())]
    name: String,
    /// Forwarder to drain; may be repeated
    #[arg(long, value_name = "FORWARDER", group = "what")]
    forwarder: Vec<String>,
    /// Link to drain, `A/B` all parallel ones, `A/B#2` one; may be repeated
    #[arg(long, value_name = "LINK", group = "what")]
    link: Vec<String>,
    /// Drain even if it is the only path for others
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    how: How,
}

/// Arguments of `beemesh undrain`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES_UNDRAIN)]
pub(crate) struct UndrainArgs {
    /// Topology
    #[arg(add = crate::cluster::candidates::topologies())]
    name: String,
    /// Forwarder to use again; may be repeated
    #[arg(long, value_name = "FORWARDER")]
    forwarder: Vec<String>,
    /// Link to use again; may be repeated
    #[arg(long, value_name = "LINK")]
    link: Vec<String>,
    #[command(flatten)]
    how: How,
}

/// Options of both verbs.
#[derive(Debug, clap::Args)]
struct How {
    /// Print the changes without writing them
    #[arg(long)]
    dry_run: bool,
    /// Wait until the operator has computed the new tables
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
    #[command(flatten)]
    timeout: Timeout,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    namespace: String,
    name: String,
    drain: Drain,
    applied: bool,
    generation: i64,
    #[serde(flatten)]
    effect: Effect,
    plan: PlanReport,
}

/// Drains.
///
/// # Errors
/// Refusals of the cluster; unknown names; [`Failure::Failed`] for the only path of others.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    on_present(&args.how, &args.name, |present| {
        let asked = present.named(&args.forwarder, &args.link)?;
        let drained = present.drained();
        let wanted = union(&drained, &asked);
        let effect = Effect::new(&present.topology, &drained, &wanted);
        if wanted != drained
            && !args.force
            && let Some(why) = effect.refusal()
        {
            return Err(Failure::Failed(format!(
                "{why}; --force drains it nevertheless"
            )));
        }
        // Drains of other field managers are unchanged.
        let ours = union(&present.owned.drain, &minus(&asked, &drained));
        Ok(Change {
            wanted,
            ours,
            effect,
        })
    })
}

/// Undrains.
///
/// # Errors
/// Refusals of the cluster; unknown names; drains of another field manager.
pub(crate) fn run_undrain(args: &UndrainArgs) -> Result<(), Failure> {
    on_present(&args.how, &args.name, |present| {
        let drained = present.drained();
        let ours = present.owned.drain.clone();
        let asked = match args.forwarder.is_empty() && args.link.is_empty() {
            true => ours.clone(),
            false => present.named(&args.forwarder, &args.link)?,
        };
        let foreign = common(&minus(&asked, &ours), &drained);
        if let Some(name) = foreign.forwarders.iter().chain(&foreign.links).next() {
            let owner = present.owned.other.as_deref();
            let owner = owner.unwrap_or("another field manager");
            return Err(Failure::Failed(format!(
                "{name} is drained by {owner}, not by `beemesh drain`: take it out of spec.drain there"
            )));
        }
        let wanted = minus(&drained, &asked);
        let effect = Effect::new(&present.topology, &drained, &wanted);
        Ok(Change {
            wanted,
            ours: minus(&ours, &asked),
            effect,
        })
    })
}

impl Report {
    fn line(&self, is_change: bool) -> String {
        let Self {
            namespace, name, ..
        } = self;
        let names: Vec<&str> = self
            .drain
            .forwarders
            .iter()
            .chain(&self.drain.links)
            .map(String::as_str)
            .collect();
        let drained = match names.is_empty() {
            true => "nothing".to_owned(),
            false => names.join(", "),
        };
        let what = match (is_change, self.applied) {
            (false, _) => "nothing to change",
            (true, true) => "applied",
            (true, false) => "dry run, nothing was written",
        };
        format!("{what}: drained in {namespace}/{name}: {drained}\n")
    }
}
