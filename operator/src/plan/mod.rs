//! From what is observed of one topology to what is written for it. Pure.
//!
//! ```text
//! World --+-- lint, expand -----------> rejected: touch nothing
//!         +-- wanted minus existing --> (a) create -> (b) claim -> (c) allocation -> (d) fill -> (e) delete
//!         +-- graph, tables ----------> Computed, (f) publish
//!         +-- what nodes report ------> Facts -> status::next
//! ```
//! A plan is carried out step by step, and each step may be the last one: the next plan is made from
//! what is there then. Any number of replicas do so at once, each from its own, older or newer view.
//!
//! # Why nothing is given twice
//! 1. What is given stands in the allocation, which is written under its resourceVersion.
//! 2. An allocation is written only from a *fresh look*: read live, in this order, the allocation, the
//!    Forwarders, the topology. So a uid that is granted something and is not among the Forwarders is gone
//!    for good, a new uid is granted something only while its topology lives, and nothing is granted while
//!    anything of a former topology of the same name is there. Nor is anything deleted, or moved to another
//!    node, without that look and one at the nodes concerned ([`Plan::doubtful_nodes`]): a replica that has
//!    not heard yet of what a Forwarder was made for must not undo it.
//! 3. A Forwarder is filled under its uid and resourceVersion out of the persisted allocation. Blocks are
//!    granted to a uid and never change, so a fill out of an old allocation, however late, is right.
//! 4. A VNI is granted to a link, and links come and go while their ends live. So it is retired first, and
//!    free only when both ends carry, in [`REVISION_ANNOTATION`], the revision in which it was retired or a
//!    later one; nobody fills a Forwarder from a lower revision than it carries.
//!    Hands and backups move revisions too: an allocation is lifted above the highest one that a Forwarder
//!    of its topology carries, and takes over what they carry and it gives to nobody; what can be no
//!    revision counts as 0.
//! 5. VNIs come out of ranges claimed by name, which are kept until topology, allocation and Forwarders are
//!    gone, looked at live in this order.
//! 6. An allocation that says otherwise, by hand or by a merge, is not carried out: no Forwarder is filled
//!    and nothing is given until someone has mended or deleted it. One that was deleted is made anew from
//!    what Forwarders carry.

mod allocation;
mod computed;
mod fill;
mod live;
pub mod names;
pub mod network_attachment;
mod ranges;
mod sound;
mod wanted;
mod world;

use crds::{AllocationSpec, Forwarder, ForwarderSpec, Problem};

use self::{allocation::Allocated, wanted::Wanted};
pub use self::{
    computed::{Computed, Memo},
    live::{DownLink, Live, Waiting},
    wanted::Unattached,
    world::{ExistingAllocation, ExistingForwarder, Pod, REVISION_ANNOTATION, World},
};
use crate::status::{Facts, Writing};

/// What is to be done about one topology.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What the declaration means now; `None` when it is rejected.
    pub computed: Option<Computed>,
    /// Why it is rejected; empty when it is not.
    pub problems: Vec<Problem>,
    /// Forwarders to create bare, by their names in the topology; step (a).
    pub create: Vec<String>,
    /// First VNIs to try to claim, in this order, until `claim_count` are claimed; step (b).
    ///
    /// One that exists counts as claimed when it has this topology's uid.
    pub claim: Vec<u32>,
    /// How many ranges are missing.
    pub claim_count: usize,
    /// The allocation to write before anything is filled, when it differs; step (c).
    ///
    /// To be written only when this plan was made from a fresh look (see the module).
    pub allocation: Option<AllocationSpec>,
    /// Forwarders whose spec differs and whose grants are persisted; step (d).
    pub fill: Vec<Fill>,
    /// Nodes to read live in a fresh look: those that Forwarders are to be moved away from.
    pub doubtful_nodes: Vec<String>,
    /// Forwarder objects that should not be, with preconditions; step (e).
    ///
    /// To be deleted only when this plan was made from a fresh look.
    pub delete: Vec<Delete>,
    /// The allocation of a former topology, which is in the way.
    pub delete_allocation: Option<Delete>,
    /// `status.computed` that differs; step (f).
    pub publish: Vec<Publish>,
    /// What there is to tell: see [`crate::status::next`].
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
    /// What goes into [`REVISION_ANNOTATION`].
    pub revision: u64,
    /// What is wanted.
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
    /// What is computed.
    pub computed: crds::forwarder::Computed,
}

impl Plan {
    /// Whether nothing is to be written but, perhaps, a status.
    pub fn is_settled(&self) -> bool {
        self.create.is_empty()
            && self.claim_count == 0
            && self.allocation.is_none()
            && self.fill.is_empty()
            && self.delete.is_empty()
            && self.delete_allocation.is_none()
    }

    /// Whether to look again, live, before going on after step (b): something is to be granted, deleted
    /// or moved.
    pub fn needs_fresh_look(&self) -> bool {
        !self.create.is_empty()
            || self.claim_count > 0
            || self.allocation.is_some()
            || !self.delete.is_empty()
            || self.delete_allocation.is_some()
            || !self.doubtful_nodes.is_empty()
    }
}

/// Decides what to write for one topology.
pub fn plan(world: &World) -> Plan {
    plan_with(world, &mut Memo::default())
}

/// The same plan as [`plan`], sparing what `memo` of the same topology remembers.
pub fn plan_with(world: &World, memo: &mut Memo) -> Plan {
    if world.is_going {
        return Plan {
            facts: Facts::of(world, Vec::new()),
            ..Plan::default()
        };
    }
    match wanted::wanted(world) {
        Ok(wanted) => accepted(world, wanted, memo),
        Err(rejection) => rejected(world, rejection, memo),
    }
}

/// What exists stays as it is: a slip of the pen must not tear down a network.
fn rejected(world: &World, rejection: wanted::Rejection, memo: &mut Memo) -> Plan {
    let existing: Vec<Forwarder> = world
        .usable()
        .into_values()
        .map(|f| Forwarder::new(&world.topology.metadata.namespace, f.spec.clone()))
        .collect();
    let mut facts = Facts::of(world, rejection.problems.clone());
    facts.rejected = rejection.reason.to_owned();
    if let Ok(computed) = Computed::new(existing, memo) {
        facts.live = Some(live::live(world, &computed, 0, memo));
    }
    Plan {
        problems: rejection.problems,
        facts,
        ..Plan::default()
    }
}

fn accepted(world: &World, wanted: Wanted, memo: &mut Memo) -> Plan {
    let Allocated { next, missing, why } = allocation::next(world, &wanted.forwarders);
    let forwarders = allocation::granted(world, &wanted.forwarders, &next);
    let computed = match Computed::new(forwarders, memo) {
        Ok(computed) => computed,
        Err(problem) => {
            let problems = vec![problem];
            let reason = wanted::INVALID;
            return rejected(world, wanted::Rejection { reason, problems }, memo);
        }
    };
    let fill = fill::fills(world, &computed.forwarders, &next);
    let create = fill::creates(world, &computed.forwarders);
    let delete = fill::deletes(world, &computed.forwarders);
    // Tables of a network that is not to be are nobody's.
    let publish = match sound::contradiction(world) {
        None => fill::publishes(world, &computed),
        Some(_) => Vec::new(),
    };
    let (claim, claim_count) = ranges::claims(world, &next, missing);
    let closed = world.closed(&computed.forwarders);
    let is_due = world.persisted() != Some(&next) && closed.is_none();
    let mut facts = Facts::of(world, Vec::new());
    facts.ignored.clone_from(&world.ignored);
    facts.left_out = wanted.left_out;
    facts.writing = Writing {
        missing: fill::unwritten(world, &computed.forwarders),
        surplus: fill::surplus(world, &computed.forwarders),
        blocked: closed.or(why),
    };
    facts.epoch = computed.epoch.to_string();
    facts.digest = computed.digest.to_string();
    facts.live = Some(live::live(world, &computed, wanted.pods, memo));
    Plan {
        problems: Vec::new(),
        create,
        claim,
        claim_count,
        allocation: is_due.then_some(next),
        fill,
        delete_allocation: fill::former_allocation(world),
        doubtful_nodes: fill::doubtful_nodes(world, &computed.forwarders),
        delete,
        publish,
        facts,
        unattached: wanted.unattached,
        computed: Some(computed),
    }
}
