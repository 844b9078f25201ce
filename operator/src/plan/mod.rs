//! Plan of one topology: a pipeline of values, from observed objects to writes. Pure.
//!
//! ```text
//! Observed -> desired -> allocation -> consistency -> diff --> (a) create -> (b) claim -> (c) allocation
//!                 |          |             |                       -> (d) fill -> (e) delete -> (f) publish
//!              rejected    vni      contradiction: nothing
//!                 |
//!                 +-> Computed (graph, tables) -> convergence (reports of nodes) -> Facts -> status::next
//! ```
//! A plan is executed step by step, and may stop after any step: the next plan is computed from
//! the objects at that time. Any number of replicas do so at once, each from its own, older or newer view.
//!
//! # Uniqueness of grants
//! 1. Grants are persisted in the allocation, which is written under its resourceVersion.
//! 2. An allocation is written only after a *live read* of, in this order, the allocation, the
//!    Forwarders, the topology. So a uid that is granted something and is not among the Forwarders is gone
//!    for good, a new uid is granted something only while its topology lives, and nothing is granted while
//!    anything of a former topology of the same name is there. Nor is anything deleted, or moved to another
//!    node, without that look and one at the nodes concerned ([`Plan::doubtful_nodes`]): a replica that has
//!    not yet received the reason of a Forwarder must not undo it.
//! 3. A Forwarder is filled under its uid and resourceVersion out of the persisted allocation. Blocks are
//!    granted to a uid and never change, so a fill out of an old allocation, however late, is right.
//! 4. A VNI is granted to a link, and links come and go while their ends live. So it is retired first, and
//!    free only when both ends carry, in [`REVISION_ANNOTATION`], the revision in which it was retired or a
//!    later one; a Forwarder is never filled from a lower revision than it carries.
//!    Manual edits and backups move revisions too: an allocation is raised above the highest one that a Forwarder
//!    of its topology carries, and takes over grants that Forwarders carry and it lacks; an invalid
//!    value counts as 0.
//! 5. VNIs come out of ranges claimed by name, which are kept until topology, allocation and Forwarders are
//!    gone, as read live in this order.
//! 6. Inputs that no resourceVersion guards, the topology and its pods and nodes, are fenced: see `fence`. A
//!    Forwarder is never filled from an older generation of its topology, nor before a replica's watches have delivered
//!    the pods and nodes that it was filled for.
//! 7. A node's Forwarders are bounded: bare ones announce the node that they are for, and are filled only when
//!    all that are announced there, counted live, are within the bound.
//! 8. An allocation that contradicts this, by a manual edit or a merge, is not executed: no Forwarder is filled
//!    and nothing is granted until it is repaired or deleted. A deleted one is recreated from
//!    the grants that Forwarders carry.

mod allocation;
mod computed;
mod consistency;
mod convergence;
mod desired;
mod diff;
mod facts;
mod fence;
mod limits;
pub mod names;
pub mod network_attachment;
mod observed;
mod vni;

use crds::{AllocationSpec, Forwarder, ForwarderSpec, Problem};

use self::{allocation::Allocated, desired::Desired};
pub use self::{
    computed::{Computed, Memo},
    convergence::{Convergence, DownLink, Waiting},
    desired::Unattached,
    facts::{Facts, Writing},
    fence::{BASIS_ANNOTATION, Basis, Lag, Versions},
    observed::{
        ExistingAllocation, ExistingForwarder, Limits, Observed, Pod, REVISION_ANNOTATION, Unfit,
    },
};

/// Plan for one topology.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Computed topology of the declaration; `None` when it is rejected.
    pub computed: Option<Computed>,
    /// The Forwarders that should be, sorted by name, with all they are granted so far.
    pub forwarders: Vec<Forwarder>,
    /// Problems of a rejected declaration; empty for an accepted one.
    pub problems: Vec<Problem>,
    /// Forwarders to create bare, by their names in the topology; step (a).
    pub create: Vec<String>,
    /// First VNIs to try to claim, in this order, until `claim_count` are claimed; step (b).
    ///
    /// One that exists counts as claimed when it has this topology's uid.
    pub claim: Vec<u32>,
    /// Number of missing ranges.
    pub claim_count: usize,
    /// The allocation to write before anything is filled, when it differs; step (c).
    ///
    /// To be written only when this plan was made from a fresh look (see the module).
    pub allocation: Option<AllocationSpec>,
    /// Forwarders whose spec differs and whose grants are persisted; step (d).
    pub fill: Vec<Fill>,
    /// Nodes to read live in a fresh look: those that Forwarders are to be moved away from.
    pub doubtful_nodes: Vec<String>,
    /// Nodes whose Forwarders are to be counted live in a fresh look: new ones are to be placed there, and
    /// the administrator's bound is not far.
    pub crowded_nodes: Vec<String>,
    /// Lag behind the written objects, during which this plan writes nothing.
    pub lag: Option<Lag>,
    /// Forwarder objects that should not be, with preconditions; step (e).
    ///
    /// To be deleted only when this plan was made from a fresh look.
    pub delete: Vec<Delete>,
    /// The allocation of a former topology, which is in the way.
    pub delete_allocation: Option<Delete>,
    /// Shards of allocations that no allocation names any more.
    pub delete_shards: Vec<Delete>,
    /// `status.computed` with another digest; step (f).
    pub publish: Vec<Publish>,
    /// Facts for the status: see [`crate::status::next`].
    pub facts: Facts,
    /// Pods that would be instances but cannot be attached, and why.
    pub unattached: Vec<Unattached>,
}

/// One Forwarder object to be server-side applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fill {
    /// `metadata.name`.
    pub object: String,
    /// Precondition.
    pub uid: String,
    /// Precondition.
    pub resource_version: String,
    /// Value of [`REVISION_ANNOTATION`].
    pub revision: u64,
    /// Value of [`BASIS_ANNOTATION`].
    pub basis: Basis,
    /// The desired spec.
    pub spec: ForwarderSpec,
}

/// One object to be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    /// `metadata.name`.
    pub object: String,
    /// Precondition.
    pub uid: String,
}

/// The computed table of one Forwarder, to be published in its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// `metadata.name`.
    pub object: String,
    /// Precondition.
    pub uid: String,
    /// Computed table.
    pub computed: crds::forwarder::Computed,
}

impl Plan {
    /// True when nothing is to be written, except perhaps a status.
    pub fn is_settled(&self) -> bool {
        self.create.is_empty()
            && self.claim_count == 0
            && self.allocation.is_none()
            && self.fill.is_empty()
            && self.delete.is_empty()
            && self.delete_allocation.is_none()
            && self.delete_shards.is_empty()
            && self.lag.is_none()
    }

    /// True when a live read is needed before the plan goes on after step (b): a grant, a deletion
    /// or a move is pending.
    pub fn needs_fresh_look(&self) -> bool {
        !self.create.is_empty()
            || self.claim_count > 0
            || self.allocation.is_some()
            || !self.delete.is_empty()
            || self.delete_allocation.is_some()
            || !self.doubtful_nodes.is_empty()
            || !self.crowded_nodes.is_empty()
            || self.lag == Some(Lag::Generation)
    }
}

/// Decides what to write for one topology.
pub fn plan(observed: &Observed) -> Plan {
    plan_with(observed, &mut Memo::default())
}

/// The same plan as [`plan`], sparing what `memo` of the same topology remembers.
pub fn plan_with(observed: &Observed, memo: &mut Memo) -> Plan {
    if observed.is_going {
        return Plan {
            facts: Facts::of(observed, Vec::new()),
            ..Plan::default()
        };
    }
    match desired::desired(observed) {
        Ok(desired) => accepted(observed, desired, memo),
        Err(rejection) => rejected(observed, rejection, memo),
    }
}

/// Plan for a rejected declaration: existing objects stay, so that a typing error does not tear
/// down a network.
fn rejected(observed: &Observed, rejection: desired::Rejection, memo: &mut Memo) -> Plan {
    let existing: Vec<Forwarder> = observed
        .usable()
        .into_values()
        .map(|f| {
            Forwarder::new(
                &observed.topology.metadata.namespace,
                f.spec.as_ref().clone(),
            )
        })
        .collect();
    let mut facts = Facts::of(observed, rejection.problems.clone());
    facts.rejected = rejection.reason.to_owned();
    if let Ok(computed) = Computed::new(&existing, memo) {
        facts.convergence = Some(convergence::convergence(
            observed, &existing, &computed, 0, memo,
        ));
    }
    // Announcements are no network: others may have the room.
    let is_full = is_for_want_of_room(&facts);
    let delete = is_full.then(|| diff::withdrawn(observed));
    Plan {
        problems: rejection.problems,
        facts,
        delete: delete.unwrap_or_default(),
        ..Plan::default()
    }
}

/// True when the declaration may be accepted once other topologies have less.
pub fn is_for_want_of_room(facts: &Facts) -> bool {
    [limits::REASON, limits::NO_MEMORY].contains(&facts.rejected.as_str())
}

fn accepted(observed: &Observed, desired: Desired, memo: &mut Memo) -> Plan {
    let Desired {
        mut forwarders,
        pods,
        unattached,
        left_out,
    } = desired;
    let Allocated { next, missing, why } = allocation::next(observed, &forwarders);
    allocation::grant(observed, &mut forwarders, &next);
    let computed = match Computed::new(&forwarders, memo) {
        Ok(computed) => computed,
        Err(problem) => {
            let problems = vec![problem];
            let reason = desired::INVALID;
            return rejected(observed, desired::Rejection { reason, problems }, memo);
        }
    };
    let closed = consistency::closed(observed, &forwarders);
    let mut facts = Facts::of(observed, Vec::new());
    facts.ignored.clone_from(&observed.ignored);
    facts.left_out = left_out;
    facts.writing = Writing {
        missing: diff::unwritten(observed, &forwarders),
        surplus: diff::surplus(observed, &forwarders),
        blocked: closed.clone().or(why),
    };
    facts.epoch = computed.epoch.to_string();
    facts.digest = computed.digest.to_string();
    let reports = convergence::convergence(observed, &forwarders, &computed, pods, memo);
    facts.convergence = Some(reports);
    let mut plan = Plan {
        facts,
        forwarders,
        unattached,
        ..Plan::default()
    };
    match observed.lag() {
        Some(lag) => plan.lag = Some(lag),
        None => write(
            observed,
            &computed,
            next,
            missing,
            closed.is_some(),
            &mut plan,
        ),
    }
    plan.computed = Some(computed);
    plan
}

/// Writes that bring the existing objects to the desired ones.
fn write(
    observed: &Observed,
    computed: &Computed,
    next: AllocationSpec,
    missing: usize,
    is_closed: bool,
    plan: &mut Plan,
) {
    let forwarders = &plan.forwarders;
    plan.create = diff::creates(observed, forwarders);
    (plan.claim, plan.claim_count) = vni::claims(observed, &next, missing);
    plan.fill = diff::fills(observed, forwarders, &next);
    plan.delete = diff::deletes(observed, forwarders);
    plan.delete_allocation = diff::former_allocation(observed);
    plan.doubtful_nodes = diff::doubtful_nodes(observed, forwarders);
    plan.crowded_nodes = limits::crowded(observed, forwarders);
    // Tables of a contradictory network are not published.
    if consistency::contradiction(observed).is_none() {
        plan.publish = diff::publishes(observed, forwarders, computed);
    }
    let allocation = observed.allocation.iter();
    let own = allocation.filter(|_| observed.persisted().is_some());
    plan.delete_shards = own.flat_map(|own| own.garbage.clone()).collect();
    let is_due = observed.persisted() != Some(&next) && !is_closed;
    plan.allocation = is_due.then_some(next);
}
