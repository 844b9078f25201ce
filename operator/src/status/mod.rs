//! Status of a topology, and events on its changes. Pure; time is a parameter.

mod conditions;
mod events;
mod messages;
#[cfg(test)]
mod tests;

use crds::{
    TopologyStatus,
    status::{ForwarderCount, LinkCount},
};

pub use self::events::{Event, events};
use crate::plan::Facts;

/// The present, as far as a status needs it.
#[derive(Clone, Copy, Debug)]
pub struct Now<'a> {
    /// RFC 3339.
    pub time: &'a str,
    /// Time since this replica first observed this generation, where it is known.
    pub waited: Option<std::time::Duration>,
}

/// The status to write, from the one before.
///
/// # Guarantees
/// Equal facts leave a status that was made from them as it is, whatever the time.
pub fn next(facts: &Facts, before: &TopologyStatus, now: Now<'_>) -> TopologyStatus {
    let mut status = before.clone();
    status.observed_generation = Some(facts.generation);
    if let Some(convergence) = &facts.convergence {
        status.forwarders = ForwarderCount {
            programmed: convergence.programmed,
            total: convergence.total,
        };
        status.links = LinkCount {
            up: convergence.links_up,
            total: convergence.links,
            suspect: convergence.suspect.len() as u32,
        };
        status.links_up = format!("{}/{}", convergence.links_up, convergence.links);
    }
    if facts.problems.is_empty() {
        status.epoch.clone_from(&facts.epoch);
        status.digest.clone_from(&facts.digest);
        status.pods = facts
            .convergence
            .as_ref()
            .map_or(0, |convergence| convergence.pods);
    }
    status.conditions = conditions::conditions(facts, &before.conditions, now.time);
    if let Some(waited) = now.waited.filter(|_| is_newly_computed(before, &status)) {
        status.convergence = format!("{}ms", waited.as_millis());
    }
    status
}

/// True when two different statuses differ in messages only.
pub fn is_reworded(before: &TopologyStatus, after: &TopologyStatus) -> bool {
    let mut as_before = after.clone();
    for (now, then) in as_before.conditions.iter_mut().zip(&before.conditions) {
        now.message.clone_from(&then.message);
    }
    as_before == *before
}

/// True when everything is written for a generation for which it was not before.
fn is_newly_computed(before: &TopologyStatus, after: &TopologyStatus) -> bool {
    let computed = |status: &TopologyStatus| {
        let mut conditions = status.conditions.iter();
        let is_true = conditions.any(|c| c.r#type == "Computed" && c.status == "True");
        is_true.then_some(status.observed_generation)
    };
    computed(after).is_some() && computed(after) != computed(before)
}
