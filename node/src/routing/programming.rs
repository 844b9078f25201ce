//! Programming of forwarding tables as kernel routes, by diff.

use std::time::Instant;

use dataplane::{Fib, diff};
use linkstate::Usage;
use rayon::prelude::*;
use topology::{Spf, Table};

use super::Engine;
use super::forwarder::{End, Local};
use super::pace::retry::Work;
use super::structure::permitted;
use crate::routing::desired::routes;
use crate::routing::live_topology::Mesh;
use ::telemetry::chain;

/// Number of Forwarders that one processor programs before link failures are checked again.
const SLICE: usize = 8;

/// Outcome of programming one Forwarder.
enum Outcome {
    /// A link that this table uses has failed: it is programmed again with a newer table.
    Overtaken,
    /// The routes are programmed already, by the recorded fingerprint.
    Same { epoch: String, digest: String },
    /// The routes were compared with the kernel and programmed.
    Done {
        epoch: String,
        digest: String,
        fingerprint: u64,
        writes: u64,
    },
    /// Programming failed.
    Failed {
        problem: String,
        writes: u64,
        failures: u64,
    },
}

impl Engine {
    /// Programs all marked Forwarders. False when a more urgent event interrupted it.
    pub(super) fn program(&mut self) -> bool {
        loop {
            let due = self.next_slice();
            if due.is_empty() {
                return true;
            }
            let may_delete = self.may_delete;
            let (fib, through) = (&*self.parts.fib, self.through);
            let job = |object: &String| {
                let local = &self.locals[object];
                let outcome = match self.meshes.get(&local.network) {
                    Some(mesh) => program(fib, local, mesh, through, may_delete),
                    None => Outcome::Failed {
                        problem: "the topology is not valid".to_owned(),
                        writes: 0,
                        failures: 1,
                    },
                };
                (object.clone(), outcome)
            };
            let outcomes: Vec<_> = due.par_iter().map(job).collect();
            self.parts.heartbeat.beat(Instant::now());
            let is_overtaken = outcomes
                .iter()
                .any(|(_, outcome)| matches!(outcome, Outcome::Overtaken));
            for (object, outcome) in outcomes {
                self.take(&object, outcome);
            }
            if is_overtaken {
                // The event is in the mailbox, or will be in a moment.
                return false;
            }
            if self.parts.mailbox.is_urgent() {
                return false;
            }
        }
    }

    /// Next Forwarders to program; those whose own links changed come first.
    fn next_slice(&self) -> Vec<String> {
        let count = SLICE * rayon::current_num_threads();
        let locals = self.locals.values();
        let mut due: Vec<_> = locals.filter(|local| local.is_program_due()).collect();
        due.sort_by_key(|local| !local.are_routes_due);
        due.iter()
            .take(count)
            .map(|local| local.object().to_owned())
            .collect()
    }

    fn take(&mut self, object: &str, outcome: Outcome) {
        if matches!(outcome, Outcome::Overtaken) {
            return;
        }
        let Some(local) = self.locals.get_mut(object) else {
            return;
        };
        local.is_table_due = false;
        local.are_routes_due = false;
        match outcome {
            Outcome::Overtaken => {}
            Outcome::Same { epoch, digest } => {
                local.is_status_due |= local.epoch != epoch || local.digest != digest;
                (local.epoch, local.digest) = (epoch, digest);
                self.use_links(object);
            }
            Outcome::Done {
                epoch,
                digest,
                fingerprint,
                writes,
            } => {
                local.is_status_due |= local.epoch != epoch || local.digest != digest;
                (local.epoch, local.digest) = (epoch, digest);
                local.programmed = Some(fingerprint);
                self.round.writes += writes;
                self.round.compared += 1;
                local.succeeded(Work::Routes);
                self.use_links(object);
            }
            Outcome::Failed {
                problem,
                writes,
                failures,
            } => {
                local.programmed = None;
                self.round.writes += writes;
                self.round.compared += 1;
                self.round.failures += failures;
                local.failed(Work::Routes, problem);
            }
        }
    }
}

impl Engine {
    /// Reports the links that the programmed table uses as in use: from then on others may route
    /// over them.
    fn use_links(&mut self, object: &str) {
        let Some(local) = self.locals.get_mut(object) else {
            return;
        };
        let Some(mesh) = self.meshes.get(&local.network) else {
            return;
        };
        let ends = local.ends.iter();
        let up = ends.filter(|(_, end)| **end == End::Up).map(|(id, _)| id);
        let is_usable = |id: &&String| {
            let link = mesh.topology.link(id);
            link.is_some_and(|link| mesh.link(link).usage() >= Usage::Ends)
        };
        let made: Vec<String> = up.filter(is_usable).cloned().collect();
        for id in made {
            local.are_ends_due |= local.in_use.insert(id);
        }
    }
}

fn program(fib: &dyn Fib, local: &Local, mesh: &Mesh, through: u64, may_delete: bool) -> Outcome {
    let failed = |problem: String| Outcome::Failed {
        problem,
        writes: 0,
        failures: 1,
    };
    let Some(root) = mesh.index(local.object()) else {
        return failed("it is not in its topology".to_owned());
    };
    let max_paths = local.forwarder.spec.routing.max_paths as usize;
    let table = match &local.spf {
        Some(spf) => Table::new(&mesh.topology, &mesh.graph, spf, max_paths),
        None => {
            let spf = Spf::compute(&mesh.graph, root);
            Table::new(&mesh.topology, &mesh.graph, &spf, max_paths)
        }
    };
    let (epoch, digest) = (table.epoch.to_string(), table.digest().to_string());
    let routes = routes(mesh, &table, &local.structure.interfaces, &local.external);
    drop(table);
    let fingerprint = routes.fingerprint();
    if !local.are_routes_due && local.programmed == Some(fingerprint) {
        return Outcome::Same { epoch, digest };
    }
    let Some(_held) = local.guard.enter(through) else {
        return Outcome::Overtaken;
    };
    let observed = fib.observe_routing(&local.netns);
    let observed = match observed {
        Ok(Some(observed)) => observed,
        Ok(None) => return failed("its namespace is gone".to_owned()),
        Err(error) => return failed(chain(&error)),
    };
    let diff = diff::routing(&local.netns, &local.structure.namespace, &routes, &observed);
    drop((observed, routes));
    let operations = permitted(diff.operations, may_delete);
    let mut failures = diff.conflicts;
    let mut writes = 0;
    if !operations.is_empty() {
        let applied = fib.program(&local.netns, operations);
        writes = applied.writes;
        failures.extend(applied.failures);
    }
    match failures.first() {
        None => Outcome::Done {
            epoch,
            digest,
            fingerprint,
            writes,
        },
        Some(first) => {
            let count = failures.len();
            let problem = format!(
                "{}: {} ({count} in all)",
                first.operation,
                chain(&first.source)
            );
            Outcome::Failed {
                problem,
                writes,
                failures: count as u64,
            }
        }
    }
}
