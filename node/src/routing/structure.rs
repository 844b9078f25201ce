//! Structure of Forwarders: namespaces, links and addresses by diff, and observation of link ends.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use cni::node_protocol::Key;
use dataplane::{Error, Failure, Operation, Structure, diff};
use rayon::prelude::*;

mod labs;
mod removal;

use super::Engine;
use super::forwarder::{End, Local, ends, held, lost};
use super::pace::retry::Work;
use crate::error::enumerate;
use ::telemetry::chain;

/// Largest number of observations of a namespace until nothing is left to be created.
const LOOKS: usize = 3;

/// Result of one observation of a namespace.
struct Look {
    object: String,
    operations: Vec<Operation>,
    conflicts: Vec<Failure>,
    is_there: bool,
    ends: BTreeMap<String, End>,
    held: BTreeSet<IpAddr>,
    lost: BTreeSet<Key>,
}

impl Look {
    /// Result where there is no namespace.
    fn nothing(local: &Local) -> Look {
        Look {
            object: local.object().to_owned(),
            operations: Vec::new(),
            conflicts: Vec::new(),
            is_there: false,
            ends: BTreeMap::new(),
            held: BTreeSet::new(),
            lost: BTreeSet::new(),
        }
    }
}

impl Engine {
    /// Observes and repairs marked namespaces, links and addresses. False when none was marked.
    pub(super) fn make_structures(&mut self) -> bool {
        let is_due = |local: &&Local| local.is_structure_due;
        let due: BTreeSet<String> = self
            .locals
            .values()
            .filter(is_due)
            .map(|local| local.object().to_owned())
            .collect();
        if due.is_empty() {
            return false;
        }
        self.own(&due);
        // A replaced veth takes its other end with it, which the next observation finds missing.
        // Two rounds suffice; the rest waits for its retry.
        let mut again = due;
        for _ in 0..LOOKS {
            again = self.make_once(&again);
            if again.is_empty() {
                break;
            }
        }
        for object in again {
            let local = self.locals.get_mut(&object);
            // A failed Forwarder has its reason already.
            if let Some(local) = local.filter(|local| !local.retries.rests(Work::Structure)) {
                let problem = "another program changes it at the same time".to_owned();
                local.failed(Work::Structure, problem);
            }
        }
        self.report_lost_pods();
        true
    }

    /// Registers the namespaces as this node's before they are created. An unregistered one is not
    /// created.
    pub(super) fn own(&mut self, objects: &BTreeSet<String>) {
        self.leave_to_labs(objects);
        let locals = objects.iter().filter_map(|object| self.locals.get(object));
        let wanted: BTreeMap<String, String> = locals
            .filter(|local| !local.retries.rests(Work::Structure))
            .map(|local| (local.netns.clone(), local.object().to_owned()))
            .collect();
        let Err(error) = self.parts.owned.add(&wanted) else {
            return;
        };
        for (netns, object) in &wanted {
            if !self.parts.owned.contains(netns)
                && let Some(local) = self.locals.get_mut(object)
            {
                local.failed(Work::Structure, chain(&error));
            }
        }
    }

    /// One round of observe, diff and apply. Returns the Forwarders to observe again, including
    /// those with failures, whose partial result is observed.
    fn make_once(&mut self, objects: &BTreeSet<String>) -> BTreeSet<String> {
        self.watch(objects);
        let looks = self.look(objects);
        let mut operations = Vec::new();
        let (mut attempted, mut again) = (BTreeSet::new(), BTreeSet::new());
        let mut conflicts = Vec::new();
        for look in looks {
            let Some(local) = self.locals.get_mut(&look.object) else {
                continue;
            };
            let is_attempt =
                self.parts.owned.contains(&local.netns) && local.may_make(&look.operations);
            let look_again = is_attempt && !look.operations.is_empty();
            if look_again && local.was_whole {
                let repairs: Vec<String> =
                    look.operations.iter().map(ToString::to_string).collect();
                let repairs = enumerate(&repairs.iter().map(String::as_str).collect::<Vec<_>>());
                tracing::warn!(
                    forwarder = local.object(),
                    repairs,
                    "kernel state drifted, repairing"
                );
                local.was_whole = false;
            }
            if is_attempt {
                attempted.insert(look.object.clone());
                conflicts.extend(look.conflicts);
                local.tried.clone_from(&look.operations);
            }
            if look_again {
                operations.push((local.netns.clone(), look.operations));
                again.insert(look.object.clone());
            }
            local.is_structure_due = false;
            if local.is_made != look.is_there {
                local.is_made = look.is_there;
                self.is_catalog_due = true;
            }
            if !look.is_there && std::mem::take(&mut local.is_watched) {
                // A new namespace of this name will take its place.
                self.parts
                    .monitor
                    .iter()
                    .for_each(|monitor| monitor.forget(&local.netns));
            }
            local.held = look.held;
            local.set_lost(look.lost);
            if !look_again || look.is_there {
                local.set_ends(look.ends);
            }
        }
        if operations.is_empty() {
            self.settle(&attempted, &again, conflicts);
            return again;
        }
        let applied = self.parts.structure.make(operations);
        self.round.writes += applied.writes;
        for note in &applied.notes {
            tracing::info!(note, "kernel operation");
        }
        let failures = applied.failures;
        conflicts.extend(failures);
        self.settle(&attempted, &again, conflicts);
        again
    }

    /// Watches existing namespaces; done before the observation, so that no event is lost in
    /// between.
    fn watch(&mut self, objects: &BTreeSet<String>) {
        let Some(monitor) = &self.parts.monitor else {
            return;
        };
        for object in objects {
            let Some(local) = self
                .locals
                .get_mut(object)
                .filter(|local| !local.is_watched)
            else {
                continue;
            };
            match monitor.watch(&local.netns) {
                Ok(()) => local.is_watched = true,
                // The namespace is about to be created.
                Err(Error::NoNamespace { .. }) => {}
                Err(error) => {
                    tracing::warn!(netns = local.netns, %error, "namespace not watched, links are observed by the resync timer")
                }
            }
        }
    }

    fn look(&mut self, objects: &BTreeSet<String>) -> Vec<Look> {
        let (structure, may_delete) = (&*self.parts.structure, self.may_delete);
        let locals: Vec<&Local> = objects
            .iter()
            .filter_map(|object| self.locals.get(object))
            .collect();
        let is_of_lab = |local: &Local| self.parts.owned.lab_of(&local.netns).is_some();
        locals
            .par_iter()
            .map(|local| match is_of_lab(local) {
                true => Look::nothing(local),
                false => look_at(structure, local, may_delete),
            })
            .collect()
    }

    /// Assigns failures to their Forwarders. A Forwarder without failures succeeds once an
    /// observation finds nothing left to be created.
    fn settle(
        &mut self,
        attempted: &BTreeSet<String>,
        again: &BTreeSet<String>,
        failures: Vec<Failure>,
    ) {
        self.round.failures += failures.len() as u64;
        let mut problems: BTreeMap<String, String> = BTreeMap::new();
        for failure in failures {
            let problem = format!("{}: {}", failure.operation, chain(&failure.source));
            problems.entry(failure.netns).or_insert(problem);
        }
        let for_all = problems.remove("");
        for object in attempted {
            let Some(local) = self.locals.get_mut(object) else {
                continue;
            };
            match problems.remove(&local.netns).or_else(|| for_all.clone()) {
                Some(problem) => local.failed(Work::Structure, problem),
                None if again.contains(object) => {}
                None => {
                    local.was_whole = true;
                    local.succeeded(Work::Structure);
                }
            }
        }
    }

    /// Reports addresses of pods without a lease, so that they are not leased again after journal
    /// damage, and leases whose pod has no interface.
    fn report_lost_pods(&self) {
        let held = self.locals.values().flat_map(|local| {
            local
                .held
                .iter()
                .map(|address| (local.network.clone(), *address))
        });
        self.parts.service.hold(held.collect());
        let lost = self.locals.values().flat_map(|local| &local.lost);
        self.parts.service.miss(lost.cloned().collect());
    }
}

fn look_at(structure: &dyn Structure, local: &Local, may_delete: bool) -> Look {
    let mut look = Look::nothing(local);
    let observed = structure.observe_structure(&local.netns);
    match observed {
        Ok(observed) => {
            let desired = &local.structure.namespace;
            let diff = diff::structure(&local.netns, desired, observed.as_ref());
            look.operations = permitted(diff.operations, may_delete);
            look.conflicts = diff.conflicts;
            look.is_there = observed.is_some();
            let observed = observed.unwrap_or_default();
            look.ends = ends(&local.structure, &observed);
            look.held = held(&observed);
            look.lost = lost(&local.wires, &observed);
        }
        Err(source) => {
            let operation = "observation".to_owned();
            look.is_there = local.is_made;
            look.ends.clone_from(&local.ends);
            look.held.clone_from(&local.held);
            look.lost.clone_from(&local.lost);
            look.conflicts.push(Failure {
                netns: local.netns.clone(),
                operation,
                source,
            });
        }
    }
    look
}

/// Drops deletions until the first complete desired state.
pub(super) fn permitted(mut operations: Vec<Operation>, may_delete: bool) -> Vec<Operation> {
    let is_deletion = |operation: &Operation| {
        matches!(
            operation,
            Operation::DeleteLink { .. }
                | Operation::DeleteForwarding { .. }
                | Operation::DeleteRoute(_)
                | Operation::DeleteNexthop(_)
                | Operation::DeleteNeighbour { .. }
                | Operation::DeleteAddress(_)
                | Operation::DeleteNamespace
        )
    };
    operations.retain(|operation| may_delete || !is_deletion(operation));
    operations
}
