//! The conditions of a topology.

use crds::Condition;

use super::messages;
use crate::plan::Facts;

/// Content of one condition.
struct Finding {
    r#type: &'static str,
    status: &'static str,
    reason: String,
    message: String,
}

impl Finding {
    fn new(
        r#type: &'static str,
        status: &'static str,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Finding {
        Finding {
            r#type,
            status,
            reason: reason.into(),
            message: message.into(),
        }
    }

    /// The same of another condition.
    fn of(&self, r#type: &'static str, status: &'static str) -> Finding {
        Finding::new(r#type, status, self.reason.clone(), self.message.clone())
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
    let findings = [accepted, computed, programmed, ready, degraded, progressing];
    let condition = |findings: Finding| {
        let known = before.iter().find(|known| known.r#type == findings.r#type);
        let same = known.filter(|known| known.status == findings.status);
        let since = same.and_then(|known| known.last_transition_time.clone());
        Condition {
            r#type: findings.r#type.to_owned(),
            status: findings.status.to_owned(),
            reason: findings.reason,
            message: findings.message,
            observed_generation: Some(facts.generation),
            last_transition_time: Some(since.unwrap_or_else(|| now.to_owned())),
        }
    };
    findings.into_iter().map(condition).collect()
}

fn accepted(facts: &Facts) -> Finding {
    if facts.problems.is_empty() {
        Finding::new("Accepted", "True", "Accepted", messages::accepted(facts))
    } else {
        let message = messages::problems(&facts.problems);
        Finding::new("Accepted", "False", &facts.rejected, message)
    }
}

fn computed(facts: &Facts, accepted: &Finding) -> Finding {
    if !accepted.is_true() {
        return Finding::new("Computed", "False", "NotAccepted", messages::NOT_ACCEPTED);
    }
    if facts.writing.is_done() {
        return Finding::new("Computed", "True", "Computed", messages::computed(facts));
    }
    let reason = match facts.writing.blocked {
        Some(_) => "Blocked",
        None => "Writing",
    };
    Finding::new("Computed", "False", reason, messages::writing(facts))
}

fn programmed(facts: &Facts, computed: &Finding) -> Finding {
    let Some(convergence) = facts
        .convergence
        .as_ref()
        .filter(|_| facts.problems.is_empty())
    else {
        let message = messages::what_stays(facts);
        return Finding::new("Programmed", "False", "NotAccepted", message);
    };
    if convergence.total > 0 && convergence.reported == 0 {
        let message = messages::not_reported(convergence);
        Finding::new("Programmed", "Unknown", "NotReported", message)
    } else if !computed.is_true() {
        computed.of("Programmed", "False")
    } else if convergence.total == 0 {
        Finding::new(
            "Programmed",
            "False",
            "NoForwarders",
            messages::NO_FORWARDERS,
        )
    } else if convergence.programmed == convergence.total {
        Finding::new(
            "Programmed",
            "True",
            "Programmed",
            messages::programmed(convergence),
        )
    } else {
        Finding::new(
            "Programmed",
            "False",
            "Waiting",
            messages::waiting(convergence),
        )
    }
}

fn degraded(facts: &Facts) -> Finding {
    let Some(convergence) = &facts.convergence else {
        return Finding::new("Degraded", "Unknown", "NotReported", "");
    };
    if !convergence.gone.is_empty() {
        Finding::new("Degraded", "True", "NodeGone", messages::gone(convergence))
    } else if convergence.parts.len() > 1 {
        Finding::new(
            "Degraded",
            "True",
            "Partitioned",
            messages::partitioned(convergence),
        )
    } else if !convergence.down.is_empty() {
        Finding::new(
            "Degraded",
            "True",
            "LinkDown",
            messages::impaired(convergence),
        )
    } else if !convergence.suspect.is_empty() {
        let message = messages::suspect(convergence);
        Finding::new("Degraded", "True", "LinkSuspect", message)
    } else if convergence.links_unknown > 0 {
        let message = messages::links_unknown(convergence);
        Finding::new("Degraded", "Unknown", "NotReported", message)
    } else {
        Finding::new("Degraded", "False", "AllUp", messages::all_up(convergence))
    }
}

/// The first that is not true says why; a link that is down or suspect is no reason while all are reached without it.
fn ready(facts: &Facts, steps: &[&Finding], degraded: &Finding) -> Finding {
    let first = steps.iter().find(|step| !step.is_true());
    // A missing report of a deleted node will not arrive later.
    if first.is_none_or(|step| step.status == "Unknown") && degraded.reason == "NodeGone" {
        return degraded.of("Ready", "False");
    }
    if let Some(first) = first {
        return first.of("Ready", first.status);
    }
    if let Some(convergence) = facts.convergence.as_ref().filter(|it| it.is_doubtful) {
        let message = messages::suspect(convergence);
        return Finding::new("Ready", "Unknown", "LinkSuspect", message);
    }
    let is_cut = ["NodeGone", "Partitioned"].contains(&degraded.reason.as_str());
    if is_cut || degraded.status == "Unknown" {
        let status = if is_cut { "False" } else { "Unknown" };
        return degraded.of("Ready", status);
    }
    Finding::new("Ready", "True", "Ready", messages::ready(facts))
}

fn progressing(accepted: &Finding, computed: &Finding, programmed: &Finding) -> Finding {
    if !accepted.is_true() {
        Finding::new(
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
        Finding::new("Progressing", "False", "Settled", "")
    }
}
