//! `beemesh drain` and `beemesh undrain`: traffic keeps away from Forwarders and links, and comes back.

mod effect;
mod owned;

use crate::{
    cluster::{Cluster, Connection, expected::Given, stored::Stored, wait::Wanted},
    failure::Failure,
    input,
    output::{Format, Output},
    plan,
    status::Timeout,
};
use crds::{MicroServiceTopology, report::PlanReport, topology::Drain};
use effect::Effect;
use kube::api::PatchParams;
use owned::{MANAGER, Owned};
use serde::Serialize;
use std::collections::BTreeSet;
use topology::Topology;

const EXAMPLES: &str = "\
What is drained weighs more than any other path, so that it carries traffic only where there is no
other way: nothing is cut off. It is declared in the topology's spec.drain, as field manager
beemesh-ctl; the routes that change are printed first. When the others reach one another only
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
    #[arg(add = crate::plugin::topologies())]
    name: String,
    /// Forwarder to drain; may be repeated
    #[arg(long, value_name = "FORWARDER", group = "what")]
    forwarder: Vec<String>,
    /// Link to drain, `A/B` all parallel ones, `A/B#2` one; may be repeated
    #[arg(long, value_name = "LINK", group = "what")]
    link: Vec<String>,
    /// Drain also what is the only way for others
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
    #[arg(add = crate::plugin::topologies())]
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

/// What both verbs take.
#[derive(Debug, clap::Args)]
struct How {
    /// Print what would change, and write nothing
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

/// A topology as it is, and what of its drain is whose.
struct Present {
    cluster: Cluster,
    stored: Stored,
    object: MicroServiceTopology,
    given: Given,
    topology: Topology,
    owned: Owned,
}

/// Drains.
///
/// # Errors
/// What the cluster refuses; unknown names; that it is the only way for others.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let present = Present::look(&args.how, &args.name)?;
    let asked = present.named(&args.forwarder, &args.link)?;
    let drained = present.object.spec.drain.clone().unwrap_or_default();
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
    // What others declare stays theirs.
    let ours = union(&present.owned.drain, &minus(&asked, &drained));
    present.change(wanted, &ours, effect, &args.how)
}

/// Takes a drain back.
///
/// # Errors
/// What the cluster refuses; unknown names; what another field manager declares.
pub(crate) fn run_undrain(args: &UndrainArgs) -> Result<(), Failure> {
    let present = Present::look(&args.how, &args.name)?;
    let drained = present.object.spec.drain.clone().unwrap_or_default();
    let ours = present.owned.drain.clone();
    let asked = match args.forwarder.is_empty() && args.link.is_empty() {
        true => ours.clone(),
        false => present.named(&args.forwarder, &args.link)?,
    };
    let foreign = common(&minus(&asked, &ours), &drained);
    if let Some(name) = foreign.forwarders.iter().chain(&foreign.links).next() {
        let owner = present
            .owned
            .other
            .as_deref()
            .unwrap_or("another field manager");
        return Err(Failure::Failed(format!(
            "{name} is drained by {owner}, not by `beemesh drain`: take it out of spec.drain there"
        )));
    }
    let wanted = minus(&drained, &asked);
    let effect = Effect::new(&present.topology, &drained, &wanted);
    present.change(wanted, &minus(&ours, &asked), effect, &args.how)
}

impl Present {
    fn look(how: &How, name: &str) -> Result<Self, Failure> {
        let cluster = how.connection.open()?;
        let stored = cluster.topology(name)?;
        let object = stored.declaration()?;
        let forwarders = cluster.forwarders(&stored)?;
        let given = Given::new(&stored, &forwarders, None);
        let topology = given.graph(&object, &given.nodes(&object))?;
        Ok(Self {
            owned: Owned::new(&stored, object.spec.drain.as_ref()),
            cluster,
            stored,
            object,
            given,
            topology,
        })
    }

    /// What is meant, each name once and as the operator writes it.
    fn named(&self, forwarders: &[String], links: &[String]) -> Result<Drain, Failure> {
        for name in forwarders {
            input::forwarder(&self.topology, name)?;
        }
        let mut canonical = Vec::new();
        for text in links {
            if !text.contains('/') {
                let message = format!("--link: expected A/B or A/B#2, found {text:?}");
                return Err(Failure::Invalid(vec![message]));
            }
            input::faults(&self.topology, std::slice::from_ref(text))?;
            canonical.push(canonical_link(text));
        }
        Ok(Drain {
            forwarders: sorted(forwarders.to_vec()),
            links: sorted(canonical),
        })
    }

    fn change(self, wanted: Drain, ours: &Drain, effect: Effect, how: &How) -> Result<(), Failure> {
        let is_change = Some(&wanted) != self.object.spec.drain.as_ref()
            && (self.object.spec.drain.is_some() || wanted != Drain::default());
        let mut new = self.object.clone();
        new.spec.drain = Some(wanted.clone()).filter(|drain| *drain != Drain::default());
        let plan = self.plan(&new)?;
        let is_table = how.output.format == Format::Table;
        if is_table {
            crate::output::print(&(plan::table(&plan) + &effect.lines()))?;
        }
        let mut generation = self.stored.generation();
        if is_change {
            generation = self.write(ours, how.dry_run)?.generation();
        }
        let applied = is_change && !how.dry_run;
        if how.wait {
            let wanted = Wanted {
                condition: "Computed",
                generation,
                timeout: how.timeout.timeout,
            };
            self.cluster.wait(self.stored.name(), wanted)?;
        }
        let report = Report {
            namespace: self.stored.namespace().to_owned(),
            name: self.stored.name().to_owned(),
            drain: wanted,
            applied,
            generation,
            effect,
            plan,
        };
        how.output.print(&report, |report| report.line(is_change))
    }

    fn plan(&self, new: &MicroServiceTopology) -> Result<PlanReport, Failure> {
        let max_paths = self.object.spec.routing.max_paths as usize;
        let side = |topology: Topology| plan::Side {
            topology,
            max_paths,
        };
        let new = self.given.graph(new, &self.given.nodes(new))?;
        let old = self.topology.clone();
        Ok(plan::compare(&side(old), &side(new)))
    }

    /// Server-side apply of spec.drain alone, of exactly this object.
    fn write(&self, ours: &Drain, dry_run: bool) -> Result<Stored, Failure> {
        let mut patch = serde_json::json!({
            "apiVersion": crds::API_VERSION,
            "kind": MicroServiceTopology::KIND,
            "metadata": {"name": self.stored.name(), "uid": self.stored.metadata.uid},
        });
        if *ours != Drain::default() {
            patch["spec"] = serde_json::json!({"drain": ours});
        }
        let mut parameters = PatchParams::apply(MANAGER);
        parameters.dry_run = dry_run;
        let api = self.cluster.api(self.stored.namespace());
        self.cluster
            .apply(&api, self.stored.name(), (&parameters, &patch))
    }
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

/// Ends in byte order.
fn canonical_link(text: &str) -> String {
    let (ends, ordinal) = match text.split_once('#') {
        Some((ends, ordinal)) => (ends, format!("#{ordinal}")),
        None => (text, String::new()),
    };
    match ends.split_once('/') {
        Some((a, b)) if a > b => format!("{b}/{a}{ordinal}"),
        _ => text.to_owned(),
    }
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names.dedup();
    names
}

fn union(one: &Drain, other: &Drain) -> Drain {
    each(one, other, |one, other| sorted([one, other].concat()))
}

fn minus(one: &Drain, other: &Drain) -> Drain {
    kept(one, other, false)
}

fn common(one: &Drain, other: &Drain) -> Drain {
    kept(one, other, true)
}

fn kept(one: &Drain, other: &Drain, is_in_other: bool) -> Drain {
    each(one, other, |one, other| {
        let other: BTreeSet<&String> = other.iter().collect();
        let is_kept = |name: &&String| other.contains(*name) == is_in_other;
        one.iter().filter(is_kept).cloned().collect()
    })
}

fn each(one: &Drain, other: &Drain, make: impl Fn(&[String], &[String]) -> Vec<String>) -> Drain {
    Drain {
        forwarders: make(&one.forwarders, &other.forwarders),
        links: make(&one.links, &other.links),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(forwarders: &[&str]) -> Drain {
        Drain {
            forwarders: forwarders.iter().map(ToString::to_string).collect(),
            links: Vec::new(),
        }
    }

    #[test]
    fn sets_of_names_are_joined_and_parted() {
        let (one, other) = (drain(&["c", "a"]), drain(&["b", "a"]));
        assert_eq!(union(&one, &other), drain(&["a", "b", "c"]));
        assert_eq!(minus(&one, &other), drain(&["c"]));
        assert_eq!(common(&one, &other), drain(&["a"]));
    }

    #[test]
    fn links_have_their_ends_in_byte_order() {
        for (text, expected) in [("b/a", "a/b"), ("a/b", "a/b"), ("b/a#2", "a/b#2")] {
            assert_eq!(canonical_link(text), expected, "{text}");
        }
    }
}
