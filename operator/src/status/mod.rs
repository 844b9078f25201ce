//! What is told of a topology: its status, and events when that changes. Pure; time is given.

mod conditions;
mod events;
mod messages;
#[cfg(test)]
mod tests;

use crds::{
    Problem, TopologyStatus,
    status::{ForwarderCount, LinkCount},
};

pub use self::events::{Event, events};
use crate::plan::{Live, World};

/// All that a status is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The `metadata.generation` that they are about.
    pub generation: i64,
    /// Why the declaration is rejected; empty when it is not.
    pub problems: Vec<Problem>,
    /// One CamelCase word for `problems`.
    pub rejected: String,
    /// Fields of the declaration that this version does not have.
    pub ignored: Vec<String>,
    /// Nodes that match `forwarderPerNode` and cannot have a Forwarder.
    pub left_out: Vec<String>,
    /// What is still to be written.
    pub writing: Writing,
    /// Epoch of the graph with all links up; empty when it is rejected.
    pub epoch: String,
    /// Digest of all tables; empty when it is rejected.
    pub digest: String,
    /// What nodes report; `None` when nothing can be compared.
    pub live: Option<Live>,
}

/// What is still to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writing {
    /// Names of Forwarders whose objects are not as they should be.
    pub missing: Vec<String>,
    /// How many objects should not be there.
    pub surplus: usize,
    /// What stands in the way.
    pub blocked: Option<String>,
}

/// The present, as far as a status needs it.
#[derive(Clone, Copy, Debug)]
pub struct Now<'a> {
    /// RFC 3339.
    pub time: &'a str,
    /// How long ago this replica first saw this generation, where it knows.
    pub waited: Option<std::time::Duration>,
}

impl Facts {
    /// Of a declaration with these problems, before anything is computed.
    pub fn of(world: &World, problems: Vec<Problem>) -> Facts {
        Facts {
            generation: world.generation,
            problems,
            ..Facts::default()
        }
    }

    /// Of an object that is no topology at all.
    pub fn unreadable(generation: i64, problems: Vec<Problem>) -> Facts {
        Facts {
            generation,
            problems,
            rejected: "Invalid".to_owned(),
            ..Facts::default()
        }
    }
}

impl Writing {
    /// Whether every object is as it should be.
    pub fn is_done(&self) -> bool {
        self.missing.is_empty() && self.surplus == 0 && self.blocked.is_none()
    }
}

/// The status to write, from the one before.
///
/// # Guarantees
/// Equal facts leave a status that was made from them as it is, whatever the time.
pub fn next(facts: &Facts, before: &TopologyStatus, now: Now<'_>) -> TopologyStatus {
    let mut status = before.clone();
    status.observed_generation = Some(facts.generation);
    if let Some(live) = &facts.live {
        status.forwarders = ForwarderCount {
            programmed: live.programmed,
            total: live.total,
        };
        status.links = LinkCount {
            up: live.links_up,
            total: live.links,
        };
        status.links_up = format!("{}/{}", live.links_up, live.links);
    }
    if facts.problems.is_empty() {
        status.epoch.clone_from(&facts.epoch);
        status.digest.clone_from(&facts.digest);
        status.pods = facts.live.as_ref().map_or(0, |live| live.pods);
    }
    status.conditions = conditions::conditions(facts, &before.conditions, now.time);
    if let Some(waited) = now.waited.filter(|_| is_newly_computed(before, &status)) {
        status.convergence = format!("{}ms", waited.as_millis());
    }
    status
}

/// Whether two different statuses say the same but for the words.
pub fn is_reworded(before: &TopologyStatus, after: &TopologyStatus) -> bool {
    let mut as_before = after.clone();
    for (now, then) in as_before.conditions.iter_mut().zip(&before.conditions) {
        now.message.clone_from(&then.message);
    }
    as_before == *before
}

/// Whether all is written for a generation for which it was not before.
fn is_newly_computed(before: &TopologyStatus, after: &TopologyStatus) -> bool {
    let computed = |status: &TopologyStatus| {
        let mut conditions = status.conditions.iter();
        let is_true = conditions.any(|c| c.r#type == "Computed" && c.status == "True");
        is_true.then_some(status.observed_generation)
    };
    computed(after).is_some() && computed(after) != computed(before)
}
