//! Messages of conditions and events: problem, place, and pending nodes.

use crds::{Problem, text::printable};

use crate::plan::{Convergence, Facts, Waiting};

/// Most entries of one list in a message.
const MOST: usize = 3;
/// Most characters of what a node reports.
const QUOTED: usize = 256;
/// Most problems in one message.
const MOST_PROBLEMS: usize = 20;

/// Message that follows from a rejected declaration.
pub(super) const NOT_ACCEPTED: &str = "the declaration is not accepted";

/// Message for `forwarderPerNode` without a matching node.
pub(super) const NO_FORWARDERS: &str =
    "there are no forwarders: no node matches spec.forwarderPerNode.nodeSelector";

/// `PATH: expected value`, joined.
pub(super) fn problems(problems: &[Problem]) -> String {
    let text = problems.iter().take(MOST_PROBLEMS).map(ToString::to_string);
    let mut text: Vec<String> = text.collect();
    if let Some(more) = problems.len().checked_sub(MOST_PROBLEMS).filter(|n| *n > 0) {
        text.push(format!("and {more} more"));
    }
    text.join("; ")
}

pub(super) fn accepted(facts: &Facts) -> String {
    let of = |convergence: &Convergence| {
        format!(
            "{} forwarders, {} links",
            convergence.total, convergence.links
        )
    };
    let mut parts: Vec<String> = facts.convergence.as_ref().map(of).into_iter().collect();
    if !facts.ignored.is_empty() {
        let fields = list(facts.ignored.iter().cloned());
        parts.push(format!(
            "ignored, since this version has no such field: {fields}"
        ));
    }
    if !facts.left_out.is_empty() {
        let nodes = list(facts.left_out.iter().cloned());
        parts.push(format!("nodes without forwarder: {nodes}"));
    }
    parts.join("; ")
}

pub(super) fn computed(facts: &Facts) -> String {
    let total = facts
        .convergence
        .as_ref()
        .map_or(0, |convergence| convergence.total);
    format!("{total} forwarders are written and their tables computed")
}

pub(super) fn programmed(convergence: &Convergence) -> String {
    format!(
        "{} of {} forwarders report the computed table",
        convergence.programmed, convergence.total
    )
}

pub(super) fn ready(facts: &Facts) -> String {
    let total = facts
        .convergence
        .as_ref()
        .map_or(0, |convergence| convergence.total);
    format!("all of {total} forwarders are programmed and reach one another")
}

pub(super) fn all_up(convergence: &Convergence) -> String {
    format!(
        "{} of {} links are up",
        convergence.links_up, convergence.links
    )
}

pub(super) fn writing(facts: &Facts) -> String {
    let writing = &facts.writing;
    let total = facts
        .convergence
        .as_ref()
        .map_or(0, |convergence| convergence.total as usize);
    let mut text = Vec::new();
    if !writing.missing.is_empty() {
        let written = total.saturating_sub(writing.missing.len());
        let names = list(writing.missing.iter().cloned());
        text.push(format!(
            "{written} of {total} forwarders are written; waiting for {names}"
        ));
    }
    if writing.surplus > 0 {
        text.push(format!(
            "forwarder objects that are to go first: {}",
            writing.surplus
        ));
    }
    text.extend(writing.blocked.clone());
    text.join("; ")
}

/// Effect of a rejected declaration on the existing network: none.
pub(super) fn what_stays(facts: &Facts) -> String {
    match facts
        .convergence
        .as_ref()
        .filter(|convergence| convergence.total > 0)
    {
        None => NOT_ACCEPTED.to_owned(),
        Some(convergence) => format!(
            "{NOT_ACCEPTED}: the network of the last accepted one stays, {} of {} forwarders report its table",
            convergence.programmed, convergence.total
        ),
    }
}

pub(super) fn not_reported(convergence: &Convergence) -> String {
    let nodes = convergence
        .waiting
        .iter()
        .map(|waiting| waiting.node.clone());
    format!(
        "none of {} forwarders is reported yet; waiting for {}",
        convergence.total,
        list(distinct(nodes))
    )
}

pub(super) fn waiting(convergence: &Convergence) -> String {
    let waiting = |waiting: &Waiting| {
        let Waiting {
            forwarder, node, ..
        } = waiting;
        if !waiting.problem.is_empty() {
            let problem = printable(&waiting.problem, QUOTED);
            format!("{node} ({forwarder}: {problem})")
        } else if waiting.epoch.is_empty() {
            format!("{node} ({forwarder}: nothing reported yet)")
        } else {
            format!(
                "{node} ({forwarder}: last reported epoch {})",
                printable(&waiting.epoch, QUOTED)
            )
        }
    };
    let waiting = list(convergence.waiting.iter().map(waiting));
    format!("{}; waiting for {waiting}", programmed(convergence))
}

pub(super) fn gone(convergence: &Convergence) -> String {
    let gone = convergence
        .gone
        .iter()
        .map(|(forwarder, node)| format!("node {node} of forwarder {forwarder} does not exist"));
    list(gone)
}

pub(super) fn partitioned(convergence: &Convergence) -> String {
    let (most, cut) = convergence
        .parts
        .split_first()
        .map_or((0, &[][..]), |(most, cut)| (most.len(), cut));
    let cut = cut.iter().flatten().cloned();
    let mut text = format!(
        "{} cannot be reached from the other {most} forwarders",
        list(cut)
    );
    if !convergence.down.is_empty() {
        text = format!("{text}: {}", down(convergence));
    }
    text
}

pub(super) fn down(convergence: &Convergence) -> String {
    let down = convergence.down.iter().map(|down| {
        let reason = match down.reason.as_str() {
            "" => "down".to_owned(),
            reason => printable(reason, QUOTED),
        };
        format!("link {} is down: {}: {reason}", down.id, down.at)
    });
    list(down)
}

/// Links that are down, and those that are suspect.
pub(super) fn impaired(convergence: &Convergence) -> String {
    match convergence.suspect.as_slice() {
        [] => down(convergence),
        _ => format!("{}; {}", down(convergence), suspect(convergence)),
    }
}

pub(super) fn suspect(convergence: &Convergence) -> String {
    let suspect = convergence.suspect.iter().map(|suspect| {
        let reason = printable(&suspect.reason, QUOTED);
        format!("link {} is suspect: {}: {reason}", suspect.id, suspect.at)
    });
    let ways = match convergence.is_doubtful {
        true => "; there is no other way",
        false => "",
    };
    list(suspect) + ways
}

pub(super) fn links_unknown(convergence: &Convergence) -> String {
    format!(
        "{} of {} links are not reported from both ends yet",
        convergence.links_unknown, convergence.links
    )
}

/// The first few, and how many more there are.
fn list(items: impl Iterator<Item = String>) -> String {
    let mut items: Vec<String> = items.collect();
    let more = items.len().saturating_sub(MOST);
    items.truncate(MOST);
    let text = items.join(", ");
    if more > 0 {
        format!("{text} and {more} more")
    } else {
        text
    }
}

fn distinct(items: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    items.collect::<std::collections::BTreeSet<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::DownLink;

    #[test]
    fn what_nodes_report_is_escaped_and_cut() {
        let live = Convergence {
            down: vec![DownLink {
                id: "a/b".to_owned(),
                at: "a".to_owned(),
                reason: "\u{1b}]0;x\u{7}".to_owned(),
            }],
            waiting: vec![Waiting {
                forwarder: "a".to_owned(),
                node: "n1".to_owned(),
                epoch: String::new(),
                problem: "x".repeat(1_000_000),
            }],
            ..Convergence::default()
        };
        assert_eq!(down(&live), "link a/b is down: a: \\u{1b}]0;x\\u{7}");
        let waiting = waiting(&live);
        assert!(waiting.chars().count() < 2 * QUOTED, "{}", waiting.len());
    }
}
