//! Events on changes of conditions.

use crds::{Condition, TopologyStatus};

/// Event about a topology.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// One CamelCase word.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// True for an event of type `Warning`.
    pub warning: bool,
}

/// Events on a change of status: conditions whose status changed, or whose reason changed while
/// they are not as desired.
pub fn events(before: &TopologyStatus, after: &TopologyStatus) -> Vec<Event> {
    let told = ["Accepted", "Computed", "Programmed", "Ready", "Degraded"];
    let find = |status: &TopologyStatus, name: &str| {
        let found = status
            .conditions
            .iter()
            .find(|condition| condition.r#type == name);
        found.cloned()
    };
    let told = told.into_iter().filter_map(|name| {
        let after = find(after, name)?;
        event(find(before, name).as_ref(), &after)
    });
    let mut events: Vec<Event> = Vec::new();
    for event in told {
        // A consequence of an event that is in the list already is left out.
        if !events.iter().any(|other| other.reason == event.reason) {
            events.push(event);
        }
    }
    events
}

fn event(before: Option<&Condition>, after: &Condition) -> Option<Event> {
    let is_negative = after.r#type == "Degraded";
    let is_bad = after.status == if is_negative { "True" } else { "False" };
    let is_good = after.status == if is_negative { "False" } else { "True" };
    let is_same = before.is_some_and(|before| before.status == after.status);
    let is_same_reason = before.is_some_and(|before| before.reason == after.reason);
    let is_first_good = is_negative && before.is_none_or(|before| before.status == "Unknown");
    if is_same && (is_same_reason || !is_bad) || !is_bad && !is_good || is_good && is_first_good {
        return None;
    }
    // Being under way is no reason to look.
    let is_under_way = ["Writing", "Waiting", "NotAccepted"].contains(&after.reason.as_str());
    if is_bad && is_under_way {
        return None;
    }
    let message = if after.message.is_empty() {
        format!("{} is {}", after.r#type, after.status)
    } else {
        after.message.clone()
    };
    Some(Event {
        reason: after.reason.clone(),
        message,
        warning: is_bad,
    })
}
