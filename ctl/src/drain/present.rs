//! One change of a topology's drain: read, decide, write under the precondition that nothing changed, else again.

use super::{
    How, Report,
    effect::Effect,
    owned::{MANAGER, Owned},
    sets::sorted,
};
use crate::cluster::{Cluster, expected::Given, stored::Stored, wait::Wanted};
use crate::plan;
use console::failure::Failure;
use console::input;
use console::output::Format;
use crds::{MicroServiceTopology, report::PlanReport, topology::Drain};
use kube::api::PatchParams;
use std::time::Duration;
use topology::{LinkSelector, Topology};

/// Attempts to change a topology that others change at the same time.
const ATTEMPTS: u32 = 20;
/// Step by which the pause between two attempts grows.
const PAUSE: Duration = Duration::from_millis(40);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

/// The topology as it is, and the part of its drain that this verb owns.
pub(super) struct Present<'a> {
    cluster: &'a Cluster,
    stored: Stored,
    object: MicroServiceTopology,
    given: Given,
    pub(super) topology: Topology,
    pub(super) owned: Owned,
}

/// Decision of a verb.
pub(super) struct Change {
    /// The whole drain afterwards.
    pub(super) wanted: Drain,
    /// The part that this verb declares.
    pub(super) ours: Drain,
    pub(super) effect: Effect,
}

/// The outcome of a write.
struct Written {
    /// False where the topology was as wanted already.
    is_change: bool,
    generation: i64,
}

/// Decides on the topology as it is and applies that; again where it changed in between.
pub(super) fn on_present(
    how: &How,
    name: &str,
    decide: impl Fn(&Present<'_>) -> Result<Change, Failure>,
) -> Result<(), Failure> {
    let cluster = how.connection.open()?;
    for attempt in 0..ATTEMPTS {
        // Created inside the runtime, as it uses its clock.
        cluster.block_on(async { tokio::time::sleep(pause(attempt)).await });
        let present = Present::look(&cluster, name)?;
        let change = decide(&present)?;
        if let Some(written) = present.write(&change, how)? {
            return present.report(change, &written, how);
        }
    }
    Err(Failure::Failed(format!(
        "topology {}/{name} was changed by others {ATTEMPTS} times in a row: try again",
        cluster.namespace
    )))
}

/// Pause before an attempt: none before the first, then growing, and different in each process.
fn pause(attempt: u32) -> Duration {
    let spread = Duration::from_millis(u64::from(std::process::id() % 50));
    match attempt {
        0 => Duration::ZERO,
        _ => (PAUSE * attempt).min(LONGEST_PAUSE) + spread,
    }
}

impl<'a> Present<'a> {
    fn look(cluster: &'a Cluster, name: &str) -> Result<Self, Failure> {
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

    /// Forwarders and links by name, each once and as the operator writes it.
    pub(super) fn named(&self, forwarders: &[String], links: &[String]) -> Result<Drain, Failure> {
        for name in forwarders {
            input::forwarder(&self.topology, name)?;
        }
        let mut canonical = Vec::new();
        for text in links {
            let selector = LinkSelector::parse(text).map_err(|error| {
                Failure::Invalid(vec![format!("--link: {error}, found {text:?}")])
            })?;
            input::faults(&self.topology, std::slice::from_ref(text))?;
            canonical.push(selector.to_string());
        }
        Ok(Drain {
            forwarders: sorted(forwarders.to_vec()),
            links: sorted(canonical),
        })
    }

    /// The drain as it is.
    pub(super) fn drained(&self) -> Drain {
        self.object.spec.drain.clone().unwrap_or_default()
    }

    fn report(self, change: Change, written: &Written, how: &How) -> Result<(), Failure> {
        let mut new = self.object.clone();
        new.spec.drain = Some(change.wanted.clone()).filter(|drain| *drain != Drain::default());
        let plan = self.plan(&new)?;
        if how.output.format == Format::Table {
            console::output::print(&(plan::table(&plan) + &change.effect.lines()))?;
        }
        if how.wait {
            let wanted = Wanted {
                condition: "Computed",
                generation: written.generation,
                timeout: how.timeout.timeout,
            };
            self.cluster.wait(self.stored.name(), wanted)?;
        }
        let report = Report {
            namespace: self.stored.namespace().to_owned(),
            name: self.stored.name().to_owned(),
            drain: change.wanted,
            applied: written.is_change && !how.dry_run,
            generation: written.generation,
            effect: change.effect,
            plan,
        };
        let is_change = written.is_change;
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

    /// Server-side apply of spec.drain alone, of the object exactly as it was read. `None` where it is another one by
    /// now: the API server compares uid and resourceVersion, so that exactly the read version is changed.
    fn write(&self, change: &Change, how: &How) -> Result<Option<Written>, Failure> {
        let present = self.object.spec.drain.as_ref();
        let is_change = Some(&change.wanted) != present
            && (present.is_some() || change.wanted != Drain::default());
        if !is_change {
            return Ok(Some(Written {
                is_change,
                generation: self.stored.generation(),
            }));
        }
        let metadata = &self.stored.metadata;
        let mut patch = serde_json::json!({
            "apiVersion": crds::API_VERSION,
            "kind": MicroServiceTopology::KIND,
            "metadata": {
                "name": self.stored.name(),
                "uid": metadata.uid,
                "resourceVersion": metadata.resource_version,
            },
        });
        if change.ours != Drain::default() {
            patch["spec"] = serde_json::json!({"drain": change.ours});
        }
        let mut parameters = PatchParams::apply(MANAGER);
        parameters.dry_run = how.dry_run;
        let api = self.cluster.api(self.stored.namespace());
        let exact = (&parameters, &patch);
        let stored: Option<Stored> = self.cluster.apply_exact(&api, self.stored.name(), exact)?;
        Ok(stored.map(|stored| Written {
            is_change,
            generation: stored.generation(),
        }))
    }
}
