//! The conditions of a topology.

use crds::Condition;

use super::{Facts, messages};

/// What one condition says.
struct Said {
    r#type: &'static str,
    status: &'static str,
    reason: String,
    message: String,
}

impl Said {
    fn new(
        r#type: &'static str,
        status: &'static str,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Said {
        Said {
            r#type,
            status,
            reason: reason.into(),
            message: message.into(),
        }
    }

    /// The same of another condition.
    fn of(&self, r#type: &'static str, status: &'static str) -> Said {
        Said::new(r#type, status, self.reason.clone(), self.message.clone())
    }

    fn is_true(&self) -> bool {
        self.status == "True"
    }
}

/// Every condition, in the order of what follows from what. A time moves only with its status.
pub(super) fn conditions(facts: &Facts, before: &[Condition], now: &str) -> Vec<Condition> {
    let accepted = accepted(facts);
    let computed = computed(facts, &accepted);
    let programmed = programmed(facts, &computed);
    let degraded = degraded(facts);
    let ready = ready(facts, &[&accepted, &computed, &programmed], &degraded);
    let progressing = progressing(&accepted, &computed, &programmed);
    let said = [accepted, computed, programmed, ready, degraded, progressing];
    let condition = |said: Said| {
        let known = before.iter().find(|known| known.r#type == said.r#type);
        let same = known.filter(|known| known.status == said.status);
        let since = same.and_then(|known| known.last_transition_time.clone());
        Condition {
            r#type: said.r#type.to_owned(),
            status: said.status.to_owned(),
            reason: said.reason,
            message: said.message,
            observed_generation: Some(facts.generation),
            last_transition_time: Some(since.unwrap_or_else(|| now.to_owned())),
        }
    };
    said.into_iter().map(condition).collect()
}

fn accepted(facts: &Facts) -> Said {
    if facts.problems.is_empty() {
        Said::new("Accepted", "True", "Accepted", messages::accepted(facts))
    } else {
        let message = messages::problems(&facts.problems);
        Said::new("Accepted", "False", &facts.rejected, message)
    }
}

fn computed(facts: &Facts, accepted: &Said) -> Said {
    if !accepted.is_true() {
        return Said::new("Computed", "False", "NotAccepted", messages::NOT_ACCEPTED);
    }
    if facts.writing.is_done() {
        return Said::new("Computed", "True", "Computed", messages::computed(facts));
    }
    let reason = match facts.writing.blocked {
        Some(_) => "Blocked",
        None => "Writing",
    };
    Said::new("Computed", "False", reason, messages::writing(facts))
}

fn programmed(facts: &Facts, computed: &Said) -> Said {
    let Some(live) = facts.live.as_ref().filter(|_| facts.problems.is_empty()) else {
        let message = messages::what_stays(facts);
        return Said::new("Programmed", "False", "NotAccepted", message);
    };
    if live.total > 0 && live.reported == 0 {
        let message = messages::not_reported(live);
        Said::new("Programmed", "Unknown", "NotReported", message)
    } else if !computed.is_true() {
        computed.of("Programmed", "False")
    } else if live.total == 0 {
        Said::new(
            "Programmed",
            "False",
            "NoForwarders",
            messages::NO_FORWARDERS,
        )
    } else if live.programmed == live.total {
        Said::new(
            "Programmed",
            "True",
            "Programmed",
            messages::programmed(live),
        )
    } else {
        Said::new("Programmed", "False", "Waiting", messages::waiting(live))
    }
}

fn degraded(facts: &Facts) -> Said {
    let Some(live) = &facts.live else {
        return Said::new("Degraded", "Unknown", "NotReported", "");
    };
    if !live.gone.is_empty() {
        Said::new("Degraded", "True", "NodeGone", messages::gone(live))
    } else if live.parts.len() > 1 {
        Said::new(
            "Degraded",
            "True",
            "Partitioned",
            messages::partitioned(live),
        )
    } else if !live.down.is_empty() {
        Said::new("Degraded", "True", "LinkDown", messages::down(live))
    } else if live.links_unknown > 0 {
        let message = messages::links_unknown(live);
        Said::new("Degraded", "Unknown", "NotReported", message)
    } else {
        Said::new("Degraded", "False", "AllUp", messages::all_up(live))
    }
}

/// The first that is not true says why; a link that is down is no reason while all are reached.
fn ready(facts: &Facts, steps: &[&Said], degraded: &Said) -> Said {
    let first = steps.iter().find(|step| !step.is_true());
    // Whoever is not heard because the node is gone will not be heard by waiting.
    if first.is_none_or(|step| step.status == "Unknown") && degraded.reason == "NodeGone" {
        return degraded.of("Ready", "False");
    }
    if let Some(first) = first {
        return first.of("Ready", first.status);
    }
    let is_cut = ["NodeGone", "Partitioned"].contains(&degraded.reason.as_str());
    if is_cut || degraded.status == "Unknown" {
        let status = if is_cut { "False" } else { "Unknown" };
        return degraded.of("Ready", status);
    }
    Said::new("Ready", "True", "Ready", messages::ready(facts))
}

fn progressing(accepted: &Said, computed: &Said, programmed: &Said) -> Said {
    if !accepted.is_true() {
        Said::new(
            "Progressing",
            "False",
            "NotAccepted",
            messages::NOT_ACCEPTED,
        )
    } else if !computed.is_true() {
        computed.of("Progressing", "True")
    } else if !programmed.is_true() {
        programmed.of("Progressing", "True")
    } else {
        Said::new("Progressing", "False", "Settled", "")
    }
}
