//! Port to the kernel, and its use: observe, diff, apply.

use std::{collections::BTreeMap, fmt};

use crate::{
    Error, diff,
    observed::Observed,
    operation::{Failure, Operation},
    state::{Balance, Namespace, Routes},
};

/// A note.
const NO_RESILIENT: &str =
    "this kernel has no resilient nexthop groups: hash-threshold groups take their place";
/// Number of attempts of an observation that changes interrupt.
const OBSERVATIONS: usize = 5;

/// Port to the kernel that the planner uses. Adapters: [`crate::LinuxKernel`],
/// [`crate::MemoryKernel`].
///
/// # Guarantees
/// `apply` goes on after a failure; an existing object counts as created, an absent one as deleted;
/// objects without our mark are never changed or deleted.
pub trait Kernel {
    /// Names of the namespaces that begin with `prefix`, in byte order.
    fn namespaces(&mut self, prefix: &str) -> Result<Vec<String>, Error>;

    /// Content of a namespace; `None` when it does not exist.
    ///
    /// # Errors
    /// [`Error::Resync`] when it changed meanwhile: observe again.
    fn observe(&mut self, netns: &str) -> Result<Option<Observed>, Error>;

    /// As [`Kernel::observe`], but only what [`diff::structure`] needs: no next hops, and of routes only those to pods.
    fn observe_structure(&mut self, netns: &str) -> Result<Option<Observed>, Error> {
        self.observe(netns)
    }

    /// As [`Kernel::observe`], but only what [`diff::routing`] needs: interfaces, next hops and routes.
    fn observe_routing(&mut self, netns: &str) -> Result<Option<Observed>, Error> {
        self.observe(netns)
    }

    /// Applies the operations of many namespaces, kind by kind: a veth is made after both its namespaces.
    fn apply(&mut self, operations: Vec<(String, Vec<Operation>)>) -> Applied;

    /// Removes one link from all groups of a namespace, before routes are recomputed: one message
    /// for each group. A group without another member is left unchanged.
    fn evict(&mut self, netns: &str, link: &str) -> Result<Applied, Error>;
}

/// Result of applied operations.
#[derive(Debug, Default)]
pub struct Applied {
    /// Number of written messages and files.
    pub writes: u64,
    /// Failed operations; all others succeeded.
    pub failures: Vec<Failure>,
    /// Fallbacks, as sentences: no resilient groups on this kernel.
    pub notes: Vec<String>,
}

impl Applied {
    /// Adds another result.
    pub fn merge(&mut self, other: Self) {
        self.writes += other.writes;
        self.failures.extend(other.failures);
        self.notes.extend(other.notes);
    }

    /// Records that `operation` in `netns` failed.
    pub(crate) fn fail(&mut self, netns: &str, operation: impl fmt::Display, source: Error) {
        let (netns, operation) = (netns.to_owned(), operation.to_string());
        self.failures.push(Failure {
            netns,
            operation,
            source,
        });
    }

    /// True when no operation failed.
    pub fn is_complete(&self) -> bool {
        self.failures.is_empty()
    }
}

/// Makes namespaces with their links, addresses, neighbours and forwarding entries as desired; routes are left alone.
/// All namespaces go together, so that a veth finds both its ends.
pub fn converge(kernel: &mut impl Kernel, desired: &BTreeMap<String, Namespace>) -> Applied {
    let (mut applied, replaced) = converge_once(kernel, desired);
    if replaced {
        // A deleted veth took its other end with it, and all that depended on it.
        applied.failures.clear();
        applied.merge(converge_once(kernel, desired).0);
    }
    applied
}

/// One round of [`converge`]; true when a link was deleted in it.
fn converge_once(
    kernel: &mut impl Kernel,
    desired: &BTreeMap<String, Namespace>,
) -> (Applied, bool) {
    let mut applied = Applied::default();
    let mut operations = Vec::new();
    for (netns, namespace) in desired {
        match observe_again(kernel, |kernel| kernel.observe_structure(netns)) {
            Ok(observed) => {
                let diff = diff::structure(netns, namespace, observed.as_ref());
                applied.failures.extend(diff.conflicts);
                if !diff.operations.is_empty() {
                    operations.push((netns.clone(), diff.operations));
                }
            }
            Err(source) => applied.fail(netns, "observation", source),
        }
    }
    let is_deletion = |operation: &Operation| matches!(operation, Operation::DeleteLink { .. });
    let replaced = operations
        .iter()
        .any(|(_, operations)| operations.iter().any(is_deletion));
    if !operations.is_empty() {
        applied.merge(kernel.apply(operations));
    }
    (applied, replaced)
}

/// Makes the routes of one namespace as desired, with its next hops and groups. Called for one namespace after another, so
/// that only one namespace's routes are in memory.
///
/// `structure` is what [`converge`] was called with for this namespace.
pub fn converge_routes(
    kernel: &mut impl Kernel,
    netns: &str,
    structure: &Namespace,
    routes: &Routes,
) -> Applied {
    let mut applied = Applied::default();
    let observed = match observe_again(kernel, |kernel| kernel.observe_routing(netns)) {
        Ok(Some(observed)) => observed,
        Ok(None) => {
            let source = Error::NoNamespace {
                netns: netns.to_owned(),
            };
            applied.fail(netns, "routes", source);
            return applied;
        }
        Err(source) => {
            applied.fail(netns, "observation", source);
            return applied;
        }
    };
    if observed.lacks_resilient && structure.balance != Balance::HashThreshold {
        applied.notes.push(NO_RESILIENT.to_owned());
    }
    let diff = diff::routing(netns, structure, routes, &observed);
    applied.failures.extend(diff.conflicts);
    if !diff.operations.is_empty() {
        applied.merge(kernel.apply(vec![(netns.to_owned(), diff.operations)]));
    }
    applied
}

/// Deletes namespaces with all that is in them. Absent is deleted.
pub fn remove(kernel: &mut impl Kernel, netns: impl IntoIterator<Item = String>) -> Applied {
    let operations = netns
        .into_iter()
        .map(|netns| (netns, vec![Operation::DeleteNamespace]));
    kernel.apply(operations.collect())
}

/// Observes; repeated when the state changed meanwhile.
pub fn observe_again<K: Kernel>(
    kernel: &mut K,
    observe: impl Fn(&mut K) -> Result<Option<Observed>, Error>,
) -> Result<Option<Observed>, Error> {
    again(|| observe(kernel))
}

/// As [`observe_again`], with a closure that holds the kernel.
pub(crate) fn again(
    mut observe: impl FnMut() -> Result<Option<Observed>, Error>,
) -> Result<Option<Observed>, Error> {
    for _ in 1..OBSERVATIONS {
        match observe() {
            Err(Error::Resync { .. }) => {}
            result => return result,
        }
    }
    observe()
}
